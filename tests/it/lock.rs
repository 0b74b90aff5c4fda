//! The lock file and `run --locked`.

use crate::support::{Project, with_filters};

const SPEC: &str = "version: 1
name: locked
vars: { word: hello }
stages:
  a: { command: { run: [sh, -c, 'echo \"$1\" > \"$2\"', sh, \"${word}\", \"${outputs.y}\"],
       outputs: { y: out.txt }, deterministic: true } }
";

#[test]
fn the_lock_file_is_written_once_and_holds_a_locked_run() {
    let project = Project::with_spec(SPEC);
    project.run_ok();
    let lock = project.read("p.lock");
    assert!(lock.contains("request:") && lock.contains("artifact:") && lock.contains("targets:"));
    assert_eq!(project.trt(&["run", "p.yaml", "--locked"]).status, 0);
    let changed = project.trt(&["run", "p.yaml", "--locked", "--set", "word=bye"]);
    assert_eq!(changed.status, 2);
    let message = changed.stderr.replace(|c: char| c.is_ascii_digit(), "#");
    assert!(message.contains("asks for something else"), "{message}");
    assert_eq!(project.read("p.lock"), lock, "a locked run writes nothing");
}

#[test]
fn a_locked_run_needs_a_lock_file() {
    let project = Project::with_spec(SPEC);
    let ran = project.trt(&["run", "p.yaml", "--locked"]);
    with_filters(|| insta::assert_snapshot!("locked_without_lock", ran.seen()));
    assert_eq!(ran.status, 2);
    assert_eq!(project.stored(), [""; 0]);
}

#[test]
fn a_deterministic_stage_that_makes_something_else_fails_a_locked_run() {
    let project = Project::with_spec(SPEC);
    project.run_ok();
    let lock = project.read("p.lock");
    let stages = lock.find("artifact: ").unwrap() + "artifact: ".len();
    let mut other = lock.clone();
    other.replace_range(stages..stages + 4, "0000");
    project.write("p.lock", &other);
    let ran = project.trt(&["run", "p.yaml", "--locked", "--force"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("the lock file says"), "{ran:#?}");
    let cached = project.trt(&["run", "p.yaml", "--locked"]);
    assert_eq!(cached.status, 2, "{cached:#?}");
    assert!(cached.stderr.contains("the lock file says"), "{cached:#?}");
}

#[test]
fn running_everything_again_leaves_the_lock_file_as_it_is() {
    let project = Project::empty();
    assert_eq!(project.trt(&["init", "."]).status, 0);
    assert_eq!(project.trt(&["run", "pipeline.yaml"]).status, 0);
    let lock = project.read("pipeline.lock");
    assert_eq!(project.trt(&["run", "pipeline.yaml", "--force"]).status, 0);
    assert_eq!(project.read("pipeline.lock"), lock, "timings are not in it");
}

#[test]
fn a_damaged_lock_file_is_an_error_and_is_left_alone() {
    let project = Project::with_spec(SPEC);
    project.write("p.lock", "<<<<<<< ours\n");
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 2, "nothing runs: {ran:#?}");
    assert_eq!(project.stored(), [""; 0]);
    assert!(ran.stderr.contains("p.lock") && ran.stderr.contains("damaged"), "{ran:#?}");
    assert!(ran.stderr.contains("delete the file"), "{ran:#?}");
    assert_eq!(project.read("p.lock"), "<<<<<<< ours\n");
}

#[test]
fn other_targets_in_the_lock_file_are_kept() {
    let project = Project::with_spec(SPEC);
    project.run_ok();
    let digest = "a".repeat(64);
    let more = format!(
        "{}  other-machine:\n    stages:\n      a:\n        key: {digest}\n        artifact: {digest}\n",
        project.read("p.lock")
    );
    project.write("p.lock", &more);
    project.trt(&["run", "p.yaml", "--set", "word=bye"]);
    let lock = project.read("p.lock");
    assert!(lock.contains("other-machine") && lock.contains(&digest), "{lock}");
}
