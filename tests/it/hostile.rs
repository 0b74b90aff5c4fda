//! Specs, names and surroundings that were made to do harm, or are merely odd.

use std::process::Stdio;

use crate::support::{Project, Ran};

/// Characters that make a terminal do something else than show text.
fn commands_a_terminal(text: &str) -> bool {
    text.contains(|char: char| {
        (char.is_control() && !matches!(char, '\n' | '\t')) || char == '\u{202e}'
    })
}

#[test]
fn nothing_in_a_spec_or_in_what_programs_print_commands_the_terminal() {
    let project = Project::with_spec(
        "version: 1\nstages:\n  \
         prints: { command: { run: [sh, -c, \"printf 'hi\\\\033[2Jthere' >&2; exit 3\"] } }\n  \
         program: { command: { run: [\"\\e[2Jprogram\\u202e\"] } }\n  \
         file: { command: { run: [sh, -c, 'ln -s / \"$1\"/$(printf \"a\\033[2J\")', sh, \
         \"${outputs.x}\"], outputs: { \"x\": \"\\e[2Jfolder\" } } }\n",
    );
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("\\u{1b}[2Jprogram\\u{202e}"), "{ran:#?}");
    assert!(!commands_a_terminal(&ran.seen()), "{ran:#?}");

    for spec in [
        "version: 1\nstages:\n  \"\\e[2Ja\": { command: { run: [x] } }\n",
        "version: 1\nstages:\n  a: { convert: { model: \"\\e[2Jx\" } }\n",
        "version: 1\n\"\\e[2J\": 3\n",
        "version: 1\nstages: { a: { command: { run: [\"\u{202e}${nothing}\"] } } }\n",
        "version: 1\nstages: { a: { command: { run: [\"\u{9b}2J${nothing}\"] } } }\n",
        "version: 1\nstages: { a: { command: { run: [\"\u{1b}[2J${nothing}\"] } } }\n",
    ] {
        project.write("p.yaml", spec);
        let ran = project.trt(&["run", "p.yaml"]);
        assert_eq!(ran.status, 2, "{spec:?} {ran:#?}");
        assert!(!commands_a_terminal(&ran.seen()), "{spec:?} {ran:#?}");
    }

    let name = "\u{1b}[2Jx.yaml";
    project.write(name, "version: 1\nstages: 3\n");
    for args in [["check", name], ["inspect", "\u{1b}[2J"], ["check", "\u{1b}[2J"]] {
        let ran = project.trt(&args);
        assert!(ran.status > 0 && !commands_a_terminal(&ran.seen()), "{ran:#?}");
    }
}

