//! `convert` with TensorFlow and PyTorch themselves: a small CNN, exported by its framework, to an
//! engine that is as good on images that nobody trained on.
//!
//! `TRT_PIPELINE_TEST_TENSORFLOW` and `TRT_PIPELINE_TEST_TORCH` name Pythons with `tensorflow` and
//! `tf2onnx`, or with `torch`, `onnx` and `onnxscript`. Where one is not set, its tests say so and pass.

use std::io::Write;
use std::process::Command;

use serde_json::Value;

use crate::support::{Project, fixture, repository};

const TENSORFLOW: &str = "TRT_PIPELINE_TEST_TENSORFLOW";
const TORCH: &str = "TRT_PIPELINE_TEST_TORCH";

/// What the digits' network takes; TensorFlow's files tell it, PyTorch's need it told.
const IMAGE: &str =
    "inputs: { image: { shape: [batch, 1, 8, 8], dtype: float32 } }, outputs: [logits]";

/// The Python that a variable names; `None`, and a line on standard error, where it names none.
fn python(variable: &str, needs: &str) -> Option<String> {
    let python = std::env::var(variable).ok().filter(|python| !python.is_empty());
    if python.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        // Not `eprintln!`, which the test harness keeps to itself.
        let mut terminal = std::io::stderr();
        writeln!(terminal, "SKIPPED {test}: {variable} does not name a Python with {needs}")
            .unwrap();
    }
    python
}

pub fn tensorflow() -> Option<String> {
    python(TENSORFLOW, "tensorflow and tf2onnx")
}

pub fn torch() -> Option<String> {
    python(TORCH, "torch, onnx and onnxscript")
}

/// A project that converts each `(stage, settings)`, builds it and measures it on the holdout.
fn digits(python: &str, conversions: &[(&str, String)]) -> Project {
    let mut spec = "version: 1\nname: digits\nstages:\n".to_owned();
    for (name, settings) in conversions {
        spec += &format!(
            "  {name}: {{ convert: {{ {settings}, python: '{python}' }} }}\n  {name}_engine: {{ build: \
             {{ from: {name}, backend: cpu }} }}\n  {name}_checked:\n    validate:\n      from: \
             {name}_engine\n      reference: {name}\n      data: holdout.npz\n      compare: {{ \
             max_relative_error: 0.0001 }}\n      accuracy: {{ metric: top1, labels: label, at_least: \
             0.95 }}\n"
        );
    }
    let project = Project::with_spec(&spec);
    project.copy(&repository().join("pipelines/digits/data/holdout.npz"), "holdout.npz");
    project
}

fn json(project: &Project, file: &str) -> Value {
    serde_json::from_str(&project.read(&format!("build/digits/{file}"))).unwrap()
}

/// The conversion was compared with its framework, and the engine is as good as the network was.
fn is_converted(project: &Project, stage: &str, kind: &str) {
    let convert = json(project, &format!("{stage}/convert.json"));
    assert_eq!(convert["source"]["kind"], kind, "{convert:#}");
    assert!(convert["comparison"].is_object(), "{convert:#}");
    assert_eq!(convert["inputs"][0]["name"], "image", "{convert:#}");
    assert_eq!(convert["inputs"][0]["dims"], serde_json::json!(["batch", 1, 8, 8]), "{convert:#}");
    assert_eq!(convert["outputs"][0]["name"], "logits", "{convert:#}");
    assert_eq!(convert["outputs"][0]["dims"], serde_json::json!(["batch", 10]), "{convert:#}");
    let report = json(project, &format!("{stage}_checked/report.json"));
    assert_eq!(report["passed"], true, "{report:#}");
}

