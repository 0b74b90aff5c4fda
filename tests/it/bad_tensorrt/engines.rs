//! Engines whose `engine.json` was edited, or that are for another product.

use std::fs;

use serde_json::{Value, json};
use trt_pipeline::data::write_npz;
use trt_pipeline::tensor::{DType, Shape, Tensor};

use super::*;

/// A copy of an engine that the program built, to be edited.
fn built(tensorrt: TensorRt) -> (Machine, Value) {
    let machine = Machine::new(tensorrt, "");
    machine.warns();
    let folder = machine.project.file("build/p/engine");
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("edited/{}", entry.file_name().to_str().unwrap());
        machine.project.write(&name, fs::read(entry.path()).unwrap());
    }
    let manifest = serde_json::from_str(&machine.project.read("edited/engine.json")).unwrap();
    (machine, manifest)
}

#[test]
fn an_engine_that_is_described_wrongly_is_refused_with_what_is_wrong() {
    let (machine, manifest) = built(v10());
    let mut seen = String::new();
    for (pointer, value) in [
        ("/file", json!("../model.onnx")),
        ("/file", json!("/etc/passwd")),
        ("/file", json!("")),
        ("/file", json!("..")),
        ("/file", json!("other.plan")),
        ("/format", json!(2)),
        ("/format", json!("1")),
        ("/backend", json!("onnx")),
        ("/inputs", json!([])),
        ("/inputs", json!([manifest["inputs"][0], manifest["inputs"][0]])),
        ("/inputs", Value::Null),
        ("/inputs/0/dtype", json!("int8")),
        ("/inputs/0/dims", json!([1u64 << 60, 1u64 << 60])),
        ("/outputs/0/name", json!("logit")),
        ("/profiles/0/image/opt", json!([1u64 << 62, 1, 8, 8])),
        ("/tensorrt/version", json!("10.13.2.1")),
        ("/tensorrt/flavor", json!("rtx")),
        ("/tensorrt/compute_capabilities", json!(["9.0"])),
    ] {
        let mut edited = manifest.clone();
        *edited.pointer_mut(pointer).unwrap() = value.clone();
        machine.project.write("edited/engine.json", edited.to_string());
        let ran = machine.trt(&["bench", "edited", "--runs", "1"]);
        assert!([1, 2, 3].contains(&ran.status), "{pointer}: {ran:#?}");
        seen += &format!("== {pointer} {value}\nexit {}\n{}", ran.status, ran.stderr);
        // It is looked at without the library, and never with a panic.
        let inspected = machine.trt(&["inspect", "edited"]);
        assert!([0, 1].contains(&inspected.status), "{pointer}: {inspected:#?}");
    }
    machine.project.write("edited/engine.json", &manifest.to_string().as_bytes()[..200]);
    let ran = machine.trt(&["bench", "edited", "--runs", "1"]);
    seen += &format!("== cut\nexit {}\n{}", ran.status, ran.stderr);
    with_filters(|| insta::assert_snapshot!("bad_tensorrt_engine_json", seen));
}

#[test]
fn numbers_that_nothing_ever_measured_are_shown_all_the_same() {
    let (machine, mut manifest) = built(v10());
    manifest["tensorrt"]["build"]["seconds"] = json!(1e308);
    manifest["tensorrt"]["build"]["candidates_ms"] = json!([1e308, -5.0]);
    manifest["tensorrt"]["device_memory"] = json!(u64::MAX);
    manifest["tensorrt"]["layers"] = json!([[[]], "\u{1b}[31mred", 7]);
    machine.project.write("edited/engine.json", manifest.to_string());
    let ran = machine.trt(&["inspect", "edited"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stdout.contains("1e308 s") && !ran.stdout.contains('\u{1b}'), "{ran:#?}");
}

#[test]
fn a_pipe_in_place_of_a_file_of_an_engine_is_not_waited_for() {
    let (machine, _) = built(v10());
    let mut seen = String::new();
    for file in ["edited/engine.plan", "edited/engine.json"] {
        fs::remove_file(machine.project.file(file)).unwrap();
        machine.pipe(file);
        let ran = machine.trt(&["bench", "edited", "--runs", "1"]);
        assert_eq!(ran.status, 1, "{ran:#?}");
        seen += &ran.stderr;
    }
    insta::assert_snapshot!(seen, @r"
    error: failed to load engine `edited/engine.plan`: it is not a regular file
    error: failed to load engine `edited/engine.json`: it is not a regular file; build the engine again
    ");
}

#[test]
fn an_engine_of_one_product_is_not_given_to_the_other() {
    let (machine, _) = built(v10());
    let other = rtx();
    let library = machine.project.file("rtx");
    symlink(other.folder(), &library).unwrap();
    let mut command = machine.command(&["bench", "edited", "--runs", "1"]);
    let ran = machine.ran(command.env("TRT_PIPELINE_TENSORRT", &library));
    assert_eq!(ran.status, 3, "{ran:#?}");
    insta::assert_snapshot!(ran.stderr, @r"
    error: backend `tensorrt` is not available: `edited/engine.plan` is an engine of TensorRT, and TRT_PIPELINE_TENSORRT names `[dir]/rtx/libtensorrt_rtx.so.1`, TensorRT-RTX 1.7.1.116
      help: name a library of TensorRT instead, or build the engine again here
    ");
}

#[test]
fn a_stage_that_runs_out_of_device_memory_fails_alone() {
    let machine = Machine::new(v10(), "");
    let spec = machine.project.read("p.yaml");
    let image = Tensor::zeros(DType::Float32, Shape(vec![4, 1, 8, 8])).unwrap();
    write_npz(&machine.project.file("samples.npz"), [("image", &image)]).unwrap();
    let stage = "validate: { from: engine, data: samples.npz, latency: { batch: 1, runs: 5, p99_ms: \
                 100000 }";
    machine.project.write(
        "p.yaml",
        format!("{spec}  first:\n    {stage} }}\n  second:\n    {stage} }}\n    needs: [engine]\n"),
    );
    let ran = machine.trt(&["run", "p.yaml", "engine"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    // For the engine, for its context, for its inputs.
    for call in 1..=3 {
        let mut command =
            machine.command(&["run", "p.yaml", "--format", "json", "--jobs", "1", "--force=first"]);
        let ran = machine.ran(command.env("STANDIN_CUDA_FAIL", format!("cuMemAlloc_v2:{call}=2")));
        assert_eq!(ran.status, 1, "{call}: {ran:#?}");
        let outcomes = ran.outcomes();
        let ended = |outcome: &str| outcomes.iter().filter(|(_, found)| found == outcome).count();
        assert_eq!(ended("failed"), 1, "{call}: {ran:#?}");
        assert!(ran.stdout.contains("out of memory while"), "{call}: {ran:#?}");
    }
    let ran = machine.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
}
