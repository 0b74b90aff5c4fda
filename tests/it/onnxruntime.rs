//! Pipelines that run on ONNX Runtime, where it is; what is said where it is not.

use std::path::PathBuf;

use trt_pipeline::backend::onnxruntime::discover;

use crate::support::served::{Served, adder};
use crate::support::{Project, Ran, fixture, with_filters};

/// Built, compared with the model as it is, and served.
const SPEC: &str = "version: 1
name: sum
stages:
  onnx: { convert: { model: model.onnx } }
  engine: { build: { from: onnx, backend: onnxruntime } }
  checked:
    validate:
      from: engine
      reference: onnx
      reference_backend: onnxruntime
      data: good.npz
      compare: { max_abs: 0 }
  api: { serve: { from: engine, requires: [checked] } }
";

fn project() -> Project {
    let project = Project::with_spec(SPEC);
    project.write("model.onnx", adder(1.0)).copy(&fixture("data/good.npz"), "good.npz");
    project
}

/// The library of this machine; says so where there is none.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn library() -> Option<PathBuf> {
    match discover::find() {
        Ok(found) => Some(found.library),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

#[test]
fn a_pipeline_builds_validates_and_serves_on_it() {
    let Some(library) = library() else { return };
    let option = ["--onnxruntime-lib", library.to_str().unwrap()];
    let project = project();
    let ran = project.trt(&[&["run", "p.yaml"][..], &option].concat());
    assert_eq!(ran.status, 0, "{ran:#?}");
    let report: serde_json::Value =
        serde_json::from_str(&project.read("build/sum/checked/report.json")).unwrap();
    assert_eq!(report["passed"], true, "{report:#}");
    let served = Served::start(&project, &[&["p.yaml"][..], &option].concat());
    assert_eq!(served.added("sum"), (1.0, "1".to_owned()));
    served.program.stop();
}

#[test]
fn an_engine_is_kept_and_says_for_which_library() {
    let Some(library) = library() else { return };
    let project = project();
    let option = ["--onnxruntime-lib", library.to_str().unwrap()];
    let run = || project.trt(&[&["run", "p.yaml", "engine"][..], &option].concat());
    assert_eq!(run().status, 0);
    let again = run();
    assert!(again.stdout.contains("cached"), "{again:#?}");
    let engine: serde_json::Value =
        serde_json::from_str(&project.read("build/sum/engine/engine.json")).unwrap();
    let found = discover::find().unwrap();
    assert_eq!(engine["library"]["onnxruntime"], found.version.as_str());
}

#[test]
fn without_a_library_a_run_says_where_it_looked_and_how_to_get_one() {
    let project = project();
    std::fs::create_dir_all(project.file("empty")).unwrap();
    let empty = project.file("empty");
    let mut command = project.command(&["run", "p.yaml", "--onnxruntime-lib", "empty"]);
    let ran = Ran::of(&command.output().unwrap(), project.path());
    assert_eq!(ran.status, 3, "{ran:#?}");
    let mut text = ran.stderr;
    let mut command = project.command(&["run", "p.yaml"]);
    command
        .env("PATH", &empty)
        .env("HOME", &empty)
        .env("LD_LIBRARY_PATH", &empty)
        .env_remove("TRT_PIPELINE_RUNTIMES")
        .env_remove("XDG_DATA_HOME");
    let ran = Ran::of(&command.output().unwrap(), project.path());
    // A system that has its own is used.
    if ran.status != 0 {
        assert_eq!(ran.status, 3, "{ran:#?}");
        assert!(ran.stderr.contains("runtime install onnxruntime"), "{ran:#?}");
    }
    text = text.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    with_filters(|| insta::assert_snapshot!("onnxruntime_not_there", text));
}
