use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::artifact::Digest;
use crate::process::CancelToken;
use crate::progress::{NoProgress, Progress};
use crate::stage::{FailureClass, ResolvedInput};

/// Folders for one run of a command.
struct Place {
    dir: TempDir,
    inputs: BTreeMap<String, ResolvedInput>,
    cancel: CancelToken,
}

impl Place {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for folder in ["out", "scratch", "spec"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Self { dir, inputs: BTreeMap::new(), cancel: CancelToken::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn input(&mut self, name: &str, content: &str) {
        let path = self.path(&format!("spec/{name}"));
        fs::write(&path, content).unwrap();
        let digest = Digest::of(content.as_bytes());
        self.inputs.insert(input_role(name), ResolvedInput { path, digest, kind: None });
    }

    fn run(&self, command: &Command) -> Result<(), StageError> {
        self.run_watched(command, &NoProgress)
    }

    fn run_watched(&self, command: &Command, progress: &dyn Progress) -> Result<(), StageError> {
        let problems = command.check(&CheckContext::default());
        assert!(problems.is_empty(), "{problems:?}");
        command.run(&StageContext {
            name: "test",
            spec_dir: &self.path("spec"),
            inputs: &self.inputs,
            out: &self.path("out"),
            scratch: &self.path("scratch"),
            kept: &self.path("scratch"),
            progress,
            cancel: &self.cancel,
        })
    }
}

fn command(run: &[&str]) -> Command {
    let words = run.iter().map(|word| Spanned::unplaced((*word).to_owned())).collect();
    Command {
        run: Spanned::unplaced(words),
        inputs: IndexMap::new(),
        outputs: IndexMap::new(),
        env: IndexMap::new(),
        deterministic: Spanned::unplaced(false),
        timeout_seconds: None,
    }
}

fn shell(script: &str) -> Command {
    command(&["sh", "-c", script])
}

fn output(mut command: Command, name: &str, path: &str) -> Command {
    command.outputs.insert(name.into(), Spanned::unplaced(path.into()));
    command
}

fn message(result: Result<(), StageError>) -> String {
    result.unwrap_err().to_string()
}

struct Probe(PathBuf);

impl ToolProbe for Probe {
    fn cancel(&self) -> &CancelToken {
        unreachable!("nothing is asked")
    }
    fn file_digest(&self, path: &Path) -> std::io::Result<Digest> {
        fs::read(path).map(|bytes| Digest::of(&bytes))
    }
    fn spec_dir(&self) -> &Path {
        &self.0
    }
}

#[test]
fn inputs_become_outputs_through_absolute_paths() {
    let mut place = Place::new();
    place.input("x", "abc");
    let mut command = output(
        shell("pwd > \"$1\"; tr a-c A-C < ${inputs.x} > ${outputs.y}; echo $K >> ${outputs.y}"),
        "y",
        "deep/er/y.txt",
    );
    command.run.value.extend([
        Spanned::unplaced("sh".to_owned()),
        Spanned::unplaced("${outputs.where}".to_owned()),
    ]);
    command.inputs.insert("x".into(), Spanned::unplaced(FileRef::Path("x".into())));
    command.env.insert("K".into(), Spanned::unplaced("at ${inputs.x}".into()));
    let command = output(command, "where", "where");
    place.run(&command).unwrap();
    let y = fs::read_to_string(place.path("out/deep/er/y.txt")).unwrap();
    assert_eq!(y, format!("ABCat {}\n", place.path("spec/x").display()));
    let pwd = fs::read_to_string(place.path("out/where")).unwrap();
    assert_eq!(Path::new(pwd.trim_end()), place.path("scratch").canonicalize().unwrap());
}

#[test]
fn the_environment_is_the_declared_one_and_nothing_else() {
    let place = Place::new();
    let mut command = output(shell("env | sort > ${outputs.env}"), "env", "env");
    command.env.insert("K".into(), Spanned::unplaced("v".into()));
    place.run(&command).unwrap();
    let env = fs::read_to_string(place.path("out/env")).unwrap();
    let names: Vec<&str> = env
        .lines()
        .map(|line| line.split('=').next().unwrap())
        .filter(|name| !["_", "PWD", "OLDPWD", "SHLVL"].contains(name))
        .collect();
    assert_eq!(names, ["HOME", "K", "LANG", "PATH", "TMPDIR"]);
    assert!(env.contains(&format!("HOME={}", place.path("scratch").display())), "{env}");
}

#[test]
fn a_failing_program_is_quoted_with_its_status_and_its_last_words() {
    let place = Place::new();
    let error = place.run(&shell("echo noise; echo 'no such tensor' >&2; exit 3")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`sh` exited with status 3; its last output:\n  | no such tensor"
    );
    assert_eq!(error.class(), FailureClass::Failed);
    assert_eq!(message(place.run(&shell("kill -9 $$"))), "`sh` was killed by signal 9");
}

#[test]
fn a_flood_of_output_neither_blocks_nor_grows_and_its_end_is_shown() {
    let place = Place::new();
    let error = message(place.run(&shell("yes | head -c 20000000; echo last; exit 1")));
    assert!(error.ends_with("  | last"), "{error}");
    assert!(error.len() < 16 * 1024, "{}", error.len());
}

#[test]
fn a_missing_program_is_unavailable_when_planning_and_when_running() {
    let place = Place::new();
    let missing = command(&["no-such-tool-at-all"]);
    let planned = missing.tools(&Probe(place.path("spec"))).unwrap_err();
    assert_eq!(planned.class(), FailureClass::Unavailable);
    let ran = place.run(&missing).unwrap_err();
    assert_eq!(ran.class(), FailureClass::Unavailable);
    assert_eq!(ran.to_string(), "program `no-such-tool-at-all` was not found in PATH");
    assert!(ran.help().unwrap().contains("; PATH is /"), "{:?}", ran.help());
    let relative = place.run(&command(&["./tool"])).unwrap_err();
    assert!(relative.to_string().contains("spec/./tool"), "{relative}");
    assert!(relative.help().unwrap().contains("relative to the spec's folder"));
}

#[test]
fn a_program_with_a_slash_is_relative_to_the_spec_and_its_content_is_a_tool() {
    let place = Place::new();
    let tool = place.path("spec/tool.sh");
    fs::write(&tool, "#!/bin/sh\necho made > $1\n").unwrap();
    let made = output(command(&["./tool.sh", "${outputs.y}"]), "y", "y");
    let refused = place.run(&made).unwrap_err();
    assert!(refused.to_string().contains("cannot be executed"), "{refused}");
    assert!(refused.help().unwrap().starts_with("make it executable: chmod +x"));
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    place.run(&made).unwrap();
    assert_eq!(fs::read_to_string(place.path("out/y")).unwrap(), "made\n");
    let probe = Probe(place.path("spec"));
    let before = made.tools(&probe).unwrap();
    fs::write(&tool, "#!/bin/sh\necho other > $1\n").unwrap();
    assert_ne!(made.tools(&probe).unwrap(), before);
    let sh = shell("true").tools(&probe).unwrap();
    assert_eq!(sh["program"].len(), 64);
}

#[test]
fn a_file_that_is_no_program_says_what_to_write() {
    let place = Place::new();
    let tool = place.path("spec/data.txt");
    fs::write(&tool, "just text").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let error = place.run(&command(&["./data.txt"])).unwrap_err();
    assert!(error.help().unwrap().contains("name the interpreter first"), "{error:?}");
}

#[test]
fn a_declared_output_that_is_not_made_is_named_with_what_is_there() {
    let place = Place::new();
    let error = place.run(&output(shell("echo bye"), "y", "y.txt")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`sh` did not make output `y`: there is nothing at `y.txt`; its last output:\n  | bye"
    );
    let link = output(shell("ln -s /etc/passwd ${outputs.y}"), "y", "y");
    assert!(message(place.run(&link)).contains("there is a symbolic link at `y`"));
}

#[test]
fn an_undeclared_file_is_refused_and_one_in_a_declared_folder_is_not() {
    let place = Place::new();
    let folder = output(shell("mkdir ${outputs.d}; touch ${outputs.d}/any"), "d", "d");
    place.run(&folder).unwrap();
    let place = Place::new();
    let stray = output(shell("touch ${outputs.y} ${outputs.y}.log"), "y", "sub/y");
    let error = place.run(&stray).unwrap_err();
    assert_eq!(error.to_string(), "`sh` made files that are not declared as outputs: `sub/y.log`");
}

#[test]
fn a_program_that_does_not_end_in_time_is_killed_with_its_children() {
    let place = Place::new();
    let marker = place.path("scratch/pid");
    let mut command = shell("sleep 600 & echo $! > $HOME/pid; wait");
    command.timeout_seconds = Some(Spanned::unplaced(0.2));
    let error = place.run(&command).unwrap_err();
    assert_eq!(error.to_string(), "`sh` did not end within 0.2 s and was killed");
    // The shell may be killed before it wrote; then there was no child to leave behind.
    if let Ok(pid) = fs::read_to_string(marker) {
        assert!(is_gone(pid.trim()), "the child {pid} is still running");
    }
}

#[test]
fn a_child_left_in_the_background_is_killed_and_not_waited_for() {
    let place = Place::new();
    let command = output(shell("sleep 600 & echo $! > ${outputs.pid}"), "pid", "pid");
    place.run(&command).unwrap();
    let pid = fs::read_to_string(place.path("out/pid")).unwrap();
    assert!(is_gone(pid.trim()), "the child {pid} is still running");
}

#[test]
fn cancelling_ends_a_program_that_is_running_and_starts_none_afterwards() {
    struct CancelWhenStarted(CancelToken, PathBuf);
    impl Progress for CancelWhenStarted {
        fn report(&self, _phase: &str, _done: u64, _total: Option<u64>) {
            let (token, fifo) = (self.0.clone(), self.1.clone());
            // Opening a FIFO to read returns when the program has opened it to write.
            std::thread::spawn(move || {
                fs::read(fifo).unwrap();
                token.cancel();
            });
        }
    }
    let place = Place::new();
    let fifo = place.path("spec/fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let script = format!("echo up > '{}'; sleep 600", fifo.display());
    let watcher = CancelWhenStarted(place.cancel.clone(), fifo);
    let error = place.run_watched(&shell(&script), &watcher).unwrap_err();
    assert_eq!(error.class(), FailureClass::Cancelled);
    let late = place.run(&output(shell("touch ${outputs.y}"), "y", "y")).unwrap_err();
    assert_eq!(late.class(), FailureClass::Cancelled);
    assert!(!place.path("out/y").exists());
}

/// Whether a process is dead (perhaps not yet reaped by init) within a second.
fn is_gone(pid: &str) -> bool {
    let stat = format!("/proc/{pid}/stat");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while std::time::Instant::now() < deadline {
        match fs::read_to_string(&stat) {
            Ok(stat) if !stat.contains(") Z") => std::thread::yield_now(),
            _ => return true,
        }
    }
    false
}

#[test]
fn every_mistake_in_the_settings_is_a_problem_of_its_own() {
    let mut command = output(shell("cat ${inputs.imput} ${outputs.z} ${HOME}"), "a", "../x");
    command.inputs.insert("input".into(), Spanned::unplaced(FileRef::Path("x".into())));
    let mut command = output(output(command, "b", "./f"), "c", "f");
    command = output(output(command, "d", "/abs"), "e", ".");
    command.env.insert("A=B".into(), Spanned::unplaced("${inputs.input}".into()));
    command.timeout_seconds = Some(Spanned::unplaced(-1.0));
    let problems = command.check(&CheckContext::default());
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| {
            format!("{}: {} | {:?}", problem.code, problem.message, problem.help.as_deref())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(
        super::Command { run: Spanned::default(), ..command }.check(&CheckContext::default())[0]
            .code,
        "command::empty_run"
    );
}

#[test]
fn settings_leave_out_what_cannot_change_the_result() {
    let mut command = shell("true");
    command.timeout_seconds = Some(Spanned::unplaced(5.0));
    command.deterministic = Spanned::unplaced(true);
    assert_eq!(command.settings(), serde_json::json!({ "run": ["sh", "-c", "true"] }));
    assert!(command.deterministic(&BTreeMap::new()));
}
