//! `watch`: what runs again, and what does not.

use std::os::unix::fs::symlink;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::support::Project;
use crate::support::served::{Running, replace};

/// Copies everything in `data` into one file.
const SPEC: &str = "version: 1
name: all
stages:
  joined:
    command:
      run: [sh, -c, 'cat \"$1\"/* \"$1\"/*/* > \"$2\" 2>/dev/null; true', sh, \"${inputs.data}\", \"${outputs.y}\"]
      inputs: { data: data }
      outputs: { y: all.txt }
  other:
    command:
      run: [cp, \"${inputs.x}\", \"${outputs.y}\"]
      inputs: { x: other.txt }
      outputs: { y: other.txt }
";

fn project() -> Project {
    let project = Project::with_spec(SPEC);
    project.write("data/one", "1").write("other.txt", "other");
    project
}

/// Starts and waits for the first run.
fn watch(project: &Project, args: &[&str]) -> Running {
    let mut program = Running::start(project, &[&["watch", "p.yaml"], args].concat());
    assert_eq!(program.next("run_finished")["exit"], 0);
    program
}

/// The stages that were built by the last run that was taken.
fn built(program: &Running) -> Vec<&str> {
    let begin = program.seen.iter().rposition(|event| event["event"] == "run_started").unwrap();
    let run = program.seen[begin..].iter();
    run.filter(|event| event["outcome"] == "built").map(|e| e["stage"].as_str().unwrap()).collect()
}

#[test]
fn a_file_that_comes_into_a_folder_runs_only_what_reads_the_folder() {
    for poll in [&[][..], &["--poll", "50ms"]] {
        let project = project();
        let mut program = watch(&project, poll);
        project.write("data/more/two", "2");
        let trigger = program.next("watch_triggered");
        assert_eq!(trigger["paths"], json!(["data/more/two"]));
        assert_eq!(trigger["stages"], json!(["joined"]));
        program.next("run_finished");
        assert_eq!(built(&program), ["joined"]);
        assert_eq!(project.read("build/all/joined/all.txt"), "12");
        std::fs::remove_dir_all(project.file("data/more")).unwrap();
        assert_eq!(program.next("watch_triggered")["paths"], json!(["data/more/two"]));
        program.next("run_finished");
        program.stop();
    }
}

#[test]
fn an_input_that_the_spec_gains_is_watched_and_one_it_loses_is_not() {
    let project = project();
    project.write("new/x", "x");
    let mut program = watch(&project, &[]);
    let changed = SPEC.replace("x: other.txt }\n      outputs", "x: new/x }\n      outputs");
    replace(&project.file("p.yaml"), &changed);
    assert_eq!(program.next("watch_triggered")["paths"], json!(["p.yaml"]));
    program.next("run_finished");
    assert_eq!(built(&program), ["other"]);
    project.write("other.txt", "nobody reads this now");
    project.write("new/x", "xx");
    assert_eq!(program.next("watch_triggered")["paths"], json!(["new/x"]));
    program.next("run_finished");
    assert_eq!(project.read("build/all/other/other.txt"), "xx");
    program.stop();
}

#[test]
fn a_spec_that_waits_for_a_file_runs_once_it_is_there() {
    let project = project();
    std::fs::remove_dir_all(project.file("data")).unwrap();
    let mut program = Running::start(&project, &["watch", "p.yaml"]);
    assert_eq!(program.next("diagnostic")["code"], "plan::missing_file");
    project.write("data/one", "1");
    assert_eq!(program.next("run_finished")["exit"], 0);
    assert_eq!(project.read("build/all/joined/all.txt"), "1");
    program.stop();
}

#[test]
fn a_link_that_is_swapped_and_many_files_at_once_are_one_run() {
    let project = project();
    for at in 0..100 {
        project.write(&format!("v2/{at:03}"), "2");
    }
    std::fs::rename(project.file("data"), project.file("v1")).unwrap();
    symlink("v1", project.file("data")).unwrap();
    let mut program = watch(&project, &[]);
    symlink("v2", project.file("next")).unwrap();
    std::fs::rename(project.file("next"), project.file("data")).unwrap();
    program.next("run_finished");
    assert_eq!(project.read("build/all/joined/all.txt"), "2".repeat(100));
    for at in 0..100 {
        project.write(&format!("v2/{at:03}"), "3");
    }
    let trigger = program.next("watch_triggered");
    assert_eq!(trigger["paths"].as_array().unwrap().len(), 100);
    program.next("run_finished");
    assert_eq!(project.read("build/all/joined/all.txt"), "3".repeat(100));
    program.stop();
}

#[test]
fn what_changes_while_stages_run_is_run_again_with_the_newest() {
    let project = Project::with_spec(
        "version: 1
name: slow
stages:
  slow:
    command:
      run: [sh, -c, 'cp \"$1\" \"$2\"; while [ ! -e \"$3\" ]; do sleep 0.02; done', sh, \"${inputs.x}\", \"${outputs.y}\", \"${env.GO}\"]
      inputs: { x: x.txt }
      outputs: { y: y.txt }
",
    );
    project.write("x.txt", "1");
    let go = project.file("go");
    let mut command = project.command(&["watch", "p.yaml", "--format", "json"]);
    let mut program = Running::of(command.env("GO", &go));
    program.next("stage_started");
    for text in ["2", "3", "4"] {
        replace(&project.file("x.txt"), text);
    }
    project.write("go", "");
    program.next("watch_triggered");
    assert_eq!(program.next("run_finished")["exit"], 0);
    assert_eq!(project.read("build/slow/slow/y.txt"), "4");
    program.stop();
}

#[test]
fn signals_ask_for_another_run_or_for_the_end() {
    let project = project();
    let mut program = watch(&project, &[]);
    program.signal(Signal::HUP);
    assert_eq!(program.next("watch_triggered")["because"], "asked");
    program.next("run_finished");
    program.signal(Signal::INT);
    let (_, ran) = program.end();
    assert_eq!(ran.status, 0, "{ran:#?}");
    let missing = Project::empty().trt(&["watch", "nothing.yaml"]);
    assert_eq!(missing.status, 2, "{missing:#?}");
}

#[test]
fn files_are_looked_at_where_the_system_has_no_watches_left() {
    let limit = "echo 2 > /proc/sys/user/max_inotify_watches";
    let probe = Command::new("unshare").args(["-U", "-r", "sh", "-c", limit]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: limits on watches need a user namespace of our own");
        return;
    }
    let project = project();
    let program = project.command(&[]).get_program().to_owned();
    let script = format!("{limit}; exec \"$0\" watch p.yaml --format json");
    let mut command = Command::new("unshare");
    command.args(["-U", "-r", "sh", "-c", &script]).arg(program).current_dir(project.path());
    let mut program = Running::of(&mut command);
    program.next("run_finished");
    project.write("data/two", "2");
    assert_eq!(program.next("watch_triggered")["paths"], json!(["data/two"]));
    program.next("run_finished");
    program.signal(Signal::TERM);
    let (_, ran) = program.end();
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stderr.contains("fs.inotify.max_user_watches is used up"), "{ran:#?}");
}
