//! Every example in the repository is valid, and the starter project runs.

use std::path::PathBuf;

use crate::support::{Project, repository};

fn examples() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(repository().join("pipelines")).unwrap();
    let mut specs: Vec<PathBuf> =
        folders.map(|folder| folder.unwrap().path().join("pipeline.yaml")).collect();
    specs.sort();
    assert!(specs.len() >= 2);
    specs
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
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

#[test]
fn every_example_runs_twice_the_second_time_from_the_cache() {
    for spec in examples() {
        let project = Project::empty();
        copy_tree(&repository().join("pipelines"), project.path());
        let name = spec.strip_prefix(repository().join("pipelines")).unwrap();
        for wanted in ["built", "cached"] {
            let ran = project.trt(&["run", name.to_str().unwrap(), "--format", "json"]);
            assert_eq!(ran.status, 0, "{}: {ran:#?}", spec.display());
            assert!(ran.outcomes().iter().all(|(_, outcome)| outcome == wanted), "{ran:#?}");
        }
    }
}

#[test]
fn the_committed_lock_file_of_the_digits_holds_on_this_machine_too() {
    let project = Project::empty();
    copy_tree(&repository().join("pipelines"), project.path());
    let ran = project.trt(&["run", "digits/pipeline.yaml", "--locked"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
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
