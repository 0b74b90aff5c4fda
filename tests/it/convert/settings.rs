//! Settings that do not fit, and Pythons that are not there.

use crate::support::fixture;

use super::{GOOD, PYTHON, description, failed, place_of, project, python};

#[test]
fn a_python_that_is_missing_or_too_old_is_named_with_what_was_searched() {
    let project = project(GOOD, "");
    let spec = project.read("p.yaml");
    let with = |python: &str| {
        project.write("p.yaml", spec.replace("python: ./python", python));
        failed(&project.trt(&["run", "p.yaml"]), 3)
    };
    let error = with("python: no-such-python");
    assert!(
        error.contains("program `no-such-python` was not found in PATH, which is /"),
        "{error}"
    );
    let error = with("python: ./nowhere/python");
    assert!(error.contains("there is no file `[dir]/./nowhere/python`"), "{error}");
    rustix::fs::mkfifoat(rustix::fs::CWD, project.file("pipe"), 0o755.into()).unwrap();
    let error = with("python: ./pipe");
    assert!(error.contains("`[dir]/pipe` is not a regular file"), "{error}");
    let error = with("venv: env");
    assert!(error.contains("there is no `[dir]/env/bin/python`"), "{error}");
    assert!(error.contains("install Python 3.9 or newer"), "{error}");
    python(&project, "old", &PYTHON.replace("3.11.7", "3.8.10"));
    let error = with("python: ./old");
    assert!(
        error.contains("`[dir]/old` is Python 3.8.10, exporting models needs 3.9 or newer"),
        "{error}"
    );
    python(&project, "broken", "#!/bin/sh\necho broken >&2; exit 4\n");
    let error = with("python: ./broken");
    assert!(
        error.contains(
            "does not work as a Python: it exited with status 4; its last output: | broken"
        ),
        "{error}"
    );
    python(
        &project,
        "env/bin/python",
        &format!("{PYTHON}HERE = os.path.dirname(os.path.dirname(HERE))\n{GOOD}"),
    );
    project.write("p.yaml", spec.replace("python: ./python", "venv: env")).run_ok();
}

