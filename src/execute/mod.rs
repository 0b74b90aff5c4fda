//! Runs a plan: finds what is cached, runs the rest in parallel, tells everything as events.
//!
//! Owns order, cancellation, cache lookup and fill, and the lock file. Knows nothing of what any
//! stage does, nor of terminals.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::artifact::{Artifact, Digest, Lookup, StageHit, StageResult, Store, StoreError};
use crate::plan::{Plan, StageIndex};
use crate::stage::{CancelToken, FailureClass, Progress, StageContext, StageError};

pub mod event;
mod expect;
pub mod lock_file;
mod locking;
mod resolve;
mod scheduler;

pub use event::{OutcomeKind, RunEvent};
pub use expect::{Expectation, Expected};
pub use locking::LockMismatch;
pub use resolve::{ResolvedStage, Resolver};

use scheduler::{Ended, Scheduler};

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

/// How a stage ended.
#[derive(Debug)]
pub struct StageOutcome {
    /// How.
    pub kind: OutcomeKind,
    /// Its cache key, if it came that far.
    pub key: Option<Digest>,
    /// What it made.
    pub artifact: Option<Artifact>,
    /// Wall time.
    pub took: Duration,
    /// Why it failed.
    pub error: Option<StageError>,
    /// The stage whose failure made this one be skipped.
    pub because: Option<StageIndex>,
    /// Tools that entered the key.
    tools: Tools,
}

/// Facts about tools, by name.
type Tools = BTreeMap<String, String>;

impl StageOutcome {
    fn ended(kind: OutcomeKind) -> Self {
        Self {
            kind,
            key: None,
            artifact: None,
            took: Duration::ZERO,
            error: None,
            because: None,
            tools: Tools::new(),
        }
    }

    fn failed(error: StageError, key: Option<Digest>, took: Duration) -> Self {
        let kind = match error.class() {
            FailureClass::Cancelled => OutcomeKind::Cancelled,
            _ => OutcomeKind::Failed,
        };
        Self { key, took, error: Some(error), ..Self::ended(kind) }
    }

    fn done(kind: OutcomeKind, hit: StageHit, tools: Tools, took: Duration) -> Self {
        let (key, artifact) = (Some(hit.key), Some(hit.artifact));
        Self { key, artifact, took, tools, ..Self::ended(kind) }
    }

