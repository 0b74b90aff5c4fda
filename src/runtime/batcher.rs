//! [`Batcher`]: the queue of a model and the threads that work it off, one per execution context.
//!
//! Whoever submits locks the queue once; an idle thread forms a batch itself, so nothing stands
//! between them. Threads outlive the model until every request that was taken is answered.
//!
//! Where the batches of an engine on this processor are over sooner than a thread is woken, those
//! who wait for answers help: they form the batch and run it themselves.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::backend::BackendError;

use super::batch::{Ran, Runner};
use super::batch_former::{Entry, Leaving, Rules, Waiting};
use super::check::{Fit, Interface};
use super::context_pool::{ContextPool, Lease};
use super::pending::{Answer, Pending};
use super::queue::{Next, Queue, Refusal};
use super::reach::Reach;
use super::smoothed::Smoothed;
use super::turnstile::Turnstile;
use super::{InferError, InferRequest, InferResponse, PhaseTimes, Statistics};

/// Batches that take no longer are run by those who wait for them. Waking a thread and being woken
/// by it costs 10 to 50 µs, and a task of an async runtime may compute for about as long as this.
const SHORT: Duration = Duration::from_micros(100);

/// Most batches that one who waits runs: there may be many before its own.
const MOST_HELPED: usize = 4;

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

