//! Killed at any point, run many times at once, interrupted: the store stays right.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Project, Ran, rounds};

/// Two layers of stages, each with real work and several files.
fn busy_spec() -> String {
    let mut spec = "version: 1\nname: busy\nstages:\n".to_owned();
    for at in 0..6 {
        spec += &format!(
            "  make{at}: {{ command: {{ run: [sh, -c, 'mkdir \"$1\"; for i in 1 2 3; do head -c 20000 /dev/zero | tr \"\\0\" {at} > \"$1/$i\"; done', sh, \"${{outputs.d}}\"], outputs: {{ d: d }} }} }}\n"
        );
        spec += &format!(
            "  sum{at}: {{ command: {{ run: [sh, -c, 'cat \"$1\"/* | cksum > \"$2\"', sh, \"${{inputs.d}}\", \"${{outputs.s}}\"], inputs: {{ d: {{ from: make{at}, path: d }} }}, outputs: {{ s: sum.txt }} }} }}\n"
        );
    }
    spec
}

fn sums(project: &Project) -> Vec<String> {
    (0..6).map(|at| project.read(&format!("build/busy/sum{at}/sum.txt"))).collect()
}

/// A small generator, so that a failing round can be repeated.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn a_crash_at_any_point_leaves_a_store_that_the_next_run_trusts_rightly() {
    let calm = Project::with_spec(&busy_spec());
    let began = Instant::now();
    calm.run_ok();
    let whole = began.elapsed();
    let expected = sums(&calm);
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let mut killed = 0;
    let rounds = rounds("TRT_PIPELINE_SOAK_KILLS", 4);
    for round in 0..rounds {
        let project = Project::with_spec(&busy_spec());
        // The first kill comes early enough to find the run at work.
        for within in [whole / 4, whole] {
            let mut child = project
                .command(&["run", "p.yaml"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let wait =
                Duration::from_nanos(next(&mut seed) % u64::try_from(within.as_nanos()).unwrap());
            std::thread::sleep(wait);
            let _ = child.kill();
            killed += usize::from(child.wait().unwrap().signal() == Some(9));
        }
        project.run_ok();
        assert_eq!(sums(&project), expected, "round {round}");
        let verified = project.trt(&["cache", "verify"]);
        assert_eq!(verified.status, 0, "round {round}: {verified:#?}");
        let gc = project.trt(&["cache", "gc"]);
        assert_eq!(gc.status, 0, "round {round}: {gc:#?}");
        let left = std::fs::read_dir(project.file(".trt-pipeline/tmp")).unwrap().count();
        assert_eq!(left, 0, "round {round}: gc clears what killed runs left");
    }
    println!("{killed} of {} runs were killed while they ran", rounds * 2);
    assert!(killed > 0, "no run was killed while it ran");
}

#[test]
fn eight_concurrent_runs_build_each_key_once() {
    for _ in 0..rounds("TRT_PIPELINE_SOAK_ROUNDS", 1) {
        eight_at_once();
    }
}

fn eight_at_once() {
    let project = Project::with_spec(&busy_spec());
    let spawn = |_| {
        project
            .command(&["run", "p.yaml", "--format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..8).map(spawn).collect();
    let mut built = std::collections::BTreeMap::<String, usize>::new();
    for child in children {
        let ran = Ran::of(&child.wait_with_output().unwrap(), project.path());
        assert_eq!(ran.status, 0, "{ran:#?}");
        for (stage, outcome) in ran.outcomes() {
            *built.entry(stage).or_default() += usize::from(outcome == "built");
        }
    }
    assert_eq!(built.len(), 12);
    assert!(built.values().all(|count| *count == 1), "{built:?}");
    assert_eq!(project.trt(&["cache", "verify"]).status, 0);
}

fn is_running(needle: &str) -> bool {
    let found = Command::new("pgrep").args(["-f", needle]).output().unwrap();
    found.status.success()
}

#[test]
fn a_signal_stops_the_run_and_its_children_and_exits_with_130() {
    stopped_by(Signal::TERM, "5");
    // The terminal was closed: children are in groups of their own, so nobody else ends them.
    stopped_by(Signal::HUP, "6");
}

fn stopped_by(signal: Signal, fraction: &str) {
    let marker = format!("{}.{fraction}", 86_400 + std::process::id());
    let project = Project::with_spec(&format!(
        "version: 1\nstages:\n  wait: {{ command: {{ run: [sh, -c, 'sleep {marker} & sleep {marker}'] }} }}\n  \
         then: {{ command: {{ run: [sh] }}, needs: [wait] }}\n"
    ));
    let child = project
        .command(&["run", "p.yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_running(&format!("^sleep {marker}")) {
        assert!(Instant::now() < deadline, "the stage never started");
        std::thread::yield_now();
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
    let ran = Ran::of(&child.wait_with_output().unwrap(), project.path());
    assert_eq!(ran.status, 130, "{ran:#?}");
    assert!(ran.stdout.contains("2 cancelled"), "{ran:#?}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_running(&format!("^sleep {marker}")) {
        assert!(Instant::now() < deadline, "a child of the stage still runs");
        std::thread::yield_now();
    }
    assert_eq!(project.stored(), [""; 0]);
}

#[test]
fn a_full_disk_is_a_typed_error_and_leaves_nothing_half_written() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: mounting a tmpfs needs root");
        return;
    };
    let project = Project::with_spec(
        "version: 1
name: full
stages:
  small: { command: { run: [touch, \"${outputs.x}\"], outputs: { x: x } } }
  big: { command: { run: [sh, -c, 'head -c 3000000 /dev/zero > \"$1\"', sh, \"${outputs.x}\"], outputs: { x: x } } }
",
    );
    let cache = disk.0.join("cache");
    let ran = project.trt(&["run", "p.yaml", "--cache-dir", cache.to_str().unwrap()]);
    assert_eq!(ran.status, 1, "{ran:#?}");
    assert!(ran.stdout.contains("small"), "{ran:#?}");
    let verified = project.trt(&["cache", "--cache-dir", cache.to_str().unwrap(), "verify"]);
    assert_eq!(verified.status, 0, "{verified:#?}");
    let left = std::fs::read_dir(cache.join("tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{ran:#?}");
}

/// A tmpfs of 2 MiB, where this process may mount one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("trt-small-disk-{}", std::process::id()));
        std::fs::create_dir_all(&folder).ok()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(&folder)
            .stderr(Stdio::null())
            .status()
            .ok()?;
        mounted.success().then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}