    fn is_ok(&self) -> bool {
        matches!(self.kind, OutcomeKind::Cached | OutcomeKind::Built)
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct RunReport {
    /// By stage index; `None` for stages that did not take part.
    pub outcomes: Vec<Option<StageOutcome>>,
    /// Wall time.
    pub took: Duration,
    /// Whether the run was told to stop.
    pub interrupted: bool,
    /// Why the lock file was not updated, where that failed.
    pub lock_error: Option<lock_file::LockFileError>,
}

impl RunReport {
    /// How many stages ended this way.
    pub fn count(&self, kind: OutcomeKind) -> usize {
        self.outcomes.iter().flatten().filter(|outcome| outcome.kind == kind).count()
    }

    /// The process's exit status: 130 interrupted, 1 a stage failed, 3 something is not
    /// available here, 4 a gate failed, 0 otherwise; the first of these that applies.
    pub fn exit(&self) -> u8 {
        let classes: Vec<FailureClass> = self
            .outcomes
            .iter()
            .flatten()
            .filter_map(|outcome| outcome.error.as_ref().map(StageError::class))
            .collect();
        if self.interrupted {
            130
        } else if classes.contains(&FailureClass::Failed) || self.lock_error.is_some() {
            1
        } else if classes.contains(&FailureClass::Unavailable) {
            3
        } else if classes.contains(&FailureClass::Gate) {
            4
        } else {
            0
        }
    }
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
}

/// What a worker sends to the coordinating thread.
enum Message {
    Event(RunEvent),
    Ended(StageIndex, StageOutcome),
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
        let jobs = OnceLock::new();
        Self { plan, store, options, cancel, wanted, resolver, requests, jobs }
    }

    /// The stages that take part, in running order.
    pub fn order(&self) -> Vec<StageIndex> {
        self.plan.order().iter().copied().filter(|stage| self.wanted[*stage]).collect()
    }

    /// Runs; `expected` is what [`Self::expect`] found before.
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
                    let hit = expected.get_mut(at).and_then(Option::take);
                    if let Some(Expected::Hit(hit, tools)) = hit {
                        let outcome = self.linked(at, *hit, tools);
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
        if let Err(error) = self.store.flush() {
            tracing::warn!("{}", with_cause(&error));
        }
        let lock_error = if self.options.locked { None } else { self.update_lock(&outcomes).err() };
        let report = RunReport { outcomes, took: began.elapsed(), interrupted, lock_error };
        on_event(&RunEvent::RunFinished {
            cached: report.count(OutcomeKind::Cached),
            built: report.count(OutcomeKind::Built),
            failed: report.count(OutcomeKind::Failed),
            skipped: report.count(OutcomeKind::Skipped),
            cancelled: report.count(OutcomeKind::Cancelled),
            seconds: report.took.as_secs_f64(),
            exit: report.exit(),
        });
        report
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
        outcomes[at] = Some(outcome);
        for skip in scheduler.finish(at, ended) {
            let mut outcome = StageOutcome::ended(if self.cancel.is_cancelled() {
                OutcomeKind::Cancelled
            } else {
                OutcomeKind::Skipped
            });
            outcome.because = Some(skip.because);
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

    /// One stage, on its own thread: key, lookup, work, commit.
    fn stage(
        &self,
        at: StageIndex,
        done: &[OnceLock<Artifact>],
        sender: &mpsc::Sender<Message>,
    ) -> StageOutcome {
        let began = Instant::now();
        let artifacts = |stage: StageIndex| done[stage].get().cloned();
        let resolved =
            match self.resolver.resolve(at, &artifacts, &self.requests, &self.resolver.probe()) {
                Ok(resolved) => resolved,
                Err(error) => return StageOutcome::failed(error, None, began.elapsed()),
            };
        let (key, tools) = (resolved.key, resolved.fingerprint.tools.clone());
        match self.find_or_make(at, resolved, done, sender) {
            Ok((kind, hit)) => {
                self.link(at, &hit.artifact);
                StageOutcome::done(kind, hit, tools, began.elapsed())
            }
            Err(error) => StageOutcome::failed(error, Some(key), began.elapsed()),
        }
    }

    fn find_or_make(
        &self,
        at: StageIndex,
        resolved: ResolvedStage,
        done: &[OnceLock<Artifact>],
        sender: &mpsc::Sender<Message>,
    ) -> Result<(OutcomeKind, StageHit), StageError> {
        let key = resolved.key;
        if let Some(result) = self.cached(at, &key) {
            return Ok((OutcomeKind::Cached, result));
        }
        let cancelled = || self.cancel.is_cancelled();
        let _lock = self.store.lock_key(&key, &cancelled)?;
        // Another run may have made it while this one waited for the lock.
        if let Some(result) = self.cached(at, &key) {
            return Ok((OutcomeKind::Cached, result));
        }
        let _ = sender.send(Message::Event(RunEvent::StageStarted { stage: self.name(at).into() }));
        for input in &self.plan.stages()[at].inputs {
            if let Some(artifact) = input.from.stage().and_then(|stage| done[stage].get()) {
                self.store.verify_bytes(artifact)?;
            }
        }
        self.make(at, resolved, sender).map(|result| (OutcomeKind::Built, result.into()))
    }

    fn cached(&self, at: StageIndex, key: &Digest) -> Option<StageHit> {
        if self.is_forced(at) {
            return None;
        }
        match self.store.lookup(key) {
            Lookup::Hit(result) => Some(*result),
            Lookup::Miss => None,
            Lookup::Damaged { reason } => {
                tracing::warn!(
                    "{}: the cached result is damaged and not used: {reason}",
                    self.name(at)
                );
                None
            }
        }
    }

    fn make(
        &self,
        at: StageIndex,
        resolved: ResolvedStage,
        sender: &mpsc::Sender<Message>,
    ) -> Result<StageResult, StageError> {
        let began = Instant::now();
        let planned = &self.plan.stages()[at];
        let scratch = self.store.scratch()?;
        let (out, work) = (scratch.path().join("out"), scratch.path().join("work"));
        for folder in [&out, &work] {
            std::fs::create_dir(folder).map_err(StageError::io("create", folder))?;
        }
        let progress = Reporter { stage: self.name(at), sender };
        let context = StageContext {
            name: self.name(at),
            spec_dir: self.resolver.spec_dir(),
            inputs: &resolved.inputs,
            out: &out,
            scratch: &work,
            progress: &progress,
            cancel: &self.cancel,
        };
        let ran = catch_unwind(AssertUnwindSafe(|| planned.stage.run(&context)))
            .unwrap_or_else(|panic| Err(StageError::Panicked(panic_text(panic.as_ref()))));
        match ran {
            Err(StageError::Gate(mut failure)) => {
                // The report stays, where people look for it, but is nobody's cached result.
                let artifact = self.store.commit(&out, planned.stage.makes())?;
                self.link(at, &artifact);
                if let Some(name) = failure.report.file_name() {
                    failure.report = self.options.links.join(self.name(at)).join(name);
                }
                return Err(failure.into());
            }
            _ if self.cancel.is_cancelled() => return Err(StageError::Cancelled),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        self.resolver.recheck(at)?;
        let artifact = self.store.commit(&out, planned.stage.makes())?;
        self.hold_to_lock(at, &artifact)?;
        let result = StageResult::new(
            resolved.fingerprint,
            artifact,
            began.elapsed().as_secs_f64(),
            &self.plan.spec().name,
            self.name(at),
        );
        self.store.record(&result)?;
        Ok(result)
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

struct Reporter<'a> {
    stage: &'a str,
    sender: &'a mpsc::Sender<Message>,
}

impl Progress for Reporter<'_> {
    fn report(&self, phase: &str, done: u64, total: Option<u64>) {
        let (stage, phase) = (self.stage.to_owned(), phase.to_owned());
        let event = RunEvent::StageProgress { stage, phase, done, total };
        // Nobody listens any more: the run is ending.
        let _ = self.sender.send(Message::Event(event));
    }
}

/// A warning is one line: the error and the system's answer.
fn with_cause(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
