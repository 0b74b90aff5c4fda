//! Callers that make request after request at a [`Pace`], until time, count or patience end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bench::BenchError;

use super::check::{Expected, Oracle};
use super::dump::Dump;
use super::pace::{Arrivals, Clock, Pace};
use super::record::{Class, Ending, Note, Recorder};
use super::samples::Samples;
use super::target::{Caller, Made, Request, Target};

/// How long a caller that found nobody waits before it tries again.
const BEFORE_THE_NEXT_TRY: Duration = Duration::from_millis(10);

/// A request with what its answer should be.
pub(super) struct Prepared {
    request: Request,
    expected: Option<Expected>,
}

/// What requests are made of, for as long as a target is measured.
pub(super) struct Source {
    pub(super) target: Target,
    pub(super) samples: Samples,
    pub(super) oracle: Option<Mutex<Oracle>>,
    /// Those that are sent again and again.
    pool: Vec<Arc<Prepared>>,
    /// The number of the next request.
    next: AtomicU64,
}

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// After so many requests,
    pub requests: Option<u64>,
    /// or when so much time is over.
    pub duration: Duration,
}

/// One measurement under way.
struct Run {
    source: Arc<Source>,
    limits: Limits,
    stop: CancellationToken,
    start: Instant,
    made: AtomicU64,
    open: Option<tokio::sync::Mutex<Open>>,
    recorder: Mutex<Recorder>,
    dump: Option<Arc<Mutex<Dump>>>,
    failed: OnceLock<BenchError>,
}

/// The schedule of an open loop: whoever holds it waits for the next arrival.
struct Open {
    arrivals: Arrivals,
    clock: Clock,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    pub(super) fn new(
        target: Target,
        samples: Samples,
        oracle: Option<Oracle>,
    ) -> Result<Self, BenchError> {
        if let Some(oracle) = &oracle {
            oracle.check_inputs(target.inputs())?;
        }
        let oracle = oracle.map(Mutex::new);
        let mut source = Self { target, samples, oracle, pool: Vec::new(), next: 0.into() };
        for request in 0..source.samples.pool().unwrap_or(0) {
            source.pool.push(Arc::new(source.prepare(request as u64)?));
        }
        Ok(source)
    }

    fn prepare(&self, number: u64) -> Result<Prepared, BenchError> {
        let tensors = self.samples.tensors(number)?;
        let expected = match &self.oracle {
            Some(oracle) => Some(locked(oracle).expect(self.target.inputs(), &tensors)?),
            None => None,
        };
        Ok(Prepared { request: self.target.request(&tensors)?, expected })
    }

    fn next(&self) -> Result<(u64, Arc<Prepared>), BenchError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at =
            usize::try_from(number).ok().and_then(|number| number.checked_rem(self.pool.len()));
        match at {
            Some(at) => Ok((number, Arc::clone(&self.pool[at]))),
            None => Ok((number, Arc::new(self.prepare(number)?))),
        }
    }

    async fn make(&self, caller: &mut Caller, prepared: &Prepared) -> Made {
        let sent = Instant::now();
        let exchange = self.target.call(caller, &prepared.request).await;
        Made { sent, ended: Instant::now(), exchange }
    }
}

/// What came of a measurement.
pub(super) struct Driven {
    pub(super) recorder: Recorder,
    pub(super) callers: Vec<Caller>,
}

/// Makes requests at a pace until the limits or `stop` end it.
pub(super) async fn drive(
    source: &Arc<Source>,
    callers: Vec<Caller>,
    pace: Pace,
    limits: Limits,
    dump: Option<Arc<Mutex<Dump>>>,
    stop: &CancellationToken,
) -> Result<Driven, BenchError> {
    let open = match pace {
        Pace::Closed { .. } => None,
        Pace::Open { rate, gaps, seed, .. } => {
            let clock = Clock::new().map_err(|source| BenchError::Clock { source })?;
            let arrivals = Arrivals::new(rate, gaps, seed);
            Some(tokio::sync::Mutex::new(Open { arrivals, clock }))
        }
    };
    let run = Arc::new(Run {
        source: Arc::clone(source),
        limits,
        stop: stop.child_token(),
        start: Instant::now(),
        made: AtomicU64::new(0),
        open,
        recorder: Mutex::default(),
        dump,
        failed: OnceLock::new(),
    });
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(work(Arc::clone(&run), caller));
    }
    let mut callers = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(caller) => callers.push(caller),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    let Some(run) = Arc::into_inner(run) else { unreachable!("all callers have ended") };
    match run.failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(Driven {
            recorder: run.recorder.into_inner().unwrap_or_else(PoisonError::into_inner),
            callers,
        }),
    }
}

