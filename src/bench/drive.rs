//! Threads that run their contexts, back to back or when runs are due, and write down how long each
//! run took.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::{BackendError, ExecutionContext};
use crate::process::CancelToken;
use crate::progress::Progress;

use super::clocks::{self, ClockWatch};
use super::schedule::{Due, Queue, Schedule};
use super::{BenchError, Run};

/// What runs before that which counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warmup {
    /// So many runs.
    Runs(usize),
    /// As many as fit into so much time.
    Time(Duration),
}

/// How much to run.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Of each context, before those that count.
    pub warmup: Warmup,
    /// Each context stops after so many runs that count,
    pub runs: usize,
    /// or starts none after so much time, but, back to back, runs once at least.
    pub duration: Duration,
    /// When runs are due; without it, each context runs back to back.
    pub schedule: Option<Schedule>,
}

/// The runs that count.
#[derive(Debug)]
pub(super) struct Driven {
    /// By context, in the order of running.
    pub(super) runs: Vec<Vec<Run>>,
    /// About how many runs were due and had not begun when time was up.
    pub(super) unstarted: u64,
}

/// What the threads share.
struct Shared<'a> {
    load: Load,
    cancel: &'a CancelToken,
    /// Set where a context failed or panicked: the others stop, too.
    failed: AtomicBool,
    /// Locked until every context is warm; then holds the moment at which they start together.
    start: RwLock<Option<Instant>>,
    /// The runs that are still to come, in an open loop.
    queue: Option<Mutex<Queue>>,
}

/// Runs every context in a thread of its own; another one watches the clocks while runs count.
pub(super) fn drive(
    contexts: &mut [Box<dyn ExecutionContext>],
    load: Load,
    watches: &mut [ClockWatch],
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Driven, BenchError> {
    let queue = load.schedule.map(|schedule| Mutex::new(Queue::new(schedule, load.duration)));
    let (failed, start) = (AtomicBool::new(false), RwLock::new(None));
    let shared = Shared { load, cancel, failed, start, queue };
    progress.report("warming up", 0, None);
    let runs = thread::scope(|scope| {
        let mut start = shared.start.write().unwrap_or_else(PoisonError::into_inner);
        let (warm, all_warm) = mpsc::channel::<()>();
        let mut threads = Vec::with_capacity(contexts.len());
        let spawn_failed = |at: usize| move |source| BenchError::Thread { context: at, source };
        for (at, context) in contexts.iter_mut().enumerate() {
            let (shared, warm) = (&shared, warm.clone());
            let thread = thread::Builder::new()
                .name(format!("context-{at}"))
                .spawn_scoped(scope, move || shared.run(context.as_mut(), warm))
                .map_err(spawn_failed(at))?;
            threads.push(thread);
        }
        drop(warm);
        // Nothing is ever sent: this waits until every thread has let go of its sender.
        let _ = all_warm.recv();
        let (running, ended) = mpsc::channel::<()>();
        if !watches.is_empty() {
            thread::Builder::new()
                .name("clocks".to_owned())
                .spawn_scoped(scope, move || clocks::sample(watches, &ended))
                .map_err(spawn_failed(threads.len()))?;
        }
        progress.report("measuring", 0, None);
        *start = Some(Instant::now());
        drop(start);
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(runs) => Ok(runs?),
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All are joined before the first failure is told.
        let ended = ended.collect::<Vec<Result<_, BenchError>>>();
        drop(running);
        ended.into_iter().collect::<Result<Vec<_>, _>>()
    })?;
    let queue =
        shared.queue.map(|queue| queue.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(Driven { runs, unstarted: queue.map_or(0, |queue| queue.unstarted()) })
}

/// Sets the flag when it is dropped, by an error or by a panic.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Shared<'_> {
    fn is_over(&self) -> bool {
        self.cancel.is_cancelled() || self.failed.load(Ordering::Relaxed)
    }

    /// The loop of one context; whichever way it goes wrong, the others stop.
    fn run(
        &self,
        context: &mut dyn ExecutionContext,
        warm: Sender<()>,
    ) -> Result<Vec<Run>, BackendError> {
        let alarm = Alarm(&self.failed);
        let runs = self.warm_up_and_run(context, warm)?;
        std::mem::forget(alarm);
        Ok(runs)
    }

    fn warm_up_and_run(
        &self,
        context: &mut dyn ExecutionContext,
        warm: Sender<()>,
    ) -> Result<Vec<Run>, BackendError> {
        let (began, mut warm_runs) = (Instant::now(), 0);
        let is_cold = |runs: usize| match self.load.warmup {
            Warmup::Runs(enough) => runs < enough,
            Warmup::Time(enough) => began.elapsed() < enough,
        };
        while is_cold(warm_runs) && !self.is_over() {
            context.run()?;
            warm_runs += 1;
        }
        drop(warm);
        let start = *self.start.read().unwrap_or_else(PoisonError::into_inner);
        // There is no start where not every thread could be made.
        let Some(start) = start else { return Ok(Vec::new()) };
        let mut runs = Vec::with_capacity(self.load.runs.min(1 << 16));
        while runs.len() < self.load.runs && !self.is_over() {
            let Some(due) = self.next(start, runs.is_empty()) else { break };
            let started = Instant::now();
            let times = context.run()?;
            let took = started.elapsed();
            runs.push(Run {
                started: nanoseconds(started - start),
                took: nanoseconds(took),
                upload: nanoseconds(times.upload),
                compute: nanoseconds(times.compute),
                download: nanoseconds(times.download),
                late: nanoseconds(started.saturating_duration_since(due)),
            });
        }
        Ok(runs)
    }

    /// Waits until the next run is due; `None` where there is none any more.
    fn next(&self, start: Instant, is_first: bool) -> Option<Instant> {
        let Some(queue) = &self.queue else {
            let now = Instant::now();
            return (now - start < self.load.duration || is_first).then_some(now);
        };
        // Whoever waits for a run to be due keeps the queue: the others could only wait, too.
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match queue.next(start.elapsed()) {
                Due::Now(due) => return start.checked_add(due),
                Due::In(left) if !self.is_over() => wait(left),
                Due::In(_) | Due::Never => return None,
            }
        }
    }
}

/// How long a thread may be woken too late.
const SLACK: Duration = Duration::from_micros(150);

/// How often a thread that waits looks whether all is over.
const PATIENCE: Duration = Duration::from_millis(50);

/// Waits for so long, or for a while where that is long. The end is waited for awake: it would be
/// late otherwise.
fn wait(left: Duration) {
    let began = Instant::now();
    let left = left.min(PATIENCE);
    thread::sleep(left.saturating_sub(SLACK));
    while began.elapsed() < left {
        std::hint::spin_loop();
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
