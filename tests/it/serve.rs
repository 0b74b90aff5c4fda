//! `serve`: pipelines run, models answer, changes are taken over or refused.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::served::{Kept, Running, SPEC, Served, adder, post, replace};
use crate::support::{Project, Ran, fixture};

/// As [`SPEC`], but nothing is served that is further than 5 from what `reference.onnx` says.
const GATED: &str = "version: 1
name: sum
stages:
  onnx: { convert: { model: model.onnx } }
  engine: { build: { from: onnx } }
  checked:
    validate:
      from: engine
      reference: reference.onnx
      data: good.npz
      compare: { max_abs: 5 }
  api: { serve: { from: engine, requires: [checked] } }
";

/// Addresses of which nobody else has one.
const PORTS: [&str; 6] = ["--http", "127.0.0.1:0", "--grpc", "off", "--admin", "off"];

/// `serve ARGS`, which ends by itself.
fn serve(project: &Project, args: &[&str]) -> Ran {
    project.trt(&[&["serve"], args, &PORTS].concat())
}

fn project(spec: &str) -> Project {
    let project = Project::with_spec(spec);
    project.write("model.onnx", adder(1.0)).write("reference.onnx", adder(1.0));
    project.copy(&fixture("data/good.npz"), "good.npz");
    project
}

fn number(number: f64, version: &str) -> (f64, String) {
    (number, version.to_owned())
}

