//! [`Batcher`]: the queue of a model and the threads that work it off, one per execution context.
//!
//! Whoever submits locks the queue once; an idle thread forms a batch itself, so nothing stands
//! between them. Threads outlive the model until every request that was taken is answered.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::backend::BackendError;

use super::batch::{Ran, Runner};
use super::batch_former::{BatchFormer, Entry, Leaving, Rules, Step, Waiting};
use super::check::{Fit, Interface};
use super::context_pool::ContextPool;
use super::turnstile::Turnstile;
use super::{InferError, InferRequest, InferResponse, PhaseTimes, Statistics};

/// What a request comes to.
pub(super) type Answer = Result<InferResponse, InferError>;

/// A request that waits, and where its answer goes.
pub(super) struct Job {
    request: InferRequest,
    reply: oneshot::Sender<Answer>,
}

impl Waiting for Job {
    fn is_cancelled(&self) -> bool {
        self.reply.is_closed()
    }
}

/// A request that was taken. Dropping it before the answer cancels it.
pub struct Pending {
    /// `None` once the answer was taken.
    answer: Option<oneshot::Receiver<Answer>>,
    batcher: Arc<Batcher>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("model", &self.batcher.model).finish_non_exhaustive()
    }
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(Err(InferError::Cancelled)) };
        Pin::new(answer).poll(cx).map(|answer| {
            self.answer = None;
            answer.unwrap_or(Err(InferError::Cancelled))
        })
    }
}

impl Pending {
    /// Waits for the answer on this thread, which must not be one of an async runtime.
    pub fn wait(mut self) -> Answer {
        let answer = self.answer.take().and_then(|answer| answer.blocking_recv().ok());
        answer.unwrap_or(Err(InferError::Cancelled))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            drop(answer);
            self.batcher.gone.fetch_add(1, Ordering::Release);
        }
    }
}

struct State {
    former: BatchFormer<Job>,
    /// Threads that wait for something to do.
    idle: usize,
    /// When the one of them wakes that waits for a batch to be due.
    watched: Option<Instant>,
    is_closed: bool,
    /// Batches ever formed.
    batches: u64,
    /// Threads that have not left.
    workers: usize,
}

/// The queue of a model, and all that its threads share.
pub(super) struct Batcher {
    pub(super) model: String,
    pub(super) interface: Interface,
    pub(super) statistics: Statistics,
    pub(super) pool: ContextPool,
    limit: usize,
    /// How many threads there are to be.
    threads: u64,
    state: Mutex<State>,
    changed: Condvar,
    left: Condvar,
    depth: AtomicUsize,
    /// Requests whose callers went away since the queue was last searched for them.
    gone: AtomicUsize,
    /// Nanoseconds between two answers under load, smoothed; 0 for unknown.
    pace: AtomicU64,
    turnstile: Option<Turnstile>,
}

/// A request that was checked, as it comes to the queue.
pub(super) struct Submission {
    pub(super) request: InferRequest,
    pub(super) fit: Fit,
    pub(super) level: usize,
    pub(super) arrived: Instant,
    pub(super) deadline: Option<Instant>,
}

