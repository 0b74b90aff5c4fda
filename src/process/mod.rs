//! One child process with its group: started, watched, ended. And [`CancelToken`], which ends it;
//! and what this process takes.
//!
//! Owns signals, pipes and time limits. Knows nothing of specs. Everything happens on the
//! calling thread, in one `poll`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getppid, kill_process_group,
    pidfd_open, prlimit, set_parent_process_death_signal, waitid,
};

use capture::Capture;

mod cancel;
mod capture;
mod memory;

pub use cancel::{CancelGuard, CancelToken};
pub use memory::{give_back_freed, keep_freed, resident_bytes};

/// How long a group may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How often a child is looked at where the kernel has no process descriptors.
const WITHOUT_PIDFD: Duration = Duration::from_millis(10);
/// Reads per wake-up and stream, so that a flood does not hide a cancellation; also the bound of
/// what is still read from a pipe that a process outside the group holds open.
const READS_PER_WAKE: usize = 32;

/// What to run.
#[derive(Debug)]
pub struct Job<'a> {
    /// The program's file.
    pub program: &'a Path,
    /// Its arguments.
    pub args: &'a [OsString],
    /// All of its environment.
    pub env: &'a [(OsString, OsString)],
    /// The folder it runs in.
    pub folder: &'a Path,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// The most bytes of memory of its own that each of its processes may ask for.
    pub memory_limit: Option<u64>,
    /// Ends it early.
    pub cancel: &'a CancelToken,
}

/// Who gets the lines that a job writes, as they come; those that nobody gets go to the log.
#[derive(Default)]
pub struct Listeners<'a> {
    /// Gets those of standard output.
    pub stdout: Option<&'a mut dyn FnMut(&str)>,
    /// Gets those of standard error.
    pub stderr: Option<&'a mut dyn FnMut(&str)>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// Its time was over.
    TimedOut,
    /// It was told to.
    Cancelled,
}

/// How it ended and the last it wrote.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The end of standard error, or of standard output where that was silent.
    pub output: String,
}

/// A job that did not get as far as an ending.
#[derive(Debug)]
pub enum JobError {
    /// It could not be started.
    Start(io::Error),
    /// It could not be watched.
    Watch(io::Error),
}

/// The groups that live, for [`kill_all`].
static LIVE: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn live() -> MutexGuard<'static, BTreeSet<i32>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills every job of this process, with all that they started, for an end that waits for nothing.
pub fn kill_all() {
    for id in live().iter().filter_map(|&id| Pid::from_raw(id)) {
        signal(id, Signal::KILL);
    }
}

/// A child that leads its own process group. The group is dead and the child reaped when this
/// is gone.
struct Group {
    child: Child,
    id: Pid,
    guard: Option<CancelGuard>,
    status: Option<ExitStatus>,
}

impl Group {
    /// Kills what is left of the group, then reaps its leader. In this order, and with the cancel
    /// hook gone in between, the group's id cannot have passed to strangers.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        signal(self.id, Signal::KILL);
        self.guard = None;
        live().remove(&self.id.as_raw_nonzero().get());
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    /// Whether the leader has ended; it stays unreaped.
    fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.id), options)?.is_some())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "a child process could not be reaped");
        }
    }
}

/// Signals a group; one that is gone already is fine.
fn signal(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
}

/// From now on this process ends when the thread that started it does, however that ends: a parent
/// that is killed tells nobody. False where `parent`, the process that started this one, is gone
/// already.
#[must_use]
pub fn end_with_parent(parent: u32) -> bool {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        tracing::debug!("this process may outlive its parent: {error}");
    }
    // It may have ended before it was watched.
    getppid().is_some_and(|found| u32::try_from(found.as_raw_nonzero().get()) == Ok(parent))
}

/// Runs a job to its end. `on_line` gets each line of its standard output as it comes; without it
/// they go to the log.
pub fn run(job: &Job<'_>, on_line: Option<&mut dyn FnMut(&str)>) -> Result<Outcome, JobError> {
    run_heard(job, Listeners { stdout: on_line, stderr: None })
}

/// Runs a job to its end, and hands on what it writes meanwhile.
pub fn run_heard(job: &Job<'_>, listeners: Listeners<'_>) -> Result<Outcome, JobError> {
    let mut child = start(job).map_err(JobError::Start)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let id = Pid::from_child(&child);
    let mut group = Group { child, id, guard: None, status: None };
    live().insert(id.as_raw_nonzero().get());
    if let Some(bytes) = job.memory_limit {
        limit_memory(id, bytes).map_err(JobError::Watch)?;
    }
    let (wake_reader, wake_writer) = io::pipe().map_err(JobError::Watch)?;
    group.guard = Some(job.cancel.on_cancel(move || {
        signal(id, Signal::TERM);
        // One byte into an empty pipe; the watcher then sees to those that do not obey.
        let _ = io::Write::write(&mut &wake_writer, &[1]);
    }));
    let mut streams = Streams::new(stdout, stderr, listeners).map_err(JobError::Watch)?;
    let stopped =
        watch(&group, &wake_reader.into(), job.timeout, &mut streams).map_err(JobError::Watch)?;
    let status = group.end().map_err(JobError::Watch)?;
    streams.drain().map_err(JobError::Watch)?;
    let ending = match stopped {
        Some(ending) => ending,
        None if job.cancel.is_cancelled() => Ending::Cancelled,
        None => Ending::Exited(status),
    };
    Ok(Outcome { ending, output: streams.finish() })
}