#[test]
fn an_edited_model_answers_as_the_next_version_and_a_touched_one_changes_nothing() {
    let project = project(SPEC);
    let mut served = Served::start(&project, &["p.yaml", "--watch"]);
    assert_eq!(served.added("sum"), number(1.0, "1"));
    let model = project.file("model.onnx");
    std::fs::File::open(&model).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    project.write(".model.onnx.swp", "what an editor keeps beside a file");
    replace(&model, adder(1.0));
    replace(&model, adder(2.0));
    let reload = served.program.next("reload_finished");
    let reload = if reload["to"] == 1 { served.program.next("reload_finished") } else { reload };
    assert_eq!((&reload["from"], &reload["to"]), (&json!(1), &json!(2)), "{reload}");
    assert_eq!((&reload["model"], &reload["outcome"]), (&json!("sum"), &json!("accepted")));
    assert_eq!(served.added("sum"), number(2.0, "2"));
    let seen = served.program.stop();
    let triggers: Vec<&Value> = named(&seen, "watch_triggered");
    assert_eq!(triggers.len(), 1, "{triggers:#?}");
    assert_eq!(triggers[0]["paths"], json!(["model.onnx"]));
    assert_eq!(triggers[0]["stages"], json!(["onnx"]));
    assert_eq!(triggers[0]["because"], "changed");
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn a_touched_or_rewritten_model_alone_runs_nothing() {
    let project = project(SPEC);
    let mut served = Served::start(&project, &["p.yaml", "--watch"]);
    replace(&project.file("model.onnx"), adder(1.0));
    project.write(".p.yaml.swp", "x").write("4913", "what vim does").write("p.yaml~", SPEC);
    // Whatever comes first is from this.
    served.program.signal(Signal::HUP);
    let trigger = served.program.next("watch_triggered");
    assert_eq!((&trigger["because"], &trigger["paths"]), (&json!("asked"), &json!([])));
    served.program.next("run_finished");
    assert_eq!(served.added("sum"), number(1.0, "1"));
    served.program.stop();
}

#[test]
fn a_broken_spec_is_shown_and_the_last_good_state_goes_on() {
    let project = project(SPEC);
    let mut served = Served::start(&project, &["p.yaml", "--watch"]);
    replace(&project.file("p.yaml"), SPEC.replace("from: engine", "from: engin"));
    let error = served.program.next("diagnostic");
    assert_eq!(error["code"], "plan::unknown_stage", "{error}");
    assert_eq!((&error["file"], &error["line"]), (&json!("p.yaml"), &json!(6)));
    assert_eq!(served.added("sum"), number(1.0, "1"));
    replace(&project.file("p.yaml"), SPEC.replace("name: sum", "name: sum # as before"));
    served.program.next("run_finished");
    assert_eq!(served.added("sum"), number(1.0, "1"));
    project.write("model.onnx", "no model at all");
    let failed = served.program.next("run_finished");
    assert_eq!(failed["exit"], 1, "{failed}");
    assert_eq!(served.added("sum"), number(1.0, "1"));
    std::fs::remove_file(project.file("model.onnx")).unwrap();
    assert_eq!(served.program.next("diagnostic")["code"], "plan::missing_file");
    assert_eq!(served.added("sum"), number(1.0, "1"));
    project.write("model.onnx", adder(3.0));
    served.program.next("reload_finished");
    assert_eq!(served.added("sum"), number(3.0, "2"));
    served.program.stop();
}

#[test]
fn a_model_that_fails_its_gate_is_not_served() {
    let project = project(GATED);
    let mut served = Served::start(&project, &["p.yaml", "--watch"]);
    replace(&project.file("model.onnx"), adder(100.0));
    let run = served.program.next("watch_triggered");
    assert_eq!(run["stages"], json!(["onnx"]));
    assert_eq!(served.program.next("run_finished")["exit"], 4);
    assert_eq!(served.added("sum"), number(1.0, "1"));
    replace(&project.file("model.onnx"), adder(4.0));
    served.program.next("reload_finished");
    assert_eq!(served.added("sum"), number(4.0, "2"));
    served.program.stop();
}

#[test]
fn a_pipeline_that_fails_at_the_start_ends_with_its_status() {
    let gate = project(GATED);
    gate.write("reference.onnx", adder(100.0));
    let ran = serve(&gate, &["p.yaml"]);
    assert_eq!(ran.status, 4, "{ran:#?}");
    let stage = project(SPEC);
    stage.write("model.onnx", "no model");
    assert_eq!(serve(&stage, &["p.yaml"]).status, 1);
}

#[test]
fn several_models_of_several_pipelines_are_served_together() {
    let project = project(SPEC);
    let two = SPEC.replace("name: sum", "name: other")
        + "  more: { build: { from: { file: reference.onnx, kind: model } } }\n  \
           also: { serve: { from: more, name: third } }\n";
    project.write("deeper/two.yaml", two);
    project.write("deeper/model.onnx", adder(20.0)).write("deeper/reference.onnx", adder(30.0));
    let mut served = Served::start(&project, &["p.yaml", "deeper/two.yaml", "--watch"]);
    assert_eq!(served.added("sum"), number(1.0, "1"));
    assert_eq!(served.added("other"), number(20.0, "1"));
    assert_eq!(served.added("third"), number(30.0, "1"));
    replace(&project.file("deeper/reference.onnx"), adder(33.0));
    while served.program.next("reload_finished")["to"] != 2 {}
    assert_eq!(served.program.seen.last().unwrap()["model"], "third");
    assert_eq!(served.added("third"), number(33.0, "2"));
    assert_eq!(served.added("other"), number(20.0, "1"));
    let seen = served.program.stop();
    assert_eq!(named(&seen, "watch_triggered").len(), 1, "the other pipeline is left alone");
}

#[test]
fn two_models_of_one_name_are_refused_before_anything_runs() {
    let project = project(SPEC);
    project.write("q.yaml", SPEC);
    let ran = serve(&project, &["p.yaml", "q.yaml", "--format", "json"]);
    assert_eq!(ran.status, 2, "{ran:#?}");
    let error = &ran.events()[0];
    assert_eq!((&error["code"], &error["file"]), (&json!("serve::same_model"), &json!("q.yaml")));
    let text = error["message"].as_str().unwrap();
    assert!(text.contains("`p.yaml`") && text.contains("`sum`"), "{error}");
    let twice = SPEC.to_owned() + "  again: { serve: { from: engine } }\n";
    project.write("q.yaml", twice);
    assert_eq!(serve(&project, &["q.yaml"]).status, 2);
    project.write("q.yaml", SPEC.split("  api").next().unwrap());
    let ran = serve(&project, &["q.yaml"]);
    assert!(ran.status == 2 && ran.stderr.contains("describes a model to serve"), "{ran:#?}");
    assert_eq!(project.stored(), [""; 0]);
}

#[test]
fn a_name_that_another_pipeline_serves_is_refused_while_watching() {
    let project = project(SPEC);
    let other = SPEC.replace("name: sum", "name: other");
    project.write("q.yaml", &other);
    let mut served = Served::start(&project, &["p.yaml", "q.yaml", "--watch"]);
    project.write("q.yaml", SPEC);
    assert_eq!(served.program.next("diagnostic")["code"], "serve::same_model");
    assert_eq!(served.added("other"), number(1.0, "1"));
    served.program.stop();
}

#[test]
fn a_model_that_the_spec_serves_no_more_goes_once_the_new_one_is_made() {
    let project = project(SPEC);
    let mut served = Served::start(&project, &["p.yaml", "--watch"]);
    let renamed = SPEC.replace("serve: { from: engine", "serve: { name: plus, from: engine");
    project.write("p.yaml", renamed);
    while served.program.next("reload_finished")["outcome"] != "removed" {}
    assert_eq!(served.program.seen.last().unwrap()["model"], "sum");
    assert_eq!(served.added("plus"), number(1.0, "1"));
    let (status, _) = post(served.http, "/v2/models/sum/infer", &json!({ "inputs": [] }));
    assert_eq!(status, 404);
    served.program.stop();
}

#[test]
fn a_server_is_held_to_the_lock_file_where_asked_to() {
    let project = project(SPEC);
    assert_eq!(serve(&project, &["p.yaml", "--locked"]).status, 2);
    project.run_ok();
    let served = Served::start(&project, &["p.yaml", "--locked"]);
    assert_eq!(served.added("sum"), number(1.0, "1"));
    served.program.stop();
}

#[test]
fn a_port_in_use_shows_before_anything_is_built() {
    let project = project(SPEC);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = project.trt(&["serve", "p.yaml", "--http", "0", "--grpc", &address, "--admin", "0"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains(&address) && ran.stderr.contains("--grpc"), "{ran:#?}");
    assert_eq!(project.stored(), [""; 0]);
}

#[test]
fn sigterm_ends_the_server_well_and_the_last_event_says_so() {
    let project = project(SPEC);
    let served = Served::start(&project, &["p.yaml"]);
    assert_eq!(served.added("sum"), number(1.0, "1"));
    let seen = served.program.stop();
    let last = seen.last().unwrap();
    assert_eq!((&last["event"], &last["exit"]), (&json!("serve_finished"), &json!(0)));
    assert_eq!(last["aborted"], 0);
}

#[test]
fn sigterm_under_load_leaves_no_request_without_its_answer() {
    let project = project(SPEC);
    let served = Served::start(&project, &["p.yaml"]);
    let (address, answered) = (served.http, AtomicUsize::new(0));
    let seen = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8_u8)
            .map(|client| {
                let answered = &answered;
                scope.spawn(move || {
                    let mut kept = Kept::connect(address);
                    // The server says when a connection takes no more.
                    while kept.goes_on {
                        let number = f64::from(client);
                        assert_eq!(kept.added("sum", number).to_bits(), (number + 1.0).to_bits());
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let give_up = Instant::now() + Duration::from_mins(1);
        while answered.load(Ordering::SeqCst) < 200 {
            assert!(Instant::now() < give_up && clients.iter().all(|it| !it.is_finished()));
            std::thread::yield_now();
        }
        served.program.stop()
    });
    assert_eq!(seen.last().unwrap()["aborted"], 0, "{seen:#?}");
}

#[test]
fn a_signal_while_the_pipeline_still_runs_cancels_it() {
    let project =
        Project::with_spec(&format!("{SPEC}  slow: {{ command: {{ run: [sleep, '600'] }} }}\n"));
    project.write("model.onnx", adder(1.0));
    let mut program = Running::start(&project, &[&["serve", "p.yaml"], &PORTS[..]].concat());
    while program.next("stage_started")["stage"] != "slow" {}
    program.signal(Signal::TERM);
    let (_, ran) = program.end();
    assert_eq!(ran.status, 130, "{ran:#?}");
}

#[test]
fn what_is_served_survives_the_cleaning_of_the_cache() {
    let project = project(SPEC);
    let served = Served::start(&project, &["p.yaml"]);
    std::fs::remove_dir_all(project.file("build")).unwrap();
    std::fs::remove_file(project.file("p.lock")).unwrap();
    let before = project.stored();
    let gc = project.trt(&["cache", "gc"]);
    assert_eq!(gc.status, 0, "{gc:#?}");
    let objects = |stored: &[String]| stored.iter().filter(|at| at.starts_with("objects")).count();
    assert_eq!((objects(&before), objects(&project.stored())), (3, 2), "{gc:#?}");
    served.program.stop();
    project.trt(&["cache", "gc"]);
    assert_eq!(objects(&project.stored()), 0);
}

#[test]
fn a_server_killed_while_it_rebuilds_leaves_nothing_half_written() {
    let project = project(SPEC);
    let mut served = Served::start(&project, &["p.yaml", "--watch"]);
    project.write("model.onnx", adder(2.0));
    served.program.next("watch_triggered");
    served.program.signal(Signal::KILL);
    served.program.end();
    let verified = project.trt(&["cache", "verify"]);
    assert_eq!(verified.status, 0, "{verified:#?}");
    let again = Served::start(&project, &["p.yaml"]);
    assert_eq!(again.added("sum"), number(2.0, "1"));
    again.program.stop();
    assert_eq!(project.trt(&["cache", "gc"]).status, 0);
    assert_eq!(std::fs::read_dir(project.file(".trt-pipeline/tmp")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(project.file(".trt-pipeline/locks/leases")).unwrap().count(), 0);
}

#[test]
fn an_engine_of_the_users_own_is_served_with_a_warning() {
    let project = project(SPEC);
    project.run_ok();
    std::fs::create_dir(project.file("mine")).unwrap();
    for file in ["model.onnx", "engine.json"] {
        project.copy(&project.file(&format!("build/sum/engine/{file}")), &format!("mine/{file}"));
    }
    project.write(
        "q.yaml",
        "version: 1\nname: own\nstages:\n  api: { serve: { from: { file: mine, kind: engine } } }\n",
    );
    let served = Served::start(&project, &["q.yaml"]);
    assert_eq!(served.added("own"), number(1.0, "1"));
    served.program.signal(Signal::INT);
    let (_, ran) = served.program.end();
    assert_eq!(ran.status, 0);
    assert!(ran.stderr.contains("outside the cache"), "{ran:#?}");
}

#[test]
fn chosen_stages_are_served_alone() {
    let project =
        project(&format!("{SPEC}  other: {{ serve: {{ from: engine, name: other }} }}\n"));
    let served = Served::start(&project, &["p.yaml", "--stage", "other"]);
    assert_eq!(served.added("other"), number(1.0, "1"));
    let (status, _) = post(served.http, "/v2/models/sum/infer", &json!({ "inputs": [] }));
    assert_eq!(status, 404);
    served.program.stop();
}

#[test]
fn the_token_comes_from_a_file_or_the_environment_and_must_be_one() {
    let project = project(SPEC);
    project.write("token", "\n");
    let ran = serve(&project, &["p.yaml", "--token-file", "token"]);
    assert!(ran.status == 2 && ran.stderr.contains("token file `token` is empty"), "{ran:#?}");
    project.write("token", "two words \n");
    let ran = serve(&project, &["p.yaml", "--token-file", "token"]);
    assert!(ran.status == 2 && ran.stderr.contains("must be visible text"), "{ran:#?}");
    let ran = serve(&project, &["p.yaml", "--token-file", "missing"]);
    assert!(ran.status == 2 && ran.stderr.contains("`missing`"), "{ran:#?}");
    let mut command = project.command(&[&["serve", "p.yaml"], &PORTS[..]].concat());
    let output = command.env("TRT_PIPELINE_TOKEN", " a ").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(project.stored(), [""; 0]);
}

#[test]
fn control_requests_to_the_inference_address_are_told_where_they_belong() {
    let project = project(SPEC);
    let served = Served::start(&project, &["p.yaml"]);
    for path in [
        "/v2/repository/models/sum/unload",
        "/v2/models/sum/rollback",
        "/v2/systemsharedmemory/region/r/register",
        "/v2/cudasharedmemory/status",
    ] {
        let (status, answer) = post(served.http, path, &json!({}));
        assert_eq!(status, 403, "{path}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains("`--control on`, or use the admin listener"), "{error}");
    }
    assert_eq!(served.added("sum"), number(1.0, "1"));
}
