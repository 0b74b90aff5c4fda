//! Requests made at a chosen pace: [`Session`].
//!
//! Owns schedules, callers, the arithmetic of latencies, and the check of answers. Knows nothing of
//! what a protocol looks like.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::process::{CancelGuard, CancelToken};
use crate::progress::Progress;

use super::BenchError;
use super::drive::Warmup;
use super::endpoint::{Counters, Description, Endpoint, EndpointOptions};
use super::engine_loop::EngineLoop;
use super::overhead::Rounds;

mod check;
mod drive;
mod dump;
mod latencies;
mod pace;
mod record;
mod report;
mod samples;
mod target;
#[cfg(test)]
mod tests;

pub use check::{CheckReport, Oracle};
pub use drive::Limits;
pub use dump::Dump;
pub use latencies::Percentiles;
pub(super) use pace::Arrivals;
pub use pace::{Gaps, Pace};
pub use record::Count;
pub use report::{LevelReport, PaceReport, Part, PhaseReport, ServerReport};
pub use samples::{SampleChoice, Samples};
pub use target::Target;

use drive::{Driven, Source, drive};
use record::Recorder;
use report::{Beside, per_second};
use target::Caller;

/// The threads that make requests, and the flag that ends them.
pub struct Client {
    runtime: Runtime,
    stop: CancellationToken,
    cancel: CancelToken,
    _hook: CancelGuard,
}

impl Client {
    /// One thread is enough for some ten thousand small requests a second.
    pub fn new(threads: NonZeroUsize, cancel: &CancelToken) -> Result<Self, BenchError> {
        let mut builder = match threads.get() {
            1 => Builder::new_current_thread(),
            more => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(more);
                builder
            }
        };
        let runtime = builder.enable_all().thread_name("client").build();
        let runtime = runtime.map_err(|source| BenchError::Thread { context: 0, source })?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let hook = cancel.on_cancel(move || stopped.cancel());
        Ok(Self { runtime, stop, cancel: cancel.clone(), _hook: hook })
    }

    /// Asks an endpoint who it is, and makes it a target.
    pub fn endpoint(
        &self,
        options: EndpointOptions,
        connections: Option<NonZeroUsize>,
    ) -> Result<(Target, Description), BenchError> {
        let mut endpoint = Box::new(Endpoint::new(options)?);
        let described = self.runtime.block_on(async {
            tokio::select! {
                described = endpoint.describe() => Some(described),
                () = self.stop.cancelled() => None,
            }
        });
        let description = described.ok_or(BenchError::Interrupted)??;
        let inputs = description.inputs.clone();
        let connections = connections.map(NonZeroUsize::get);
        Ok((Target::Endpoint { endpoint, inputs, connections }, description))
    }
}

/// A target that is measured at one pace after the other.
pub struct Session {
    client: Client,
    source: Arc<Source>,
    dump: Option<Arc<Mutex<Dump>>>,
}

/// What to measure at one pace.
#[derive(Debug, Clone, Copy)]
pub struct Level {
    /// When requests are made.
    pub pace: Pace,
    /// Before those that count: of each caller in a closed loop, altogether in an open one.
    pub warmup: Warmup,
    /// When a round ends.
    pub limits: Limits,
    /// How often.
    pub rounds: NonZeroUsize,
    /// How far apart the requests of each caller should be, to correct for those not made.
    pub expected_interval: Option<Duration>,
}

impl Session {
    /// Makes the requests that are sent again and again, and runs the oracle on them.
    pub fn new(
        client: Client,
        target: Target,
        samples: Samples,
        oracle: Option<Oracle>,
        dump: Option<Dump>,
    ) -> Result<Self, BenchError> {
        let source = Arc::new(Source::new(target, samples, oracle)?);
        Ok(Self { client, source, dump: dump.map(|dump| Arc::new(Mutex::new(dump))) })
    }