/// From now on a process and those it starts get no more private memory each. It has hardly begun:
/// what it took before counts as well.
fn limit_memory(id: Pid, bytes: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    match prlimit(Some(id), Resource::Data, limit) {
        // It has ended already.
        Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn start(job: &Job<'_>) -> io::Result<Child> {
    let mut command = Command::new(job.program);
    command
        .args(job.args)
        .env_clear()
        .envs(job.env.iter().map(|(name, value)| (name, value)))
        .current_dir(job.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut attempts = 0;
    loop {
        match command.spawn() {
            // Another thread's child may, between fork and exec, still hold a descriptor with
            // which this program's file was just written.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts < 20 => {
                attempts += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

/// Waits for the leader's end, reading what it writes. Says why it was stopped, if it was.
fn watch(
    group: &Group,
    wake: &OwnedFd,
    timeout: Option<Duration>,
    streams: &mut Streams<'_>,
) -> io::Result<Option<Ending>> {
    let pidfd = pidfd_open(group.id, PidfdFlags::empty()).ok();
    let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
    let mut stopped = None;
    let mut kill_at = None;
    loop {
        let mut ready = [false; 4];
        let until = kill_at.or(if stopped.is_none() { deadline } else { None });
        let mut wait = until.map(|at: Instant| at.saturating_duration_since(Instant::now()));
        if pidfd.is_none() {
            wait = Some(wait.map_or(WITHOUT_PIDFD, |wait| wait.min(WITHOUT_PIDFD)));
        }
        {
            let wake = stopped.is_none().then_some(wake);
            let sources = [
                pidfd.as_ref().map(AsFd::as_fd),
                wake.map(AsFd::as_fd),
                streams.stdout.as_ref().map(AsFd::as_fd),
                streams.stderr.as_ref().map(AsFd::as_fd),
            ];
            let open: Vec<usize> = (0..4).filter(|&index| sources[index].is_some()).collect();
            let mut fds: Vec<PollFd<'_>> = sources
                .iter()
                .flatten()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
                .collect();
            // A wait too long to express is no limit.
            let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
            match poll(&mut fds, wait.as_ref()) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for (fd, index) in fds.iter().zip(open) {
                ready[index] = !fd.revents().is_empty();
            }
        }
        streams.read(ready[2], ready[3])?;
        let ended = if pidfd.is_some() { ready[0] } else { group.has_ended()? };
        if ended {
            return Ok(stopped);
        }
        let now = Instant::now();
        if stopped.is_none() {
            if ready[1] {
                stopped = Some(Ending::Cancelled);
            } else if deadline.is_some_and(|at| at <= now) {
                stopped = Some(Ending::TimedOut);
                signal(group.id, Signal::TERM);
            }
            kill_at = stopped.map(|_| now + GRACE);
        } else if kill_at.is_some_and(|at| at <= now) {
            signal(group.id, Signal::KILL);
            kill_at = None;
        }
    }
}

/// Both output streams while they are open, and what was kept of them.
struct Streams<'a> {
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
    out: Capture<'a>,
    err: Capture<'a>,
    buffer: Vec<u8>,
}

impl<'a> Streams<'a> {
    fn new(
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
        listeners: Listeners<'a>,
    ) -> io::Result<Self> {
        let stdout = stdout.map(|pipe| PipeReader::from(OwnedFd::from(pipe)));
        let stderr = stderr.map(|pipe| PipeReader::from(OwnedFd::from(pipe)));
        for pipe in [&stdout, &stderr].into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        let out = Capture::new("stdout", listeners.stdout);
        let err = Capture::new("stderr", listeners.stderr);
        Ok(Self { stdout, stderr, out, err, buffer: vec![0; 16 * 1024] })
    }

    /// Reads the streams that have something; one at its end is closed.
    fn read(&mut self, stdout: bool, stderr: bool) -> io::Result<()> {
        let streams =
            [(stdout, &mut self.stdout, &mut self.out), (stderr, &mut self.stderr, &mut self.err)];
        for (ready, pipe, capture) in streams {
            if let Some(reader) = pipe.as_mut().filter(|_| ready)
                && !capture.drain(reader, &mut self.buffer, READS_PER_WAKE)?
            {
                *pipe = None;
            }
        }
        Ok(())
    }

    /// Reads what is left without waiting for writers that live on outside the group.
    fn drain(&mut self) -> io::Result<()> {
        self.read(true, true)
    }

    /// The end of standard error, or of standard output where that was silent.
    fn finish(self) -> String {
        let (out, err) = (self.out.finish(), self.err.finish());
        if err.is_empty() { out } else { err }
    }
}

impl Outcome {
    /// `exited with status 3`, `was killed by signal 9`.
    pub fn describe(status: ExitStatus) -> String {
        match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with status {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => status.to_string(),
        }
    }
}
