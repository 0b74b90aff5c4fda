//! `optimize.precision`: from a float32 model to engines of 16 bits.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{Project, Ran, fixture, repository};
use crate::tensorrt_rtx;

/// Names a Python that has `onnx`, and `onnxruntime` where there is one.
const PYTHON: &str = "TRT_PIPELINE_TEST_PYTHON";

/// Models of this repository, under the names of their stages.
const MODELS: [(&str, &str); 9] = [
    ("mlp", "onnx/mlp.onnx"),
    ("conv_bn", "onnx/conv_bn.onnx"),
    ("conv_transpose_bn", "onnx/conv_transpose_bn.onnx"),
    ("if_capture", "onnx/if_capture.onnx"),
    ("log", "onnx/log.onnx"),
    ("int64_io", "tensorrt/int64_io.onnx"),
    ("two_inputs", "tensorrt/two_inputs_dynamic.onnx"),
    ("squeezenet", "tensorrt/light/light_squeezenet.onnx"),
    ("inception", "tensorrt/light/light_inception_v1.onnx"),
];

fn with_digits(stages: &str) -> Project {
    let spec = format!(
        "version: 1\nname: half\nstages:\n  onnx: {{ convert: {{ model: digits.onnx }} }}\n{stages}"
    );
    let project = Project::with_spec(&spec);
    let digits = repository().join("pipelines/digits");
    project.copy(&digits.join("model/digits_cnn.onnx"), "digits.onnx");
    project.copy(&digits.join("data/holdout.npz"), "holdout.npz");
    project.copy(&digits.join("data/calibration.npz"), "calibration.npz");
    project
}

fn built(project: &Project) -> Ran {
    let ran = project.trt(&["run", "p.yaml", "--format", "json"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.outcomes().iter().all(|(_, outcome)| outcome == "built"), "{ran:#?}");
    ran
}

fn json(project: &Project, file: &str) -> Value {
    serde_json::from_str(&project.read(&format!("build/half/{file}"))).unwrap()
}

#[test]
fn an_engine_of_16_bits_passes_its_gates_on_the_cpu() {
    let mut stages = String::new();
    for (precision, limit) in [("fp16", 0.002), ("bf16", 0.02)] {
        stages += &format!(
            "  {precision}: {{ optimize: {{ from: onnx, precision: {precision} }} }}\n  \
             {precision}_engine: {{ build: {{ from: {precision}, backend: cpu }} }}\n  \
             {precision}_checked:\n    validate:\n      from: {precision}_engine\n      reference: \
             onnx\n      data: holdout.npz\n      compare: {{ max_relative_error: {limit} }}\n      \
             accuracy: {{ metric: top1, labels: label, max_drop: 0.005 }}\n"
        );
    }
    stages += "  io: { optimize: { from: onnx, precision: fp16, io: convert } }\n  io_engine: { build: { \
               from: io, backend: cpu } }\n";
    let project = with_digits(&stages);
    built(&project);
    let engine = json(&project, "io_engine/engine.json");
    assert_eq!(engine["inputs"][0]["dtype"], "float16");
    assert_eq!(engine["outputs"][0]["dtype"], "float16");
    let report = json(&project, "bf16/precision.json");
    assert_eq!(report["opset"]["after"], 22);
    assert!(report["nodes"].as_array().unwrap().iter().all(|node| node["detail"].is_string()));
}

#[test]
fn data_tells_which_nodes_stay_and_people_are_told_how_many() {
    let project = with_digits(
        "  slim: { optimize: { from: onnx, precision: fp16, data: calibration.npz, keep_fp32: [Gemm] } }\n",
    );
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stdout.contains("(Gemm): `keep_fp32` says `Gemm`"), "{ran:#?}");
    let report = json(&project, "slim/precision.json");
    let nodes = report["nodes"].as_array().unwrap();
    let gemm = nodes.iter().find(|node| node["op"] == "Gemm").unwrap();
    assert_eq!((&gemm["precision"], &gemm["reason"]), (&"float32".into(), &"keep_fp32".into()));
    let again = project.trt(&["run", "p.yaml", "--format", "json"]);
    assert!(again.outcomes().iter().all(|(_, outcome)| outcome == "cached"), "{again:#?}");
}