    /// Warms up, then measures at one pace; with an engine, round by round in turns.
    pub fn measure(
        &mut self,
        level: &Level,
        mut engine: Option<&mut EngineLoop>,
        progress: &dyn Progress,
    ) -> Result<LevelReport, BenchError> {
        let Self { client, source, dump } = self;
        if let Some(dump) = dump {
            dump.lock().unwrap_or_else(PoisonError::into_inner).next_level();
        }
        progress.report("warming up", 0, None);
        let mut callers = client.warm(source, level)?;
        let (mut recorder, mut server) = (Recorder::default(), Counters::default());
        let (mut counted, mut rounds) = (true, Rounds::default());
        let samples = source.samples.per_request();
        progress.report("measuring", 0, None);
        while rounds.count() < level.rounds.get() && !client.cancel.is_cancelled() {
            let before = client.counters(source);
            let ended = client.run(source, callers, level.pace, level.limits, dump.clone())?;
            let after = client.counters(source);
            match (before, after) {
                (Some(before), Some(after)) => server.add(&after.since(&before)),
                _ => counted = false,
            }
            callers = ended.callers;
            let round = &ended.recorder;
            if round.is_silent() {
                break;
            }
            recorder.add(round);
            let engine_ran = engine
                .as_deref_mut()
                .map(|engine| engine.round(level.limits.duration, &client.cancel));
            let answered = round.count(record::Class::Answered);
            let rate = per_second(answered, round.time.as_secs_f64());
            rounds.add(round.service.percentiles(), rate, samples, engine_ran.transpose()?);
        }
        if recorder.is_silent() {
            return Err(BenchError::Interrupted);
        }
        let check = source
            .oracle
            .as_ref()
            .map(|oracle| oracle.lock().unwrap_or_else(PoisonError::into_inner).take_report());
        let beside = Beside {
            rounds: rounds.count(),
            samples,
            expected_interval: level.expected_interval,
            server: counted.then_some(server),
            check,
            overhead: engine.and_then(|engine| rounds.overhead(engine)),
            interrupted: client.cancel.is_cancelled(),
        };
        Ok(LevelReport::new(level.pace, &recorder, beside))
    }

    /// The requests that are made.
    pub fn samples(&self) -> &Samples {
        &self.source.samples
    }

    /// Writes what is left of the dump.
    pub fn finish(self) -> Result<(), BenchError> {
        let Some(dump) = self.dump else { return Ok(()) };
        let mut dump = dump.lock().unwrap_or_else(PoisonError::into_inner);
        dump.finish().map_err(|(path, source)| BenchError::Write { path, source })
    }
}

impl Client {
    /// As many callers as the pace needs, warm.
    fn warm(&self, source: &Arc<Source>, level: &Level) -> Result<Vec<Caller>, BenchError> {
        let concurrency = level.pace.concurrency();
        let callers = self.runtime.block_on(async {
            tokio::select! {
                callers = source.target.callers(concurrency.get()) => Some(callers),
                () = self.stop.cancelled() => None,
            }
        });
        let callers = callers.ok_or(BenchError::Interrupted)??;
        let each = match level.pace {
            Pace::Closed { .. } => concurrency.get(),
            Pace::Open { .. } => 1,
        };
        let (requests, duration) = match level.warmup {
            Warmup::Runs(0) => return Ok(callers),
            Warmup::Runs(runs) => (Some(runs.saturating_mul(each) as u64), Duration::MAX),
            Warmup::Time(duration) => (None, duration),
        };
        let limits = Limits { requests, duration };
        Ok(self.run(source, callers, Pace::Closed { concurrency }, limits, None)?.callers)
    }

    fn run(
        &self,
        source: &Arc<Source>,
        callers: Vec<Caller>,
        pace: Pace,
        limits: Limits,
        dump: Option<Arc<Mutex<Dump>>>,
    ) -> Result<Driven, BenchError> {
        self.runtime.block_on(drive(source, callers, pace, limits, dump, &self.stop))
    }

    /// What the target counted so far; `None` where it does not say, or is gone.
    fn counters(&self, source: &Source) -> Option<Counters> {
        let Target::Endpoint { endpoint, .. } = &source.target else { return None };
        if self.cancel.is_cancelled() {
            return None;
        }
        self.runtime.block_on(endpoint.counters()).unwrap_or_else(|error| {
            tracing::warn!("what the server counted is not known: {error}");
            None
        })
    }
}