/// One caller: waits until a request is due, makes it, writes down what came of it.
async fn work(run: Arc<Run>, mut caller: Caller) -> Caller {
    loop {
        match run.turn(&mut caller).await {
            Ok(true) => {}
            Ok(false) => return caller,
            Err(error) => {
                // The first is told.
                let _ = run.failed.set(error);
                run.stop.cancel();
                return caller;
            }
        }
    }
}

impl Run {
    async fn turn(&self, caller: &mut Caller) -> Result<bool, BenchError> {
        let Some(due) = self.due().await? else { return Ok(false) };
        let (number, prepared) = self.source.next()?;
        let made = tokio::select! {
            biased;
            made = self.source.make(caller, &prepared) => made,
            () = self.stop.cancelled() => return Ok(false),
        };
        let Made { sent, ended, exchange } = made;
        if let (Some(oracle), Some(expected), Some(answer)) =
            (&self.source.oracle, &prepared.expected, &exchange.answer)
        {
            match self.source.target.outputs(answer) {
                Ok((version, outputs)) => {
                    locked(oracle).look(number, expected, version.as_deref(), &outputs);
                }
                Err(error) => locked(oracle).unreadable(number, &error.0),
            }
        }
        let due = due.unwrap_or(sent);
        let (ending, parts) = (exchange.ending, exchange.parts);
        let note = Note { due, sent, ended, ending, said: &exchange.said, parts };
        locked(&self.recorder).note(self.start, &note);
        if let Some(dump) = &self.dump {
            locked(dump).write(self.start, &note);
        }
        if ending == Ending::Connect {
            tokio::time::sleep(BEFORE_THE_NEXT_TRY).await;
        }
        Ok(true)
    }

    /// Waits until a request may be made: `None` where there is none any more, else the moment at
    /// which an open loop wanted it.
    async fn due(&self) -> Result<Option<Option<Instant>>, BenchError> {
        let Some(open) = &self.open else {
            let over = self.stop.is_cancelled() || self.start.elapsed() >= self.limits.duration;
            return Ok((!over && self.count()).then_some(None));
        };
        let mut open = tokio::select! {
            open = open.lock() => open,
            () = self.stop.cancelled() => return Ok(None),
        };
        let due = open.arrivals.next().filter(|due| *due < self.limits.duration);
        let Some(due) = due.filter(|_| !self.stop.is_cancelled() && self.count()) else {
            return Ok(None);
        };
        let moment = self.start + due;
        let waited = tokio::select! {
            waited = open.clock.until(moment) => waited,
            () = self.stop.cancelled() => return Ok(None),
        };
        waited.map_err(|source| BenchError::Clock { source })?;
        if self.start.elapsed() < self.limits.duration {
            return Ok(Some(Some(moment)));
        }
        // All callers were busy until the end.
        let late = open.arrivals.by_ref().take_while(|due| *due < self.limits.duration).count();
        locked(&self.recorder).unsent += 1 + late as u64;
        Ok(None)
    }

    /// Whether one more request may be made, which counts as made then.
    fn count(&self) -> bool {
        let most = self.limits.requests.unwrap_or(u64::MAX);
        self.made.fetch_add(1, Ordering::Relaxed) < most
    }
}

impl Recorder {
    /// Whether nobody answered anything.
    pub(super) fn is_silent(&self) -> bool {
        self.count(Class::Answered) + self.count(Class::Refused) + self.count(Class::Failed) == 0
    }
}
