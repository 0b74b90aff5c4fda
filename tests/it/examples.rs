//! Every example in the repository is valid, and the starter project runs.

use std::path::{Path, PathBuf};

use crate::support::{Project, Ran, repository};
use crate::tensorrt_rtx;

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn examples() -> Vec<PathBuf> {
    let folders = entries(&repository().join("pipelines"));
    let files = folders.iter().flat_map(|folder| entries(folder));
    let mut specs: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    specs.sort();
    assert!(specs.len() >= 4, "{specs:?}");
    specs
}

/// Whether an example needs a TensorRT.
fn is_for_tensorrt(spec: &Path) -> bool {
    std::fs::read_to_string(spec).unwrap().contains("backend: tensorrt")
}

/// The path of an example in a copy of `pipelines`.
fn inside(spec: &Path) -> &str {
    spec.strip_prefix(repository().join("pipelines")).unwrap().to_str().unwrap()
}

fn with_examples() -> Project {
    let project = Project::empty();
    copy_tree(&repository().join("pipelines"), project.path());
    project
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn every_example_is_valid_and_names_its_schema() {
    let project = Project::empty();
    for spec in examples() {
        let ran = project.trt(&["check", spec.to_str().unwrap()]);
        assert_eq!(ran.status, 0, "{ran:#?}");
        let text = std::fs::read_to_string(&spec).unwrap();
        let first = text.lines().next().unwrap();
        assert_eq!(first, "# yaml-language-server: $schema=../../schemas/pipeline.schema.json");
    }
}

/// `run SPEC --format json`, in which every stage must come to this.
fn all(wanted: &str, ran: &Ran) {
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.outcomes().iter().all(|(_, outcome)| outcome == wanted), "{ran:#?}");
}

#[test]
fn every_example_runs_twice_the_second_time_from_the_cache() {
    for spec in examples().iter().filter(|spec| !is_for_tensorrt(spec)) {
        let project = with_examples();
        for wanted in ["built", "cached"] {
            all(wanted, &project.trt(&["run", inside(spec), "--format", "json"]));
        }
    }
}

#[test]
fn every_example_is_planned_where_there_is_no_tensorrt_too() {
    let project = with_examples();
    for spec in examples() {
        let mut command = project.command(&["plan", inside(&spec), "--explain"]);
        let output = command.env("TRT_PIPELINE_TENSORRT", project.file("nothing")).output();
        let ran = Ran::of(&output.unwrap(), project.path());
        assert_eq!(ran.status, 0, "{ran:#?}");
    }
}

#[test]
fn the_committed_lock_file_of_the_digits_holds_on_this_machine_too() {
    let ran = with_examples().trt(&["run", "digits/pipeline.yaml", "--locked"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
}

#[test]
fn the_examples_for_tensorrt_rtx_hold_their_lock_files_and_build_once() {
    let Some(library) = tensorrt_rtx::library() else { return };
    let specs = examples();
    let specs: Vec<_> = specs.iter().filter(|spec| is_for_tensorrt(spec)).collect();
    assert!(!specs.is_empty());
    for spec in specs {
        let project = with_examples();
        for (wanted, more) in [("built", &["--locked"][..]), ("cached", &[])] {
            let args = [&["run", inside(spec), "--format", "json"], more].concat();
            let mut command = project.command(&args);
            let output = command.env("TRT_PIPELINE_TENSORRT", &library).output().unwrap();
            all(wanted, &Ran::of(&output, project.path()));
        }
    }
}

#[test]
fn the_starter_project_runs_as_it_is_and_is_never_overwritten() {
    let project = Project::empty();
    let ran = project.trt(&["init", "mine"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let ran = project.trt(&["run", "mine/pipeline.yaml"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let again = project.trt(&["init", "mine"]);
    assert_eq!(again.status, 2, "{again:#?}");
    assert!(project.file("mine/pipeline.schema.json").is_file());
}