#[test]
fn a_model_with_converted_inputs_is_held_against_its_original_on_the_same_samples() {
    let project = with_digits(
        "  half: { optimize: { from: onnx, precision: fp16, io: convert } }\n  \
           half_engine: { build: { from: half } }\n  \
           checked: { validate: { from: half_engine, reference: onnx, data: holdout.npz, \
             compare: { snr_db: 40 } } }\n  \
           back: { validate: { from: onnx, reference: half, data: holdout.npz, \
             compare: { snr_db: 40 } } }\n  \
           int8: { calibrate: { from: half, data: calibration.npz } }\n",
    );
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 0, "{}", ran.seen());
}

#[test]
fn the_table_of_changes_is_shown_again_by_inspect() {
    let project = with_digits("  slim: { optimize: { from: onnx, precision: fp16 } }\n");
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 0, "{}", ran.seen());
    let from = ran.stdout.find("before       after").unwrap();
    let table: Vec<&str> = ran.stdout[from..].lines().map(str::trim).take(8).collect();
    let seen = project.trt(&["inspect", "build/half/slim"]).stdout;
    let lines: Vec<&str> = seen.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| *line == table[0]).expect("the table is there");
    assert_eq!(lines[at..at + table.len()], table);
}

#[test]
fn a_slip_in_keep_fp32_is_shown_where_it_stands() {
    let project =
        with_digits("  slim: { optimize: { from: onnx, precision: fp16, keep_fp32: [Gem] } }\n");
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("`Gem` is no operator and no node"), "{ran:#?}");
    assert!(ran.stderr.contains("did you mean `Gemm`?"), "{ran:#?}");
    let project = with_digits("  slim: { optimize: { from: onnx, io: convert } }\n");
    let ran = project.trt(&["check", "p.yaml"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
    assert!(ran.stderr.contains("add `precision: fp16`"), "{ran:#?}");
}

/// Every model in both precisions.
fn lowered() -> Project {
    let mut stages = String::new();
    for (name, _) in MODELS {
        for precision in ["fp16", "bf16"] {
            stages += &format!(
                "  {name}_{precision}: {{ optimize: {{ from: {{ file: {name}.onnx, kind: model }}, \
                 precision: {precision} }} }}\n"
            );
        }
    }
    for precision in ["fp16", "bf16"] {
        stages += &format!(
            "  digits_{precision}: {{ optimize: {{ from: onnx, precision: {precision} }} }}\n"
        );
    }
    let project = with_digits(&stages);
    for (name, file) in MODELS {
        project.copy(&fixture(file), &format!("{name}.onnx"));
    }
    built(&project);
    project
}

/// A Python with `onnx`; `None`, and a line on standard error, where there is none.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os(PYTHON).filter(|named| !named.is_empty());
    let python = named.map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let found = Command::new(&python).args(["-c", "import onnx, numpy"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skipped(&format!("no Python with onnx; {PYTHON} can name one"));
    None
}

fn skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not `eprintln!`, which the test harness keeps to itself.
    let mut terminal = std::io::stderr();
    writeln!(terminal, "SKIPPED {test}: {reason}").unwrap();
}

#[test]
fn the_checker_of_the_standard_and_its_type_inference_accept_every_lowered_model() {
    let Some(python) = python() else { return };
    let project = lowered();
    let names = MODELS.iter().map(|(name, _)| *name).chain(["digits"]);
    let models: Vec<PathBuf> = names
        .flat_map(|name| ["fp16", "bf16"].map(|precision| format!("{name}_{precision}")))
        .map(|stage| project.file(&format!("build/half/{stage}/model.onnx")))
        .collect();
    let script = repository().join("tests/fixtures/check_precision.py");
    let digits = repository().join("pipelines/digits");
    let output = Command::new(python)
        .arg(script)
        .arg(digits.join("model/digits_cnn.onnx"))
        .arg(digits.join("data/holdout.npz"))
        .arg(project.file("build/half/digits_fp16/model.onnx"))
        .args(&models)
        .output()
        .unwrap();
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{errors}");
    let answer: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(answer["checked"], models.len());
    if answer["onnxruntime"].is_null() {
        return skipped("its Python has no onnxruntime, so float16 is not measured");
    }
    // This one does round every step to float16.
    let (before, after) = (&answer["top1"], &answer["top1_float16"]);
    let drop = before.as_f64().unwrap() - after.as_f64().unwrap();
    assert!(drop < 0.001, "{answer}");
    assert!(answer["snr_db"].as_f64().unwrap() > 40.0, "{answer}");
}

#[test]
fn tensorrt_rtx_builds_lowered_models_and_computes_in_their_type() {
    let Some(library) = tensorrt_rtx::library() else { return };
    let images = "{ image: { min: [1, 1, 8, 8], opt: [8, 1, 8, 8], max: [64, 1, 8, 8] } }";
    let mut stages = String::new();
    for precision in ["fp16", "bf16"] {
        stages += &format!(
            "  {precision}: {{ optimize: {{ from: onnx, precision: {precision} }} }}\n  \
             {precision}_engine: {{ build: {{ from: {precision}, backend: tensorrt, \
             compute_capabilities: [\"8.9\"], profiles: [{images}] }} }}\n"
        );
        for light in ["squeezenet", "inception"] {
            stages += &format!(
                "  {light}_{precision}: {{ optimize: {{ from: {{ file: {light}.onnx, kind: model }}, \
                 precision: {precision} }} }}\n  {light}_{precision}_engine: {{ build: {{ from: \
                 {light}_{precision}, backend: tensorrt, compute_capabilities: [\"8.9\"] }} }}\n"
            );
        }
    }
    let project = with_digits(&stages);
    for (name, file) in MODELS {
        project.copy(&fixture(file), &format!("{name}.onnx"));
    }
    let mut command = project.command(&["run", "p.yaml", "--format", "json"]);
    let output = command.env("TRT_PIPELINE_TENSORRT", library).output().unwrap();
    let ran = Ran::of(&output, project.path());
    assert_eq!(ran.status, 0, "{ran:#?}");
    for (engine, wanted, other) in [("fp16", "half", "bf16"), ("bf16", "bf16", "half")] {
        let plan = project.file(&format!("build/half/{engine}_engine/engine.plan"));
        let plan = std::fs::read(plan).unwrap();
        let has = |dtype| tensorrt_rtx::has_kernels_for(&plan, dtype);
        assert!(has(wanted) && !has(other), "{engine}");
    }
}

#[test]
fn types_of_8_bits_are_made_by_another_stage() {
    let project = with_digits("  slim: { optimize: { from: onnx, precision: fp8 } }\n");
    let ran = project.trt(&["check", "p.yaml"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
    let text = ran.stderr.replace('\u{2502}', " ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("FP8 and INT8 are made by `calibrate`"), "{ran:#?}");
}

#[test]
fn a_tensor_that_is_not_there_is_shown_where_it_stands() {
    let project = with_digits("  part: { optimize: { from: onnx, outputs: [nope] } }\n");
    let ran = project.trt(&["run", "p.yaml", "--format", "json"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    let problem: Value = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["event"] == "diagnostic")
        .expect("a diagnostic");
    let message = problem["message"].as_str().unwrap();
    assert!(
        message.starts_with("stage `part` failed: the model of `onnx`: it has no tensor `nope`"),
        "{message}"
    );
    assert_eq!((&problem["length"], &problem["line"]), (&Value::from(4), &Value::from(5)));
}
