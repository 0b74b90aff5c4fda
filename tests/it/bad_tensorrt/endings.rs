//! Compiling processes that crash, hang or are killed, and runs that are told to stop.

use rustix::process::{Pid, Signal, kill_process};

use super::*;

const BUILDING: &str = "IBuilder::buildSerializedNetwork";

/// Fails the build in some way.
fn with_failure(kind: &str, settings: &str) -> Machine {
    Machine::new(v10().with("FAIL", format!("{BUILDING}={kind}")), settings)
}

#[test]
fn a_crash_of_tensorrt_is_the_failure_of_one_stage_with_the_last_that_was_said() {
    let mut seen = String::new();
    for kind in ["segv", "abort", "oom"] {
        seen += &format!("== {kind}\n{}\n", with_failure(kind, "").fails(1));
    }
    with_filters(|| insta::assert_snapshot!("bad_tensorrt_crashes", seen));
}

#[test]
fn a_build_that_never_ends_is_ended_by_its_limit_however_many_there_are() {
    let machine = with_failure("hang", "      timeout_seconds: 0.4\n      builds: 4294967295\n");
    let seen = machine.fails(1);
    with_filters(|| insta::assert_snapshot!("bad_tensorrt_timeout", seen));
}

/// Starts a run whose build hangs, and does something to it then.
fn stopped(machine: &Machine, stop: impl FnOnce(Pid)) -> Option<i32> {
    let mut command = machine.command(&["run", "p.yaml"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while machine.compilers() == 0 {
        assert!(Instant::now() < deadline, "nothing was compiled");
        std::thread::yield_now();
    }
    stop(Pid::from_child(&child));
    child.wait().unwrap().code()
}

#[test]
fn a_signal_ends_a_build_and_all_that_belongs_to_it() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let machine = with_failure("hang", "");
        let status = stopped(&machine, |run| kill_process(run, signal).unwrap());
        assert_eq!(status, Some(130), "{signal:?}");
        machine.left_nothing();
    }
}

#[test]
fn a_run_that_is_killed_takes_its_compiling_process_along() {
    let machine = with_failure("hang", "");
    let status = stopped(&machine, |run| kill_process(run, Signal::KILL).unwrap());
    assert_eq!(status, None);
    machine.nobody_compiles();
    assert_eq!(machine.project.stored(), [""; 0]);
    assert!(!exists(&machine, "build"));
}

#[test]
fn two_runs_that_share_a_gpu_build_one_after_the_other_and_each_engine_once() {
    let machine = Machine::new(v10().with("STEP_MS", 2), "");
    let start = || machine.command(&["run", "p.yaml", "--format", "json"]).output();
    let runs = std::thread::scope(|scope| {
        let runs = [scope.spawn(start), scope.spawn(start)];
        runs.map(|run| Ran::of(&run.join().unwrap().unwrap(), machine.project.path()))
    });
    let mut outcomes: Vec<String> =
        runs.iter().flat_map(Ran::outcomes).map(|(_, outcome)| outcome).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["built", "cached"], "{runs:#?}");
}
