//! A build that is stopped, by its time limit or by a person, leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Build, Rtx};

/// Whether a process that works in this folder compiles.
fn compiles_in(folder: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes.into_iter().any(|process| {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        command.contains("compile-tensorrt") && command.contains(&*folder.to_string_lossy())
    })
}

/// No process compiles any more, and of the engine there is nothing.
fn left_nothing(rtx: &Rtx) {
    let folder = rtx.project.path();
    let deadline = Instant::now() + Duration::from_secs(20);
    while compiles_in(folder) {
        assert!(Instant::now() < deadline, "a compiling process still runs");
        std::thread::yield_now();
    }
    assert_eq!(rtx.project.stored(), [""; 0]);
    let scratch = fs::read_dir(rtx.project.file(".trt-pipeline/tmp")).map_or(0, Iterator::count);
    assert_eq!(scratch, 0, "scratch folders are removed");
    assert!(!rtx.project.file("build/rtx").exists());
}

#[test]
fn a_time_limit_ends_a_build() {
    let build = Build::of("light/light_resnet50").set("timeout_seconds: 0.2");
    let Some(rtx) = Rtx::building(&[build]) else { return };
    let ran = rtx.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stderr.contains("took longer than 0.2 s and was ended"), "{ran:#?}");
    assert!(ran.stderr.contains("raise `timeout_seconds`"), "{ran:#?}");
    left_nothing(&rtx);
}

#[test]
fn an_interrupted_build_leaves_no_process_and_nothing_half_written() {
    let Some(rtx) = Rtx::building(&[Build::of("light/light_shufflenet")]) else { return };
    let mut command = rtx.project.command(&["run", "p.yaml", "--format", "json"]);
    command.env("TRT_PIPELINE_TENSORRT", &rtx.library).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"Optimizing graph\"")), "TensorRT never started");
    assert!(compiles_in(rtx.project.path()));
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let last: Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
    assert_eq!((&last["cancelled"], &last["exit"]), (&json!(1), &json!(130)), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    left_nothing(&rtx);
    rtx.all("built");
}