impl Batcher {
    pub(super) fn new(
        model: String,
        interface: Interface,
        statistics: Statistics,
        pool: ContextPool,
        rules: Rules,
    ) -> Self {
        let turnstile = rules.preserve_ordering.then(Turnstile::default);
        let limit = rules.limit;
        let state = State {
            former: BatchFormer::new(rules),
            idle: 0,
            watched: None,
            is_closed: false,
            batches: 0,
            workers: 0,
        };
        Self {
            model,
            interface,
            statistics,
            limit,
            threads: pool.contexts().max(1) as u64,
            pool,
            state: Mutex::new(state),
            changed: Condvar::new(),
            left: Condvar::new(),
            depth: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            pace: AtomicU64::new(0),
            turnstile,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that wait.
    pub(super) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// Takes a request, or refuses it at once.
    pub(super) fn submit(self: &Arc<Self>, submission: Submission) -> Result<Pending, InferError> {
        let Submission { request, fit, level, arrived, deadline } = submission;
        let (reply, answer) = oneshot::channel();
        let item = Job { request, reply };
        let entry =
            Entry { item, samples: fit.samples, shape: fit.shape, level, arrived, deadline };
        // Before a thread can answer it.
        self.statistics.taken();
        self.enqueue(entry).inspect_err(|_| self.statistics.ended())?;
        Ok(Pending { answer: Some(answer), batcher: Arc::clone(self) })
    }

    fn enqueue(&self, entry: Entry<Job>) -> Result<(), InferError> {
        let mut left = Leaving::default();
        let mut state = self.lock();
        if state.is_closed {
            let reason = "it is being unloaded".to_owned();
            return Err(InferError::NotReady { model: self.model.clone(), reason });
        }
        let pushed = state.former.push(entry).or_else(|entry| {
            // Those who need no answer any more make room.
            if self.gone.swap(0, Ordering::Acquire) > 0 || state.former.has_late(entry.arrived) {
                state.former.sweep(Instant::now(), &mut left);
            }
            state.former.push(entry)
        });
        self.depth.store(state.former.len(), Ordering::Relaxed);
        let is_urgent = pushed.as_ref().is_ok_and(|pushed| {
            pushed.is_due || state.watched.is_none_or(|watched| pushed.due < watched)
        });
        let is_awaited = is_urgent && state.idle > 0;
        drop(state);
        if is_awaited {
            self.changed.notify_one();
        }
        self.dismiss(&mut left);
        pushed.map(drop).map_err(|_| InferError::QueueFull {
            model: self.model.clone(),
            limit: self.limit,
            retry_after: self.retry_after(),
        })
    }

    /// How long the queue as it is takes.
    fn retry_after(&self) -> Duration {
        match self.pace.load(Ordering::Relaxed) {
            0 => Duration::from_secs(1),
            pace => Duration::from_nanos(pace.saturating_mul(self.limit as u64))
                .clamp(Duration::from_millis(1), Duration::from_mins(1)),
        }
    }

    /// Takes no more requests; threads leave when those that wait are answered.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.former.hurry();
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until every thread has left; `false` where some are still there at the deadline.
    pub(super) fn wait_until_left(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while state.workers > 0 {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            state = self.left.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// A thread that is about to start.
    pub(super) fn worker(self: &Arc<Self>) -> Worker {
        self.lock().workers += 1;
        Worker(Arc::clone(self))
    }

    /// Waits for a batch and gives its number; `None` where there will be no more.
    fn next(&self, leaving: &mut Leaving<Job>) -> Option<u64> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if self.gone.load(Ordering::Relaxed) > 0 && self.gone.swap(0, Ordering::Acquire) > 0 {
                state.former.sweep(now, leaving);
            }
            let step = state.former.poll(now, leaving);
            self.depth.store(state.former.len(), Ordering::Relaxed);
            if step == Step::Dispatch {
                let number = state.batches;
                state.batches += 1;
                let is_awaited = state.idle > 0 && state.former.len() > 0;
                drop(state);
                if is_awaited {
                    self.changed.notify_one();
                }
                self.dismiss(leaving);
                return Some(number);
            }
            if !(leaving.late.is_empty() && leaving.cancelled.is_empty()) {
                drop(state);
                self.dismiss(leaving);
                state = self.lock();
                continue;
            }
            if state.is_closed {
                return None;
            }
            state = self.rest(state, step, now);
        }
    }

    /// Waits for a change. One thread watches the clock for all.
    fn rest<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        step: Step,
        now: Instant,
    ) -> MutexGuard<'a, State> {
        state.idle += 1;
        let watch = match step {
            Step::WaitUntil(at) if state.watched.is_none_or(|watched| at < watched) => Some(at),
            _ => None,
        };
        state = match watch {
            Some(at) => {
                state.watched = watch;
                let rest = at.saturating_duration_since(now);
                let woken = self.changed.wait_timeout(state, rest);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
        state.idle -= 1;
        if watch.is_some() && state.watched == watch {
            state.watched = None;
        }
        state
    }

    /// Answers those who left without running.
    fn dismiss(&self, leaving: &mut Leaving<Job>) {
        for entry in leaving.late.drain(..) {
            let waited = entry.arrived.elapsed();
            self.fail(entry, &InferError::DeadlineExceeded { waited });
        }
        for entry in leaving.cancelled.drain(..) {
            self.fail(entry, &InferError::Cancelled);
        }
    }

    fn fail(&self, entry: Entry<Job>, error: &InferError) {
        self.statistics.failed(error.kind(), entry.arrived.elapsed());
        self.statistics.ended();
        // Nobody may wait for it any more.
        let _ = entry.item.reply.send(Err(error.clone()));
    }

    /// Runs a batch and answers it. Where it fails, each request runs again alone, so that none
    /// fails because of another.
    fn execute(&self, number: u64, batch: &mut Vec<Entry<Job>>) {
        let started = Instant::now();
        let outcomes = match self.run(batch) {
            Err(_) if batch.len() > 1 => {
                batch.iter().map(|entry| self.run(std::slice::from_ref(entry))).collect()
            }
            outcome => vec![outcome],
        };
        let requests = batch.len() as u64;
        let per_outcome = batch.len() / outcomes.len();
        let turn = self.turnstile.as_ref().map(|turnstile| turnstile.enter(number));
        let mut entries = batch.drain(..);
        for outcome in outcomes {
            let entries = entries.by_ref().take(per_outcome);
            match outcome {
                Ok(ran) => self.answer(entries, ran, started),
                Err(error) => entries.for_each(|entry| self.fail(entry, &error)),
            }
        }
        drop(turn);
        self.note_pace(started.elapsed(), requests);
    }

    fn run(&self, entries: &[Entry<Job>]) -> Result<Ran, InferError> {
        let requests: Vec<_> =
            entries.iter().map(|entry| (&entry.item.request, entry.samples)).collect();
        let samples = requests.iter().map(|(_, samples)| samples).sum();
        let attempt = || {
            let mut lease = self.pool.lease()?;
            let size = self.interface.max_batch.map_or(1, |most| lease.batch_for(samples, most));
            let runner = Runner { interface: &self.interface, size };
            lease.using(|context| runner.run(context, &requests))
        };
        let outcome = catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("nothing");
            Err(BackendError::Run { reason: format!("it panicked and said: {said}") })
        });
        Ok(outcome?)
    }