#[test]
fn an_option_that_does_not_fit_the_model_is_an_error_of_the_spec_at_its_place() {
    let project = project(GOOD, "");
    project.copy(&fixture("onnx/mlp.onnx"), "mlp.onnx");
    project.copy(&fixture("source_models/weights.safetensors"), "net.safetensors");
    project.copy(&fixture("source_models/module.pth"), "module.pth");
    project.copy(&fixture("source_models/saved_model/saved_model.pb"), "saved/saved_model.pb");
    project.copy(&fixture("onnx/bad_engine.onnx"), "net.plan");
    project.copy(&fixture("convert/torch/digits.pt"), "digits.pt");
    project.write("make.py", "");
    project.copy(&fixture("onnx/mlp.onnx"), "engine/model.onnx");
    project.write("engine/engine.json", "{}");
    for (settings, told) in [
        ("model: net.h5, signature: s", "`signature` means nothing for a Keras model"),
        ("model: net.h5, exporter: dynamo", "`exporter` means nothing for a Keras model"),
        ("model: net.h5, module: make.py, factory: f", "`module` means nothing for a Keras model"),
        ("model: mlp.onnx, opset: 17", "`opset` means nothing for an ONNX model"),
        (
            "model: mlp.onnx, inputs: { x: { shape: [1] } }",
            "`inputs` means nothing for an ONNX model",
        ),
        ("model: mlp.onnx, check: { max_abs: 1 }", "an ONNX model is taken as it is; remove it"),
        ("model: net.safetensors", "it has weights and no code"),
        (
            "model: module.pth",
            "`module.pth` is pickled Python objects of PyTorch, which is not taken",
        ),
        ("model: saved/saved_model.pb", "name its folder, which holds the weights as well"),
        ("model: net.safetensors, module: make.py", "`module` needs a `factory`"),
        ("model: net.safetensors, factory: f", "`factory` needs a `module`"),
        ("model: net.h5, arguments: { a: 1 }", "`arguments` are for a `factory`"),
        ("model: net.h5, python: a, venv: b", "`python` and `venv` both name a Python"),
        ("model: net.h5, timeout_seconds: 0", "`timeout_seconds` is 0, expected a number above 0"),
        (
            "model: net.h5, timeout_seconds: 1.0e300",
            "is 1e300, expected a number that a clock can count",
        ),
        ("model: net.h5, memory_limit_mib: 18446744073709551615", "expected at most 1099511627776"),
        ("model: net.safetensors, module: make.py, factory: \"\"", "`factory` is empty"),
        (
            "model: digits.pt, inputs: { x: { shape: [1] } }, exporter: dynamo",
            "the dynamo exporter takes no TorchScript files",
        ),
        ("model: engine", "`engine` is an engine, which is not taken"),
        ("model: net.h5, memory_limit_mib: 1", "`memory_limit_mib` is 1, expected 64 or more"),
        ("model: net.h5, check: { max_relative_error: -1 }", "is -1, expected a number from 0"),
        (
            "model: net.h5, inputs: { x: { shape: [1], range: [2, 1] } }",
            "the range of `x` is [2, 1], expected two numbers, the lower first",
        ),
        (
            "model: net.h5, inputs: { x: { shape: [1], dtype: int64, range: [0.2, 0.7] } }",
            "the range of `x` is [0.2, 0.7], with no int64 in it",
        ),
        (
            "model: net.h5, inputs: { x: { shape: [1], dtype: int8, range: [-1000, 0] } }",
            "the range of `x` is [-1000, 0], beyond what int8 holds",
        ),
        (
            "model: net.h5, inputs: { x: { shape: [1], dtype: float64, range: [-1.0e308, 1.0e308] } }",
            "the range of `x` is [-1e308, 1e308], too wide to draw from",
        ),
        (
            "model: net.h5, inputs: { x: { shape: [1], dtype: bfloat16 } }",
            "`x` is bfloat16, of which there are no samples",
        ),
        ("model: net.h5, opset: 6", "`opset` is 6, expected 7 to 26"),
        ("model: net.h5, opset: 27", "`opset` is 27, expected 7 to 26"),
        ("model: net.h5, outputs: [y, y]", "`y` is an output twice"),
        ("model: net.h5, outputs: [\"\"]", "an input or output has no name"),
        (
            "model: net.h5, inputs: { x: { shape: [1] } }, outputs: [x]",
            "`x` names an input as well",
        ),
        ("model: digits.pt", "`digits.pt` does not tell the shapes of its inputs"),
        (
            "model: digits.pt",
            "in the order of `forward(self: __torch__.net.Digits, image: Tensor) -> Tensor`",
        ),
        (
            "model: net.safetensors, module: make.py, factory: f",
            "`net.safetensors` does not tell the shapes of its inputs",
        ),
        ("model: net.plan", "`net.plan` is an engine, which is not taken"),
        ("model: net.plan, script: make.py", "use `from: { file: net.plan, kind: engine }`"),
        ("model: net.h5, inputs: { x: { shape: [0] } }", "a number above 0, or a name"),
    ] {
        project.write(
            "p.yaml",
            format!("version: 1\nname: p\nstages:\n  onnx:\n    convert: {{ {settings} }}\n"),
        );
        for command in ["check", "run"] {
            let error = failed(&project.trt(&[command, "p.yaml"]), 2);
            assert!(error.contains(told), "{settings}: {error}");
            assert!(error.contains("p.yaml:5:"), "{settings}: {error}");
        }
    }
}

#[test]
fn an_option_that_does_not_fit_what_another_stage_made_is_an_error_of_the_stage() {
    let project = project(GOOD, "");
    project.write(
        "p.yaml",
        "version: 1\nname: p\nstages:\n  made: { command: { run: [cp, \"${inputs.a}\", \"${outputs.b}\"], inputs: { a: net.h5 }, outputs: { b: net } } }\n  onnx:\n    convert: { model: { from: made, path: net }, python: ./python, signature: s }\n",
    );
    let error = failed(&project.trt(&["run", "p.yaml"]), 1);
    assert!(error.contains("`signature` means nothing for a Keras model"), "{error}");
    assert!(error.contains("p.yaml:6:"), "{error}");
    project.write("p.yaml", project.read("p.yaml").replace(", signature: s", "")).run_ok();
    assert_eq!(description(&project)["source"]["kind"], "keras");
}

#[test]
fn a_model_that_cannot_be_read_is_told_as_what_it_is_before_anything_runs() {
    let project = project(GOOD, "");
    for (content, told, help) in [
        (
            b"PK\x03\x04 and no more of a Keras archive".as_slice(),
            "looks like a zip archive, but is damaged",
            "download the file again",
        ),
        (b"to come\n", "is not a model that can be converted: it looks like a text file", ""),
    ] {
        project.write("net.h5", content);
        for (command, status) in [("check", 2), ("run", 1)] {
            let error = failed(&project.trt(&[command, "p.yaml"]), status);
            assert!(error.contains(told) && error.contains(help), "{error}");
            assert!(error.contains(&place_of(&project, "net.h5")), "{error}");
            assert!(!error.contains("not an ONNX model"), "{error}");
        }
    }
}