/// The queue of a model, and all that its threads share.
pub(super) struct Batcher {
    pub(super) model: String,
    pub(super) interface: Interface,
    pub(super) statistics: Statistics,
    pub(super) pool: ContextPool,
    pub(super) queue: Queue<Job>,
    /// Most requests that wait.
    limit: usize,
    /// How many threads there are to be.
    threads: u32,
    /// The time between two answers under load.
    pace: Smoothed,
    /// The bytes of input whose batches take no longer than [`SHORT`].
    pub(super) reach: Reach,
    /// Whether those who wait may run batches: nothing keeps them waiting there.
    is_open: bool,
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
        Self {
            model,
            interface,
            statistics,
            threads: u32::try_from(pool.contexts()).unwrap_or(u32::MAX).max(1),
            is_open: pool.is_on_host() && !rules.preserve_ordering,
            pool,
            limit: rules.limit,
            pace: Smoothed::default(),
            reach: Reach::new(SHORT),
            turnstile: rules.preserve_ordering.then(Turnstile::default),
            queue: Queue::new(rules),
        }
    }

    /// Why no request is taken: no device is left.
    pub(super) fn end(&self) -> Option<String> {
        let end = self.pool.end()?;
        Some(format!("no device is left to run it: {end}; start the server again"))
    }

    /// Takes a request, or refuses it at once. Who `helps` waits for the answer at once, and may
    /// have to run a batch for it.
    pub(super) fn submit(
        self: &Arc<Self>,
        submission: Submission,
        helps: bool,
    ) -> Result<Pending, InferError> {
        if let Some(reason) = self.end() {
            return Err(InferError::NotReady { model: self.model.clone(), reason });
        }
        let Submission { request, fit, level, arrived, deadline } = submission;
        let helps = helps && self.is_open && self.reach.holds(size(&request));
        let (reply, answer) = oneshot::channel();
        let item = Job { request, reply };
        let entry =
            Entry { item, samples: fit.samples, shape: fit.shape, level, arrived, deadline };
        // Before a thread can answer it.
        self.statistics.taken();
        let mut leaving = Leaving::default();
        let pushed = self.queue.push(entry, helps, &mut leaving);
        self.dismiss(&mut leaving);
        match pushed {
            Ok(is_left) => Ok(Pending::new(answer, Arc::clone(self), is_left)),
            Err(refusal) => {
                self.statistics.ended();
                Err(self.refused(&refusal))
            }
        }
    }

    fn refused(&self, refusal: &Refusal) -> InferError {
        match refusal {
            Refusal::Closed => self.closed(),
            Refusal::Full => InferError::QueueFull {
                model: self.model.clone(),
                limit: self.limit,
                retry_after: self.retry_after(),
            },
        }
    }

    /// Why nothing is taken any more.
    pub(super) fn closed(&self) -> InferError {
        let reason = "it is being unloaded".to_owned();
        InferError::NotReady { model: self.model.clone(), reason }
    }

    /// How long the queue as it is takes.
    fn retry_after(&self) -> Duration {
        let Some(pace) = self.pace.get() else { return Duration::from_secs(1) };
        let limit = u32::try_from(self.limit).unwrap_or(u32::MAX);
        pace.saturating_mul(limit).clamp(Duration::from_millis(1), Duration::from_mins(1))
    }

    /// One more that takes batches.
    pub(super) fn worker(self: &Arc<Self>) -> Worker {
        self.queue.worker_comes();
        Worker(Arc::clone(self))
    }

    /// One more that uses the contexts; `None` where the queue is closed.
    pub(super) fn worker_if_open(self: &Arc<Self>) -> Option<Worker> {
        self.queue.worker_comes_if_open().then(|| Worker(Arc::clone(self)))
    }

    /// Runs the batches that can go until `is_answered`; where no context is free for one, or it
    /// takes too many, a thread is called instead.
    pub(super) fn help(self: &Arc<Self>, mut is_answered: impl FnMut() -> bool) {
        let _at_work = self.worker();
        let mut leaving = Leaving::default();
        for _ in 0..MOST_HELPED {
            let Some(lease) = self.pool.try_lease() else { break };
            let next = self.queue.try_next(&mut leaving);
            self.dismiss(&mut leaving);
            let Some(number) = next else { break };
            if !self.reach.holds(self.batch_size(&leaving.batch)) {
                match self.queue.hand_over(number, std::mem::take(&mut leaving.batch)) {
                    Ok(()) => return,
                    Err(batch) => leaving.batch = batch,
                }
            }
            self.execute(number, &mut leaving.batch, Some(lease));
            if is_answered() {
                return;
            }
        }
        self.queue.call();
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

    /// Runs a batch and answers it, on a context that is leased already where there is one. Where
    /// its device is lost, it runs once more, on another one. Where it fails otherwise, each request
    /// runs again alone, so that none fails because of another.
    fn execute(&self, number: u64, batch: &mut Vec<Entry<Job>>, lease: Option<Lease<'_>>) {
        let started = Instant::now();
        let size = self.batch_size(batch);
        let mut first = self.run(batch, lease);
        let is_again = is_lost(&first);
        if is_again {
            self.dismiss_gone(batch);
            if !batch.is_empty() {
                first = self.run(batch, None);
            }
        }
        let outcomes = match first {
            Err(_) if batch.len() > 1 && !is_lost(&first) => {
                batch.iter().map(|entry| self.run_alone(entry, !is_again)).collect()
            }
            outcome => vec![outcome],
        };
        let requests = u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
        let ran_together = !is_again && matches!(&outcomes[..], [Ok(_)]);
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
        let took = started.elapsed();
        self.pace.note(took / requests / self.threads);
        if ran_together {
            self.reach.note(size, took);
        }
    }

    /// Answers those of a batch that need no answer of the engine any more.
    fn dismiss_gone(&self, batch: &mut Vec<Entry<Job>>) {
        let (now, mut leaving) = (Instant::now(), Leaving::default());
        for entry in batch.extract_if(.., |entry| entry.is_gone(now)) {
            leaving.dismiss(entry, now);
        }
        self.dismiss(&mut leaving);
    }

    /// Runs one request of a batch that failed; once more where its device is lost, if it `may`.
    fn run_alone(&self, entry: &Entry<Job>, may: bool) -> Result<Ran, InferError> {
        let alone = std::slice::from_ref(entry);
        let ran = self.run(alone, None);
        let now = Instant::now();
        if !(may && is_lost(&ran)) {
            return ran;
        }
        if entry.is_gone(now) {
            let waited = now.saturating_duration_since(entry.arrived);
            return Err(InferError::DeadlineExceeded { waited });
        }
        self.run(alone, None)
    }

    /// The bytes of a batch as it runs: where requests are padded, every sample has as many as the
    /// largest.
    fn batch_size(&self, entries: &[Entry<Job>]) -> usize {
        let sizes = entries.iter().map(|entry| (size(&entry.item.request), entry.samples.max(1)));
        if !self.interface.pad {
            return sizes.map(|(size, _)| size).sum();
        }
        let largest = sizes.clone().map(|(size, samples)| size.div_ceil(samples)).max();
        largest.unwrap_or(0).saturating_mul(sizes.map(|(_, samples)| samples).sum())
    }

    fn run(&self, entries: &[Entry<Job>], lease: Option<Lease<'_>>) -> Result<Ran, InferError> {
        let requests: Vec<_> =
            entries.iter().map(|entry| (&entry.item.request, entry.samples)).collect();
        let samples = requests.iter().map(|(_, samples)| samples).sum();
        let attempt = || {
            let mut lease = lease.map_or_else(|| self.pool.lease(), Ok)?;
            let size = self.interface.max_batch.map_or(1, |most| lease.batch_for(samples, most));
            let runner = Runner { interface: &self.interface, size };
            let ran = lease.using(|context| runner.run(context, &requests));
            ran.inspect(|_| lease.count_batch())
        };
        let outcome = catch_unwind(AssertUnwindSafe(attempt));
        Ok(outcome.unwrap_or_else(|panic| Err(panicked(&*panic)))?)
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
}

/// Whether a run failed with its device, or for want of one.
fn is_lost<T>(outcome: &Result<T, InferError>) -> bool {
    matches!(outcome, Err(InferError::Backend(BackendError::DeviceLost { .. })))
}

/// What a panic of an engine is to whoever asked for a run.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> BackendError {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("nothing");
    BackendError::Run { reason: format!("it panicked and said: {said}") }
}

/// The bytes of a request's inputs; never 0, as it takes its time even without.
fn size(request: &InferRequest) -> usize {
    1 + request.inputs.iter().map(|input| input.bytes.len()).sum::<usize>()
}

/// Who takes batches from a batcher, counted until it ends in whatever way.
pub(super) struct Worker(Arc<Batcher>);

impl Worker {
    /// Runs batches until the queue is closed and empty.
    pub(super) fn work(self) {
        let mut leaving = Leaving::default();
        loop {
            let next = self.0.queue.next(&mut leaving);
            self.0.dismiss(&mut leaving);
            match next {
                Next::Run(number) => self.0.execute(number, &mut leaving.batch, None),
                Next::Dismiss => {}
                Next::End => return,
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The last one unloads the engine.
        self.0.queue.worker_leaves(|| self.0.pool.clear());
    }
}