#[test]
fn an_endless_name_does_not_fill_the_screen() {
    let long = "a".repeat(1_000_000);
    let project = Project::with_spec(&format!("version: 1\nname: {long}\nstages: {{}}\n"));
    let ran = project.trt(&["check", "p.yaml"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.len() < 10_000, "{} bytes", ran.stderr.len());
    assert!(ran.stderr.contains("characters .."), "{ran:#?}");
}

#[test]
fn thousands_of_errors_and_endless_cycles_are_cut_short() {
    let stages = |line: &dyn Fn(usize) -> String| {
        let lines: String = (0..2000).map(line).collect();
        Project::with_spec(&format!("version: 1\nstages:\n{lines}"))
    };
    let unknown = stages(&|at| format!("  s{at}: {{ build: {{ from: nope{at} }} }}\n"));
    let ran = unknown.trt(&["check", "p.yaml"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.ends_with("2000 errors in p.yaml, of which 1900 are not shown\n"));
    let all = unknown.trt(&["check", "p.yaml", "--format", "json"]);
    assert_eq!(all.events().len(), 2000, "programs get all of them");

    let cycle = stages(&|at| {
        format!("  s{at}: {{ command: {{ run: [x] }}, needs: [s{}] }}\n", (at + 1) % 2000)
    });
    let ran = cycle.trt(&["check", "p.yaml"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("s7 -> .. -> s1993"), "{ran:#?}");
    assert!(ran.stderr.len() < 10_000, "{} bytes", ran.stderr.len());
}

#[test]
fn a_spec_from_a_pipe_is_refused_for_it_has_no_folder() {
    let project = Project::empty();
    let output = project.command(&["run", "/dev/stdin"]).stdin(Stdio::piped()).output().unwrap();
    let ran = Ran::of(&output, project.path());
    assert_eq!(ran.status, 2, "{ran:#?}");
    assert!(ran.stderr.contains("is not a regular file"), "{ran:#?}");
}

#[test]
fn an_empty_cache_variable_is_one_that_is_not_set() {
    let project = Project::with_spec(
        "version: 1\nstages:\n  a: { command: { run: [touch, \"${outputs.x}\"], outputs: { x: x } } }\n",
    );
    let mut command = project.command(&["run", "p.yaml"]);
    let output = command.env("TRT_PIPELINE_CACHE", "").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!project.stored().is_empty());
}

#[test]
fn an_input_folder_with_the_cache_in_it_is_refused() {
    let spec = "version: 1\nstages:\n  a: { command: { run: [sh], inputs: { all: . } } }\n";
    let project = Project::with_spec(spec);
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("contains the cache"), "{ran:#?}");
    let elsewhere = Project::empty();
    let cache = elsewhere.file("cache");
    let ran = project.trt(&["run", "p.yaml", "--cache-dir", cache.to_str().unwrap()]);
    assert_eq!(ran.status, 0, "{ran:#?}");
}

#[test]
fn a_lock_file_that_is_a_pipe_is_not_waited_for() {
    let project = Project::with_spec("version: 1\nstages:\n  a: { command: { run: [sh] } }\n");
    let made = std::process::Command::new("mkfifo").arg(project.file("p.lock")).status().unwrap();
    assert!(made.success());
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
    assert!(ran.stderr.contains("is not a regular file"), "{ran:#?}");
}

#[test]
fn a_file_where_the_cache_belongs_is_named_with_the_next_step() {
    let project = Project::with_spec("version: 1\nstages:\n  a: { command: { run: [sh] } }\n");
    project.write(".trt-pipeline", "mine\n");
    let ran = project.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("move it away"), "{ran:#?}");
    assert_eq!(project.read(".trt-pipeline"), "mine\n");
}

#[test]
fn a_folder_of_other_things_is_not_taken_for_a_cache_and_cleared() {
    let project = Project::with_spec("version: 1\nstages:\n  a: { command: { run: [sh] } }\n");
    project.write("home/tmp/precious", "mine\n").write("home/notes", "mine\n");
    for args in [
        &["cache", "--cache-dir", "home", "gc"][..],
        &["run", "p.yaml", "--cache-dir", "home"],
        &["cache", "--cache-dir", "home", "verify"],
    ] {
        let ran = project.trt(args);
        assert!(ran.status == 1 || args[3] == "verify", "{ran:#?}");
        assert!(ran.status == 0 || ran.stderr.contains("is no cache"), "{ran:#?}");
    }
    assert_eq!(project.read("home/tmp/precious"), "mine\n");
    assert_eq!(std::fs::read_dir(project.file("home")).unwrap().count(), 2);
}

#[test]
fn few_open_files_make_a_run_narrow_instead_of_failing() {
    let stage = |at: usize| {
        format!(
            "  s{at}: {{ command: {{ run: [sh, -c, 'echo {at} > \"$1\"', sh, \"${{outputs.x}}\"], \
             outputs: {{ x: x }} }} }}\n"
        )
    };
    let stages: String = (0..60).map(stage).collect();
    let project = Project::with_spec(&format!("version: 1\nname: many\nstages:\n{stages}"));
    let program = env!("CARGO_BIN_EXE_trt-pipeline");
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 40 && exec \"$0\" run p.yaml -j 64", program])
        .current_dir(project.path())
        .output()
        .unwrap();
    let ran = Ran::of(&output, project.path());
    assert_eq!(ran.status, 0, "{ran:#?}");
    let left = std::fs::read_dir(project.file(".trt-pipeline/tmp")).unwrap().count();
    assert_eq!(left, 0, "{ran:#?}");
}
