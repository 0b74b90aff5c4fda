//! Runs a plan: finds what is cached, runs the rest in parallel, tells everything as events.
//!
//! Owns order, cancellation, cache lookup and fill, and the lock file. Knows nothing of what any
//! stage does, nor of terminals.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::artifact::{Artifact, Digest, Scratch, StageHit, Store};
use crate::plan::{Plan, StageIndex};
use crate::process::CancelToken;
use crate::stage::StageError;

pub mod event;
mod expect;
pub mod lock_file;
mod locking;
mod outcome;
mod resolve;
mod scheduler;
mod work;

pub use event::{OutcomeKind, RunEvent};
pub use expect::{Expectation, Expected};
pub use locking::LockMismatch;
pub use outcome::{RunReport, StageOutcome};
pub use resolve::{ResolvedStage, Resolver, RootFile};

use outcome::Tools;
use scheduler::{Ended, Scheduler};
use work::{Message, with_cause};

/// Which cached results are not to be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Force {
    /// Use all of them.
    #[default]
    None,
    /// Run every stage again.
    All,
    /// Run these stages again.
    Stages(BTreeSet<StageIndex>),
}

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Stages that may run at the same time; one per core if not given.
    pub jobs: Option<NonZeroUsize>,
    /// Whether the first failure stops everything that has not started.
    pub fail_fast: bool,
    /// Which cached results are not to be used.
    pub force: Force,
    /// Whether results are held to the lock file.
    pub locked: bool,
    /// The stages to run, with everything they use; empty means all.
    pub only: Vec<StageIndex>,
    /// The folder that gets `<stage>` links to the artifacts.
    pub links: PathBuf,
}

/// Runs plans against one store.
pub struct Executor<'a> {
    plan: &'a Plan,
    store: &'a Store,
    options: RunOptions,
    cancel: CancelToken,
    wanted: Vec<bool>,
    resolver: Resolver<'a>,
    requests: Vec<Option<Digest>>,
    jobs: OnceLock<usize>,
    /// The lock file, where results are held to it.
    lock: OnceLock<Option<lock_file::LockFile>>,
    /// Scratch folders to be removed at the end.
    spent: Mutex<Vec<Scratch>>,
}

impl<'a> Executor<'a> {
    /// Reads the root inputs and gets ready.
    pub fn new(plan: &'a Plan, store: &'a Store, options: RunOptions, cancel: CancelToken) -> Self {
        let wanted = if options.only.is_empty() {
            vec![true; plan.stages().len()]
        } else {
            plan.with_ancestors(&options.only)
        };
        let resolver = Resolver::new(plan, store, &wanted);
        let requests = resolver.requests();
        let (jobs, lock) = (OnceLock::new(), OnceLock::new());
        let spent = Mutex::default();
        Self { plan, store, options, cancel, wanted, resolver, requests, jobs, lock, spent }
    }

    /// The stages that take part, in running order.
    pub fn order(&self) -> Vec<StageIndex> {
        self.plan.order().iter().copied().filter(|stage| self.wanted[*stage]).collect()
    }

