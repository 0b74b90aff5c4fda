//! The cache is never stale and never wrong: each way to fool it has a test.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use crate::support::{Project, fixture};

/// a -> b, where a copies a root file and b counts its bytes.
const CHAIN: &str = "version: 1
name: chain
stages:
  a: { command: { run: [cp, \"${inputs.x}\", \"${outputs.y}\"], inputs: { x: in.txt }, outputs: { y: copy.txt } } }
  b: { command: { run: [sh, -c, 'wc -c < \"$1\" > \"$2\"', sh, \"${inputs.x}\", \"${outputs.y}\"],
       inputs: { x: { from: a, path: copy.txt } }, outputs: { y: count.txt } } }
";

fn chain() -> Project {
    let project = Project::with_spec(CHAIN);
    project.write("in.txt", "hello\n");
    project
}

fn outcomes(project: &Project, args: &[&str]) -> String {
    let ran = project.trt(&[&["run", "p.yaml", "--format", "json"], args].concat());
    assert_eq!(ran.status, 0, "{ran:#?}");
    let mut words: Vec<String> =
        ran.outcomes().iter().map(|(stage, outcome)| format!("{stage} {outcome}")).collect();
    words.sort();
    words.join(", ")
}

fn age(project: &Project, name: &str, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    let file = fs::File::options().append(true).open(project.file(name)).unwrap();
    file.set_modified(then).unwrap();
}

#[test]
fn a_second_run_does_nothing_and_a_changed_input_rebuilds() {
    let project = chain();
    assert_eq!(outcomes(&project, &[]), "a built, b built");
    assert_eq!(outcomes(&project, &[]), "a cached, b cached");
    project.write("in.txt", "hello world\n");
    assert_eq!(outcomes(&project, &[]), "a built, b built");
    assert_eq!(project.read("build/chain/b/count.txt").trim(), "12");
}

#[test]
fn an_unchanged_intermediate_result_stops_the_rebuild() {
    let spec = "version: 1
name: cut
stages:
  head: { command: { run: [sh, -c, 'head -c 3 \"$1\" > \"$2\"', sh, \"${inputs.x}\", \"${outputs.y}\"],
          inputs: { x: in.txt }, outputs: { y: head.txt } } }
  tail: { command: { run: [cp, \"${inputs.x}\", \"${outputs.y}\"],
          inputs: { x: { from: head, path: head.txt } }, outputs: { y: out.txt } } }
";
    let project = Project::with_spec(spec);
    project.write("in.txt", "abcdef");
    assert_eq!(outcomes(&project, &[]), "head built, tail built");
    project.write("in.txt", "abcxyz");
    assert_eq!(outcomes(&project, &[]), "head built, tail cached");
}

#[test]
fn a_file_rewritten_within_the_clock_tick_of_its_hashing_is_seen() {
    let project = chain();
    for round in 0..20 {
        // Same length, same inode, and a time stamp put back to what it was.
        let path = project.file("in.txt");
        let before = fs::metadata(&path).unwrap();
        fs::write(&path, format!("hell{}\n", char::from(b'a' + round))).unwrap();
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        assert_eq!(outcomes(&project, &[]), "a built, b built");
        assert_eq!(project.read("build/chain/a/copy.txt"), project.read("in.txt"));
    }
}

#[test]
fn a_file_that_changes_while_a_stage_reads_it_is_an_error_and_nothing_is_recorded() {
    let project = Project::with_spec(
        "version: 1
stages:
  a: { command: { run: [sh, -c, 'cat \"$1\" > \"$2\"; echo more >> \"$1\"', sh, \"${inputs.x}\", \"${outputs.y}\"],
       inputs: { x: in.txt }, outputs: { y: copy.txt } } }
",
    );
    project.write("in.txt", "hello\n");
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("changed while the stage ran"), "{ran:#?}");
    assert!(!project.stored().iter().any(|name| name.starts_with("results/")));
}

#[test]
fn an_edit_through_the_build_link_is_noticed_and_repaired() {
    let project = chain();
    outcomes(&project, &[]);
    let inside = project.file("build/chain/a/copy.txt");
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&inside, "HELLO\n").unwrap();
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stderr.contains("damaged"), "{ran:#?}");
    assert_eq!(project.read("build/chain/a/copy.txt"), "hello\n");
    assert_eq!(project.trt(&["cache", "verify"]).status, 0);
}

#[test]
fn a_touched_but_equal_file_rebuilds_nothing() {
    let project = chain();
    outcomes(&project, &[]);
    age(&project, "in.txt", 1000);
    assert_eq!(outcomes(&project, &[]), "a cached, b cached");
    fs::rename(project.file("in.txt"), project.file("old.txt")).unwrap();
    project.write("in.txt", "hello\n");
    assert_eq!(outcomes(&project, &[]), "a cached, b cached");
}

#[test]
fn a_renamed_stage_and_a_reformatted_spec_rebuild_nothing() {
    let project = chain();
    outcomes(&project, &[]);
    let renamed = CHAIN.replace("  a: {", "  first: {").replace("from: a,", "from: first,");
    project.write("p.yaml", &renamed);
    assert_eq!(outcomes(&project, &[]), "b cached, first cached");
    let other = "# A comment.
name:   chain
version: 1
vars: { file: in.txt }
stages:
  b:
    command:
      outputs: { \"y\": count.txt }
      inputs:
        x:
          path: copy.txt
          from: a
      run: [\"sh\", \"-c\", 'wc -c < \"$1\" > \"$2\"', sh, \"${inputs.x}\", \"${outputs.y}\"]
      deterministic: false
  a:
    command:
      outputs: { y: copy.txt }
      inputs: { x: \"${file}\" }
      run: [cp, \"${inputs.x}\", \"${outputs.y}\"]
";
    project.write("p.yaml", other);
    assert_eq!(
        outcomes(&project, &[]),
        "a cached, b cached",
        "defaults written out change nothing"
    );
}

#[test]
fn damage_in_the_store_is_a_miss_with_a_warning_and_never_a_wrong_result() {
    let project = chain();
    outcomes(&project, &[]);
    let store = project.file(".trt-pipeline");
    for result in fs::read_dir(store.join("results")).unwrap() {
        let path = result.unwrap().path();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(path, "{\"format\":1,").unwrap();
    }
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stderr.contains("damaged") && ran.stdout.contains("2 built"), "{ran:#?}");
    fs::write(store.join("stat.db"), b"not a database at all").unwrap();
    assert_eq!(outcomes(&project, &[]), "a cached, b cached");
    for object in fs::read_dir(store.join("objects")).unwrap() {
        let object = object.unwrap().path();
        fs::set_permissions(&object, fs::Permissions::from_mode(0o755)).unwrap();
        for file in fs::read_dir(&object).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    assert_ne!(project.trt(&["cache", "verify"]).status, 0, "verify tells");
    assert_eq!(outcomes(&project, &[]), "a built, b built");
    assert_eq!(project.trt(&["cache", "verify"]).status, 0);
    assert_eq!(project.read("build/chain/b/count.txt").trim(), "6");
}

#[test]
fn a_stage_that_failed_or_was_skipped_shows_no_older_artifact() {
    let project = chain();
    outcomes(&project, &[]);
    assert!(project.file("build/chain/a").exists() && project.file("build/chain/b").exists());
    assert_eq!(project.read("build/chain/.gitignore"), "*\n");
    project.write("p.yaml", CHAIN.replace("run: [cp,", "run: [\"false\","));
    assert_eq!(project.trt(&["run", "p.yaml"]).status, 1);
    for stage in ["a", "b"] {
        let link = project.file(&format!("build/chain/{stage}"));
        assert!(link.symlink_metadata().is_err(), "{stage}");
    }
    project.write("p.yaml", CHAIN);
    assert_eq!(outcomes(&project, &[]), "a cached, b cached");
    assert!(project.file("build/chain/b/count.txt").exists());
}

#[test]
fn force_runs_what_it_names() {
    let project = chain();
    outcomes(&project, &[]);
    assert_eq!(outcomes(&project, &["--force=b"]), "a cached, b built");
    assert_eq!(outcomes(&project, &["--force"]), "a built, b built");
    assert_eq!(outcomes(&project, &["a"]), "a cached", "only what is asked for");
}

#[test]
fn external_data_of_a_model_is_part_of_its_content() {
    let project = Project::with_spec(
        "version: 1\nstages: { onnx: { convert: { model: m/external.onnx } } }\n",
    );
    project.copy(&fixture("onnx/external.onnx"), "m/external.onnx");
    project.copy(&fixture("onnx/external.data"), "m/external.data");
    assert_eq!(outcomes(&project, &[]), "onnx built");
    assert_eq!(outcomes(&project, &[]), "onnx cached");
    let mut weights = fs::read(project.file("m/external.data")).unwrap();
    weights[0] ^= 1;
    project.write("m/external.data", &weights);
    assert_eq!(outcomes(&project, &[]), "onnx built");
}

#[test]
fn a_miss_is_explained_by_the_field_that_changed() {
    let project = chain();
    outcomes(&project, &[]);
    project.write("in.txt", "other\n");
    let told = project.trt(&["plan", "p.yaml", "--format", "json"]);
    let events = told.events();
    assert_eq!(events[0]["stage"], "a");
    assert_eq!(events[0]["will"], "build");
    assert_eq!(events[0]["because"][0]["field"], "inputs.inputs.x");
    assert_eq!(events[1]["will"], "unknown");
    assert_eq!(events[1]["key"], serde_json::Value::Null);
    let told = project.trt(&["plan", "--explain", "p.yaml"]);
    assert!(told.stdout.contains("inputs.inputs.x:"), "{told:#?}");
}

#[test]
fn a_read_only_cache_serves_hits_and_refuses_the_rest_by_name() {
    if rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: root can write everywhere");
        return;
    }
    let project = chain();
    outcomes(&project, &[]);
    let store = project.file(".trt-pipeline");
    let set = |mode| {
        for folder in ["", "objects", "results", "tmp", "locks"] {
            let path = store.join(folder);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set(0o555);
    let hit = project.trt(&["run", "p.yaml"]);
    project.write("in.txt", "new\n");
    let miss = project.trt(&["run", "p.yaml"]);
    set(0o755);
    assert_eq!(hit.status, 0, "{hit:#?}");
    assert_eq!(miss.status, 1, "{miss:#?}");
    assert!(miss.stderr.contains("--cache-dir"), "{miss:#?}");
}

#[test]
fn gc_removes_what_nothing_refers_to_and_keeps_the_rest() {
    let project = chain();
    fs::create_dir(project.file(".git")).unwrap();
    outcomes(&project, &[]);
    project.write("in.txt", "another\n");
    outcomes(&project, &[]);
    let before = project.stored().len();
    let dry = project.trt(&["cache", "gc", "--dry-run"]);
    assert_eq!(project.stored().len(), before, "{dry:#?}");
    let ran = project.trt(&["cache", "gc"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(project.stored().len() < before, "{ran:#?}");
    assert_eq!(outcomes(&project, &[]), "a cached, b cached");
}

#[test]
fn a_cached_run_changes_nothing_on_disk() {
    let project = chain();
    outcomes(&project, &[]);
    outcomes(&project, &[]);
    let stamp = |name: &str| {
        let found = fs::metadata(project.file(name)).unwrap();
        (found.ino(), found.mtime(), found.mtime_nsec())
    };
    let before = (stamp("p.lock"), stamp(".trt-pipeline/results"), stamp("build/chain"));
    outcomes(&project, &[]);
    assert_eq!(before, (stamp("p.lock"), stamp(".trt-pipeline/results"), stamp("build/chain")));
}

#[test]
fn a_cache_that_is_not_there_is_named_and_not_called_intact() {
    let project = Project::empty();
    for action in ["ls", "verify"] {
        let ran = project.trt(&["cache", action, "--cache-dir", "nothing"]);
        assert_eq!(ran.status, 0, "{ran:#?}");
        let first = ran.stdout.lines().next().unwrap();
        assert!(first.starts_with("there is no cache: "), "{ran:#?}");
        assert!(first.ends_with("/nothing"), "{ran:#?}");
        assert!(ran.stdout.contains("`--project DIR`"), "{ran:#?}");
    }
}
