//! Threads that run their contexts back to back and write down how long each run took.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::{BackendError, ExecutionContext};
use crate::process::CancelToken;
use crate::progress::Progress;

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
    /// or starts none after so much time, but runs once at least.
    pub duration: Duration,
}

/// What the threads share.
struct Shared<'a> {
    load: Load,
    cancel: &'a CancelToken,
    /// Set where a context failed or panicked: the others stop, too.
    failed: AtomicBool,
    /// Locked until every context is warm; then holds the moment at which they start together.
    start: RwLock<Option<Instant>>,
}

/// Runs every context in a thread of its own; gives the runs of each that count.
pub(super) fn drive(
    contexts: &mut [Box<dyn ExecutionContext>],
    load: Load,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Vec<Vec<Run>>, BenchError> {
    let shared = Shared { load, cancel, failed: AtomicBool::new(false), start: RwLock::new(None) };
    progress.report("warming up", 0, None);
    thread::scope(|scope| {
        let mut start = shared.start.write().unwrap_or_else(PoisonError::into_inner);
        let (warm, all_warm) = mpsc::channel::<()>();
        let mut threads = Vec::with_capacity(contexts.len());
        for (at, context) in contexts.iter_mut().enumerate() {
            let (shared, warm) = (&shared, warm.clone());
            let thread = thread::Builder::new()
                .name(format!("context-{at}"))
                .spawn_scoped(scope, move || shared.run(context.as_mut(), warm))
                .map_err(|source| BenchError::Thread { context: at, source })?;
            threads.push(thread);
        }
        drop(warm);
        // Nothing is ever sent: this waits until every thread has let go of its sender.
        let _ = all_warm.recv();
        progress.report("measuring", 0, None);
        *start = Some(Instant::now());
        drop(start);
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(runs) => Ok(runs?),
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All are joined before the first failure is told.
        ended.collect::<Vec<Result<_, BenchError>>>().into_iter().collect()
    })
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
            let started = Instant::now();
            if started - start >= self.load.duration && !runs.is_empty() {
                break;
            }
            let times = context.run()?;
            let took = started.elapsed();
            runs.push(Run {
                started: nanoseconds(started - start),
                took: nanoseconds(took),
                upload: nanoseconds(times.upload),
                compute: nanoseconds(times.compute),
                download: nanoseconds(times.download),
            });
        }
        Ok(runs)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