    fn answer(&self, entries: impl Iterator<Item = Entry<Job>>, ran: Ran, started: Instant) {
        let Ran { outputs, samples, times, copied } = ran;
        self.statistics.copied(copied.0, copied.1);
        self.statistics.executed(outputs.len() as u64, samples, &times);
        let now = Instant::now();
        for (entry, outputs) in entries.zip(outputs) {
            let queue = started.saturating_duration_since(entry.arrived);
            self.statistics.answered(queue, now.saturating_duration_since(entry.arrived));
            self.statistics.ended();
            let times = PhaseTimes { queue, ..times };
            // Nobody may wait for it any more.
            let _ = entry.item.reply.send(Ok(InferResponse { outputs, times, batch: samples }));
        }
    }

    /// Smooths the time between answers, as far as threads are busy.
    fn note_pace(&self, took: Duration, requests: u64) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let now = (took / requests.max(1) / self.threads).max(1);
        let before = self.pace.load(Ordering::Relaxed);
        let smooth = if before == 0 { now } else { before - before / 8 + now / 8 };
        self.pace.store(smooth, Ordering::Relaxed);
    }
}

/// A thread of a batcher, counted until it ends in whatever way.
pub(super) struct Worker(Arc<Batcher>);

impl Worker {
    /// Runs batches until the queue is closed and empty.
    pub(super) fn work(self) {
        let mut leaving = Leaving::default();
        while let Some(number) = self.0.next(&mut leaving) {
            self.0.execute(number, &mut leaving.batch);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.workers -= 1;
        let is_last = state.workers == 0;
        drop(state);
        if is_last {
            self.0.pool.clear();
            self.0.left.notify_all();
        }
    }
}