/// Trains with TensorFlow and writes what it saves into `models` of the project.
fn train(python: &str, project: &Project) {
    let script = fixture("make_frameworks.py");
    let models = project.file("models");
    let output =
        Command::new(python).arg("-B").arg(script).arg("tensorflow").arg(models).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn tensorflow_models_become_engines_that_pass_their_gates() {
    let Some(python) = tensorflow() else { return };
    let project = digits(
        &python,
        &[
            ("saved_model", "model: models/saved_model".into()),
            ("chosen", "model: models/two_signatures, signature: scores".into()),
            (
                "frozen",
                "model: models/frozen.pb, inputs: { image: { shape: [batch, 1, 8, 8], dtype: float32 } }"
                    .into(),
            ),
            ("keras", "model: models/digits.keras".into()),
            ("h5", "model: models/digits.h5, opset: 17".into()),
        ],
    );
    train(&python, &project);
    project.run_ok();
    is_converted(&project, "saved_model", "saved_model");
    is_converted(&project, "chosen", "saved_model");
    is_converted(&project, "keras", "keras");
    is_converted(&project, "h5", "keras");
    assert_eq!(json(&project, "h5/convert.json")["opset"], 17);
    let frozen = json(&project, "frozen/convert.json");
    assert_eq!(frozen["source"]["kind"], "graph_def", "{frozen:#}");
    assert_eq!(json(&project, "frozen_checked/report.json")["passed"], true);

    let several = "version: 1\nname: several\nstages:\n  onnx: { convert: { model: \
                   models/two_signatures, python: '";
    project.write("several.yaml", format!("{several}{python}' }} }}\n"));
    let ran = project.trt(&["run", "several.yaml"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("`likely`") && ran.stderr.contains("`scores`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("signature: likely"), "{}", ran.stderr);
}

#[test]
fn pytorch_models_become_engines_that_pass_their_gates() {
    let Some(python) = torch() else { return };
    let weights = format!(
        "model: digits.pth, module: net.py, factory: build, arguments: {{ width: 8 }}, {IMAGE}"
    );
    let project = digits(
        &python,
        &[
            ("script", format!("model: digits.pt, {IMAGE}")),
            ("program", "model: digits.pt2, outputs: [logits]".into()),
            ("weights", weights.clone()),
            ("early", format!("{weights}, opset: 17")),
        ],
    );
    for file in ["digits.pt", "digits.pt2", "digits.pth", "net.py"] {
        project.copy(&fixture("convert/torch").join(file), file);
    }
    project.run_ok();
    is_converted(&project, "script", "torch_script");
    is_converted(&project, "program", "exported_program");
    is_converted(&project, "weights", "torch_state_dict");
    is_converted(&project, "early", "torch_state_dict");
    let exporter =
        |stage| json(&project, &format!("{stage}/convert.json"))["source"]["exporter"].clone();
    assert_eq!(exporter("weights"), "torch.onnx.export(dynamo=True)");
    assert_eq!(exporter("early"), "torch.onnx.export(dynamo=False)");
}

/// Has Python write models into the project, by a file: TorchScript needs the source of what it compiles.
pub fn written(python: &str, project: &Project, script: &str) {
    project.write("make.py", script);
    let mut command = Command::new(python);
    let output = command.args(["-B", "make.py"]).current_dir(project.file("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn traced_attention_is_exported_and_a_fused_one_is_told_how_to_be_traced() {
    let Some(python) = torch() else { return };
    let convert = |name: &str| {
        format!(
            "  {name}: {{ convert: {{ model: {name}.pt, inputs: {{ x: {{ shape: [batch, 5, 16], \
             dtype: float32 }} }}, python: '{python}' }} }}\n"
        )
    };
    let (plain, fused) = (convert("plain"), convert("fused"));
    let project = Project::with_spec(&format!("version: 1\nname: a\nstages:\n{plain}{fused}"));
    written(
        &python,
        &project,
        "import torch\n\
         torch.manual_seed(0)\n\
         net = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()\n\
         for name, fast in ('plain', False), ('fused', True):\n\
         \x20   torch.backends.mha.set_fastpath_enabled(fast)\n\
         \x20   with torch.no_grad():\n\
         \x20       torch.jit.trace(net, torch.rand(2, 5, 16), check_trace=False).save(name + '.pt')\n",
    );
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    let report: Value = serde_json::from_str(&project.read("build/a/plain/convert.json")).unwrap();
    assert!(report["comparison"].is_object(), "{report:#}");
    assert!(ran.stderr.contains("`aten::_transformer_encoder_layer_fwd`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("set_fastpath_enabled(False)"), "{}", ran.stderr);
}

#[test]
fn weights_in_safetensors_and_own_samples_are_taken() {
    let Some(python) = torch() else { return };
    let weights = "module: net.py, factory: build, arguments: { width: 8 }, samples: samples.npz";
    let project =
        digits(&python, &[("weights", format!("model: digits.safetensors, {weights}, {IMAGE}"))]);
    for file in ["digits.pth", "net.py"] {
        project.copy(&fixture("convert/torch").join(file), file);
    }
    written(
        &python,
        &project,
        "import numpy, torch\n\
         from safetensors.torch import save_file\n\
         save_file(torch.load('digits.pth', weights_only=True), 'digits.safetensors')\n\
         images = numpy.load('holdout.npz')['image'][:3]\n\
         numpy.savez('samples.npz', image=images)\n",
    );
    project.run_ok();
    is_converted(&project, "weights", "safetensors");
    let report = json(&project, "weights/convert.json");
    assert_eq!(report["comparison"]["outputs"][0]["elements"], 30, "{report:#}");
}

#[test]
fn weights_without_their_network_are_refused_with_what_to_write() {
    let Some(python) = torch() else { return };
    let spec =
        "version: 1\nname: alone\nstages:\n  onnx: { convert: { model: digits.pth, python: '";
    let project = Project::with_spec(&format!("{spec}{python}', {IMAGE} }} }}\n"));
    project.copy(&fixture("convert/torch/digits.pth"), "digits.pth");
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
    assert!(ran.stderr.contains("module:") && ran.stderr.contains("factory:"), "{}", ran.stderr);
}
