//! `--format json`: one object a line, nothing else on standard output.

use serde_json::Value;

use crate::support::Project;

const SPEC: &str = "version: 1
name: events
stages:
  ok: { command: { run: [touch, \"${outputs.x}\"], outputs: { x: x } } }
  bad: { command: { run: [sh, -c, 'echo oh no >&2; exit 7'], outputs: { x: x } } }
  after: { command: { run: [cat, \"${inputs.x}\"], inputs: { x: { from: bad, path: x } } } }
";

#[test]
fn every_line_is_an_event_of_the_schema_and_the_last_has_the_counts() {
    let project = Project::with_spec(SPEC);
    let ran = project.trt(&["run", "p.yaml", "--format", "json"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    let events = ran.events();
    for event in &events {
        assert_eq!(event["v"], 1);
        assert!(event["t"].as_str().unwrap().ends_with('Z'));
    }
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names.first(), Some(&"run_started"));
    assert_eq!(names.last(), Some(&"run_finished"), "also after what failed is explained");
    assert!(names.contains(&"diagnostic"));
    let finished = &events[events.len() - 1];
    assert_eq!(
        (&finished["built"], &finished["failed"], &finished["skipped"], &finished["exit"]),
        (&Value::from(1), &Value::from(1), &Value::from(1), &Value::from(1))
    );
    let failed = events.iter().find(|event| event["outcome"] == "failed").unwrap();
    assert_eq!(failed["stage"], "bad");
    assert!(failed["reason"].as_str().unwrap().contains('7'), "{failed}");
    assert_eq!(failed["artifact"], Value::Null);
    let skipped = events.iter().find(|event| event["outcome"] == "skipped").unwrap();
    assert!(skipped["reason"].as_str().unwrap().contains("`bad`"), "{skipped}");
    let built = events.iter().find(|event| event["outcome"] == "built").unwrap();
    assert_eq!(built["key"].as_str().unwrap().len(), 64);
}

#[test]
fn diagnostics_of_check_carry_file_line_and_column() {
    let project = Project::with_spec("version: 1\nstages:\n  a: { build: { from: nope } }\n");
    let ran = project.trt(&["check", "p.yaml", "--format", "json"]);
    assert_eq!(ran.status, 2);
    let events = ran.events();
    assert_eq!(events.len(), 1, "{ran:#?}");
    assert_eq!(events[0]["event"], "diagnostic");
    assert_eq!((&events[0]["line"], &events[0]["column"]), (&Value::from(3), &Value::from(23)));
    assert_eq!(events[0]["code"], "plan::unknown_stage");
    assert_eq!(events[0]["file"], "p.yaml");
}

#[test]
fn every_command_that_takes_the_format_prints_lines_with_version_time_and_event() {
    let project = Project::with_spec(SPEC);
    project.trt(&["run", "p.yaml"]);
    for args in [
        &["plan", "p.yaml"][..],
        &["cache", "ls"],
        &["cache", "verify"],
        &["cache", "path"],
        &["cache", "gc", "--dry-run"],
        &["inspect", "build/events/ok"],
        &["doctor"],
        &["runtime", "list"],
    ] {
        let ran = project.trt(&[args, &["--format", "json"]].concat());
        let events = ran.events();
        assert!(!events.is_empty(), "{args:?}: {ran:#?}");
        for event in events {
            assert_eq!(event["v"], 1, "{args:?}");
            assert!(event["t"].is_string() && event["event"].is_string(), "{args:?}: {event}");
        }
    }
}
