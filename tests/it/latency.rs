//! An engine is held against another one.

use crate::support::Project;
use crate::support::models::{Network, npy};

const WIDTH: i64 = 512;

/// `x` of 512 values through so many matrices.
fn network(matrices: usize) -> Vec<u8> {
    let axes = [0, WIDTH];
    let mut network = Network::default().input("x", &axes).output("y", &axes);
    let mut last = "x".to_owned();
    for layer in 0..matrices {
        let (weights, product) = (format!("w{layer}"), format!("p{layer}"));
        let values = vec![1.0 / 512.0; 512 * 512];
        network = network.weights(&weights, &[WIDTH, WIDTH], values);
        network = network.node("MatMul", &[&last, &weights], &product);
        last = product;
    }
    network.node("Relu", &[&last], "y").encode()
}

fn project() -> Project {
    let project = Project::with_spec(
        "version: 1
name: p
vars: { tested: large, other: small }
stages:
  small_onnx: { convert: { model: small.onnx } }
  large_onnx: { convert: { model: large.onnx } }
  small: { build: { from: small_onnx } }
  large: { build: { from: large_onnx } }
  checked:
    validate:
      from: \"${tested}\"
      data: x.npy
      latency: { warmup: 1, runs: 20, at_least_as_fast_as: \"${other}\" }
",
    );
    project.write("small.onnx", network(0)).write("large.onnx", network(8));
    project.write("x.npy", npy(&[2, 512], &[1.0; 1024]));
    project
}

#[test]
fn a_slower_engine_ends_the_run_with_status_4_and_both_times() {
    let project = project();
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 4, "{ran:#?}");
    let words = ran.stderr.split_whitespace().filter(|word| *word != "\u{2502}");
    let told: String = words.collect::<Vec<_>>().join(" ");
    assert!(told.contains("latency ratio to `small` is "), "{told}");
    assert!(told.contains("with 98 % confidence"), "{told}");
    let again = project.trt(&["run", "p.yaml"]);
    assert_eq!(again.status, 4, "a failure is not cached: {again:#?}");
}

#[test]
fn a_faster_engine_passes_and_the_other_one_is_in_the_key() {
    let project = project();
    let swapped = ["run", "p.yaml", "--set", "tested=small", "--set", "other=large"];
    let ran = project.trt(&swapped);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let report = project.read("build/p/checked/report.json");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["latency"]["rival"]["ratio_high"].as_f64().unwrap() < 1.0, "{report}");
    project.write("large.onnx", network(9));
    let plan = project.trt(&[&["plan", "--explain"], &swapped[1..]].concat());
    assert!(plan.stdout.contains("depends on what an earlier stage makes"), "{plan:#?}");
    assert_eq!(project.trt(&swapped).status, 0);
    let ran = project.trt(&[&swapped[..], &["--format", "json"]].concat());
    assert!(ran.outcomes().iter().all(|(_, outcome)| outcome == "cached"), "{ran:#?}");
}

#[test]
fn an_engine_of_other_inputs_is_blamed_and_not_the_data() {
    let project = project();
    let axes = [0, 256];
    let half = Network::default().input("x", &axes).output("y", &axes).node("Relu", &["x"], "y");
    project.write("small.onnx", half.encode());
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    let seen: String = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(seen.contains("this engine does not run on the same data"), "{seen}");
    assert!(seen.contains("name an engine with the same inputs"), "{seen}");
}

#[test]
fn what_is_no_engine_is_a_mistake_of_the_spec() {
    let project = project();
    let ran = project.trt(&["check", "p.yaml", "--set", "other=small_onnx"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
    let told = "`latency.at_least_as_fast_as` takes an engine, but the stage `small_onnx` makes";
    let seen: String = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(seen.contains(told), "{seen}");
}