    /// Every root file and folder of the stages that take part, as they were read for this run.
    pub fn root_files(&self) -> impl Iterator<Item = RootFile<'_>> {
        self.resolver.root_files()
    }

    /// Runs; `expected` is what [`Self::expect`] found before. The last event, which is
    /// [`RunReport::finished`], is left to the caller.
    pub fn run(
        &self,
        expected: Vec<Option<Expected>>,
        on_event: &mut dyn FnMut(&RunEvent),
    ) -> RunReport {
        let began = Instant::now();
        let order = self.order();
        let names = order.iter().map(|at| self.name(*at).to_owned()).collect();
        let pipeline = self.plan.spec().name.value.clone();
        on_event(&RunEvent::RunStarted { pipeline, stages: names });
        let done: Vec<OnceLock<Artifact>> = self.wanted.iter().map(|_| OnceLock::new()).collect();
        let mut outcomes: Vec<Option<StageOutcome>> = self.wanted.iter().map(|_| None).collect();
        let after: Vec<Vec<StageIndex>> =
            self.plan.stages().iter().map(|stage| stage.after.clone()).collect();
        let mut scheduler = Scheduler::new(&after, &order, self.options.fail_fast);
        let mut expected = expected;
        let (sender, receiver) = mpsc::channel::<Message>();
        std::thread::scope(|scope| {
            loop {
                // Counting the cores costs more than a run in which everything is cached.
                while (scheduler.running() == 0 || scheduler.running() < self.jobs())
                    && !self.cancel.is_cancelled()
                {
                    let Some(at) = scheduler.start_next() else { break };
                    let known = match expected.get_mut(at).and_then(Option::take) {
                        Some(Expected::Hit(hit, tools)) => Some(self.linked(at, *hit, tools)),
                        // Waiting as long once more tells nothing new.
                        Some(Expected::Unreadable(error)) if error.is_timeout() => {
                            Some(StageOutcome::failed(error, None, Duration::ZERO))
                        }
                        _ => None,
                    };
                    if let Some(outcome) = known {
                        self.settle(at, outcome, &mut scheduler, &mut outcomes, &done, on_event);
                        continue;
                    }
                    let (sender, done) = (sender.clone(), &done);
                    let worker = std::thread::Builder::new().name(self.name(at).to_owned());
                    let spawned = worker.spawn_scoped(scope, move || {
                        let outcome = self.stage(at, done, &sender);
                        // The receiver outlives the scope.
                        let _ = sender.send(Message::Ended(at, outcome));
                    });
                    if let Err(source) = spawned {
                        let doing = "start a thread for";
                        let error = StageError::Io { doing, path: self.name(at).into(), source };
                        let outcome = StageOutcome::failed(error, None, Duration::ZERO);
                        self.settle(at, outcome, &mut scheduler, &mut outcomes, done, on_event);
                    }
                }
                if scheduler.running() == 0 {
                    break;
                }
                match receiver.recv() {
                    Ok(Message::Event(event)) => on_event(&event),
                    Ok(Message::Ended(at, outcome)) => {
                        self.settle(at, outcome, &mut scheduler, &mut outcomes, &done, on_event);
                    }
                    Err(_) => break,
                }
            }
        });
        let interrupted = self.cancel.is_cancelled();
        for &at in &order {
            if outcomes[at].is_none() {
                let outcome = StageOutcome::ended(OutcomeKind::Cancelled);
                self.tell(at, &outcome, on_event);
                outcomes[at] = Some(outcome);
            }
        }
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Err(error) = self.store.flush() {
            tracing::warn!("{}", with_cause(&error));
        }
        let lock_error = if self.options.locked { None } else { self.update_lock(&outcomes).err() };
        RunReport { outcomes, took: began.elapsed(), interrupted, lock_error }
    }

    fn name(&self, at: StageIndex) -> &str {
        &self.plan.stages()[at].name.value
    }

    fn jobs(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let wanted = || self.options.jobs.map_or_else(cores, NonZeroUsize::get);
        *self.jobs.get_or_init(|| wanted().min(jobs_with_open_files()))
    }

    fn is_forced(&self, at: StageIndex) -> bool {
        match &self.options.force {
            Force::None => false,
            Force::All => true,
            Force::Stages(stages) => stages.contains(&at),
        }
    }

    /// A hit whose link is in place.
    fn linked(&self, at: StageIndex, hit: StageHit, tools: Tools) -> StageOutcome {
        self.link(at, &hit.artifact);
        StageOutcome::done(OutcomeKind::Cached, hit, tools, Duration::ZERO)
    }

    /// A missing link is an inconvenience, not a failure.
    fn link(&self, at: StageIndex, artifact: &Artifact) {
        if let Err(error) = self.store.link(&self.options.links, self.name(at), &artifact.digest) {
            tracing::warn!("{}", with_cause(&error));
        }
    }

    /// A stage that failed or was skipped has no artifact that fits the others any more: nobody
    /// shall take an older one for it. The report of a broken gate stays.
    fn unlink_if_stale(&self, at: StageIndex, outcome: &StageOutcome) {
        let is_stale = match outcome.kind {
            OutcomeKind::Failed => !matches!(outcome.error, Some(StageError::Gate(_))),
            OutcomeKind::Skipped => true,
            OutcomeKind::Cached | OutcomeKind::Built | OutcomeKind::Cancelled => false,
        };
        if is_stale && let Err(error) = self.store.unlink(&self.options.links, self.name(at)) {
            tracing::warn!("{}", with_cause(&error));
        }
    }

    /// Takes note of how a stage ended.
    fn settle(
        &self,
        at: StageIndex,
        outcome: StageOutcome,
        scheduler: &mut Scheduler,
        outcomes: &mut [Option<StageOutcome>],
        done: &[OnceLock<Artifact>],
        on_event: &mut dyn FnMut(&RunEvent),
    ) {
        self.tell(at, &outcome, on_event);
        if let Some(artifact) = outcome.artifact.clone().filter(|_| outcome.is_ok()) {
            let _ = done[at].set(artifact);
        }
        let ended = if outcome.is_ok() { Ended::Ok } else { Ended::Failed };
        self.unlink_if_stale(at, &outcome);
        outcomes[at] = Some(outcome);
        for skip in scheduler.finish(at, ended) {
            let mut outcome = StageOutcome::ended(if self.cancel.is_cancelled() {
                OutcomeKind::Cancelled
            } else {
                OutcomeKind::Skipped
            });
            outcome.because = Some(skip.because);
            self.unlink_if_stale(skip.stage, &outcome);
            self.tell(skip.stage, &outcome, on_event);
            outcomes[skip.stage] = Some(outcome);
        }
    }

    fn tell(&self, at: StageIndex, outcome: &StageOutcome, on_event: &mut dyn FnMut(&RunEvent)) {
        let reason = match (&outcome.error, outcome.because) {
            (Some(error), _) => Some(error.to_string()),
            (None, Some(because)) => Some(format!("`{}` did not succeed", self.name(because))),
            (None, None) => None,
        };
        on_event(&RunEvent::StageFinished {
            stage: self.name(at).to_owned(),
            outcome: outcome.kind,
            key: outcome.key.map(|key| key.to_string()),
            artifact: outcome.artifact.as_ref().map(|artifact| artifact.digest.to_string()),
            seconds: outcome.took.as_secs_f64(),
            reason,
        });
    }
}

/// How many stages can run at once with the files this process may open: more would fail.
fn jobs_with_open_files() -> usize {
    /// Standard streams, logs, the stat database and what opens files only for a moment.
    const SHARED: u64 = 20;
    /// A child's pipes and process descriptor, the key's lock and the folders being stored.
    const EACH: u64 = 12;
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let jobs = most.map_or(u64::MAX, |most| (most.saturating_sub(SHARED) / EACH).max(1));
    usize::try_from(jobs).unwrap_or(usize::MAX)
}
