//! Stages that are stopped while they work leave nothing behind.

use rustix::process::Signal;

use crate::support::Project;
use crate::support::models::{Network, npy};
use crate::support::served::Running;

/// Stops a run once its stage is in a phase. What the stage has to do then takes far longer than
/// to hear of that.
fn stopped_in(phase: &str, project: &Project) {
    let mut running = Running::start(project, &["run", "p.yaml"]);
    while running.next("stage_progress")["phase"] != phase {}
    running.signal(Signal::TERM);
    let (events, ran) = running.end();
    assert_eq!(ran.status, 130, "{ran:#?}");
    let finished: Vec<_> =
        events.iter().filter(|event| event["event"] == "stage_finished").collect();
    assert_eq!(finished.len(), 1, "{finished:?}");
    assert_eq!(finished[0]["outcome"], "cancelled", "{finished:?}");
    assert_eq!(project.stored(), [""; 0]);
    assert!(!project.file("p.lock").exists());
    let left = project.file(".trt-pipeline/tmp").read_dir().unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn optimize_ends_while_it_computes_constants() {
    let project = Project::with_spec(
        "version: 1\nstages:\n  slim: { optimize: { from: { file: m.onnx, kind: model } } }\n",
    );
    let mut network = Network::default().input("x", &[1, 4]).output("y", &[1, 4]);
    network = network.weights("c0", &[4], vec![1.0, 2.0, 3.0, 4.0]);
    for layer in 0..20_000 {
        let (from, to) = (format!("c{layer}"), format!("c{}", layer + 1));
        network = network.node(if layer % 2 == 0 { "Neg" } else { "Abs" }, &[&from], &to);
    }
    project.write("m.onnx", network.node("Add", &["x", "c20000"], "y").encode());
    stopped_in("rewriting", &project);
}

#[test]
fn calibrate_ends_while_it_runs_samples() {
    let project = Project::with_spec(
        "version: 1\nstages:\n  int8: { calibrate: { from: { file: m.onnx, kind: model }, \
         data: x.npy, min_channels: 1, batch: 1 } }\n",
    );
    let network = Network::default().input("x", &[1, 4]).output("y", &[1, 4]);
    let network = network.weights("w", &[4, 4], vec![0.5; 16]).node("MatMul", &["x", "w"], "y");
    project.write("m.onnx", network.encode());
    project.write("x.npy", npy(&[400_000, 4], &vec![1.0; 1_600_000]));
    stopped_in("samples", &project);
}
