//! What people see of the commands.

use crate::support::{Project, fixture, with_filters};

const DIAMOND: &str = "version: 1
name: diamond
stages:
  top: { command: { run: [touch, \"${outputs.x}\"], outputs: { x: x } } }
  left: { command: { run: [touch, \"${outputs.x}\"], inputs: { i: { from: top, path: x } }, outputs: { x: x } } }
  right: { command: { run: [touch, \"${outputs.x}\"], inputs: { i: { from: top, path: x } }, outputs: { x: x } } }
  bottom: { command: { run: [touch, \"${outputs.x}\"], inputs: { l: { from: left, path: x }, r: { from: right, path: x } }, outputs: { x: x } } }
";

#[test]
fn the_graph_is_drawn_three_ways() {
    let project = Project::with_spec(DIAMOND);
    for format in ["text", "dot", "mermaid"] {
        let ran = project.trt(&["graph", "p.yaml", "--format", format]);
        with_filters(|| insta::assert_snapshot!(format!("graph_{format}"), ran.seen()));
    }
}

#[test]
fn plan_shows_what_would_happen() {
    let project = Project::with_spec(DIAMOND);
    let seen = |ran: crate::support::Ran| {
        let key = regex_free_keys(&ran.stdout);
        format!("exit {}\n{key}{}", ran.status, ran.stderr)
    };
    let before = seen(project.trt(&["plan", "p.yaml"]));
    with_filters(|| insta::assert_snapshot!("plan_cold", before));
    project.run_ok();
    let after = seen(project.trt(&["plan", "p.yaml"]));
    with_filters(|| insta::assert_snapshot!("plan_warm", after));
}

/// Twelve hex digits become `[key]`.
fn regex_free_keys(text: &str) -> String {
    let is_key = |word: &str| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let line = |line: &str| {
        let words: Vec<&str> =
            line.split(' ').map(|word| if is_key(word) { "[key]" } else { word }).collect();
        words.join(" ")
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

#[test]
fn a_model_is_described() {
    let project = Project::empty();
    project.copy(&fixture("onnx/mlp.onnx"), "mlp.onnx");
    let ran = project.trt(&["inspect", "mlp.onnx"]);
    with_filters(|| insta::assert_snapshot!("inspect_model", ran.seen()));
    let missing = project.trt(&["inspect", "nothing.here"]);
    assert_eq!(missing.status, 1, "{missing:#?}");
}

#[test]
fn a_result_is_found_by_the_start_of_its_key() {
    let project = Project::with_spec(DIAMOND);
    project.run_ok();
    let results = project.stored();
    let key = results.iter().find_map(|name| name.strip_prefix("results/")).unwrap();
    let ran = project.trt(&["inspect", &key[..10]]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stdout.contains("key fields"), "{ran:#?}");
}

#[test]
fn usage_errors_exit_with_2_and_say_what_is_wrong() {
    let project = Project::with_spec(DIAMOND);
    let ran = project.trt(&["run", "p.yaml", "botom"]);
    with_filters(|| insta::assert_snapshot!("unknown_stage_argument", ran.seen()));
    let ran = project.trt(&["run", "p.yaml", "q.yaml"]);
    assert!(ran.stderr.contains("`serve` and `watch` take several"), "{ran:#?}");
    assert_eq!(project.trt(&["run"]).status, 2);
    assert_eq!(project.trt(&["fly"]).status, 2);
    assert_eq!(project.trt(&["run", "p.yaml", "--jobs", "0"]).status, 2);
    let ran = project.trt(&["run", "p.yaml", "--set", "x=1"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
}

#[test]
fn help_version_and_completions_are_printed() {
    let project = Project::empty();
    let help = project.trt(&["--help"]);
    assert_eq!(help.status, 0);
    for command in [
        "run", "plan", "check", "serve", "watch", "graph", "schema", "inspect", "bench", "cache",
        "init",
    ] {
        assert!(help.stdout.contains(command), "{command} is not in the help");
    }
    assert!(project.trt(&["--version"]).stdout.starts_with("trt-pipeline "));
    for shell in ["bash", "zsh", "fish"] {
        assert!(project.trt(&["completions", shell]).stdout.contains("trt-pipeline"));
    }
}

#[test]
fn bash_completes_the_options_of_a_subcommand() {
    let project = Project::empty();
    project.write("c.bash", project.trt(&["completions", "bash"]).stdout);
    let script = "source ./c.bash; COMP_WORDS=(trt-pipeline run --fo); COMP_CWORD=2; \
                  _trt__pipeline trt-pipeline --fo run; echo \"${COMPREPLY[@]}\"";
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .current_dir(project.path())
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(found.contains("--force") && found.contains("--format"), "{output:?}");
}

#[test]
fn a_closed_pipe_ends_the_output_quietly() {
    let project = Project::with_spec(DIAMOND);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = project.command(&["schema"]).stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn keep_going_runs_what_can_run_and_fail_fast_stops() {
    let spec = "version: 1
stages:
  bad: { command: { run: [\"false\"] } }
  one: { command: { run: [touch, \"${outputs.x}\"], outputs: { x: x } } }
  two: { command: { run: [touch, \"${outputs.x}\"], inputs: { i: { from: one, path: x } }, outputs: { x: x } } }
";
    let project = Project::with_spec(spec);
    let ran = project.trt(&["run", "p.yaml", "--jobs", "1", "--fail-fast"]);
    assert!(ran.stdout.contains("1 failed, 2 skipped"), "{ran:#?}");
    let ran = project.trt(&["run", "p.yaml", "--jobs", "1"]);
    assert!(ran.stdout.contains("2 built, 1 failed"), "{ran:#?}");
    assert_eq!(ran.status, 1);
}

#[test]
fn a_missing_program_is_exit_3() {
    let project = Project::with_spec(
        "version: 1\nstages: { a: { command: { run: [no-such-tool-here] } } }\n",
    );
    let output = project.command(&["run", "p.yaml"]).env("PATH", "/usr/bin:/bin").output().unwrap();
    let ran = crate::support::Ran::of(&output, project.path());
    with_filters(|| insta::assert_snapshot!("missing_program", ran.seen()));
    assert_eq!(ran.status, 3);
    let plan = project.trt(&["plan", "p.yaml", "--format", "json"]);
    assert_eq!(plan.events()[0]["will"], "unknown");
}
