//! One stage on its own thread: key, lookup, work, commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{OnceLock, PoisonError, mpsc};
use std::time::Instant;

use crate::artifact::{Artifact, Digest, Lookup, Scratch, StageHit, StageResult, StoreError};
use crate::plan::StageIndex;
use crate::progress::Progress;
use crate::stage::{StageContext, StageError};

use super::outcome::StageOutcome;
use super::{Executor, OutcomeKind, ResolvedStage, RunEvent};

/// What a worker sends to the coordinating thread.
pub(super) enum Message {
    Event(RunEvent),
    Ended(StageIndex, StageOutcome),
}

impl Executor<'_> {
    /// One stage, on its own thread: key, lookup, work, commit.
    pub(super) fn stage(
        &self,
        at: StageIndex,
        done: &[OnceLock<Artifact>],
        sender: &mpsc::Sender<Message>,
    ) -> StageOutcome {
        let began = Instant::now();
        let artifacts = |stage: StageIndex| done[stage].get().cloned();
        let probe = self.resolver.probe(&self.cancel);
        let resolved = match self.resolver.resolve(at, &artifacts, &self.requests, &probe) {
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
        if let Some(hit) = self.cached(at, &key) {
            self.hold_to_lock(at, &hit.artifact, &resolved.fingerprint.tools)?;
            return Ok((OutcomeKind::Cached, hit));
        }
        let cancelled = || self.cancel.is_cancelled();
        let _lock = self.store.lock_key(&key, &cancelled)?;
        // Another run may have made it while this one waited for the lock.
        if let Some(hit) = self.cached(at, &key) {
            self.hold_to_lock(at, &hit.artifact, &resolved.fingerprint.tools)?;
            return Ok((OutcomeKind::Cached, hit));
        }
        let _ = sender.send(Message::Event(RunEvent::StageStarted { stage: self.name(at).into() }));
        for input in &self.plan.stages()[at].inputs {
            if let Some(artifact) = input.from.stage().and_then(|stage| done[stage].get()) {
                self.store.verify_bytes(artifact)?;
            }
        }
        self.make(at, resolved, sender).map(|result| (OutcomeKind::Built, result.into()))
    }

    pub(super) fn cached(&self, at: StageIndex, key: &Digest) -> Option<StageHit> {
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
        let scratch = self.store.scratch()?;
        let made = self.make_in(&scratch, at, resolved, sender);
        // Empty folders go at the end, all together: file systems such as ext4 are slow to make
        // files while others are being removed.
        let is_empty = |name| {
            std::fs::read_dir(scratch.path().join(name))
                .map_or(true, |mut inside| inside.next().is_none())
        };
        if is_empty("out") && is_empty("work") {
            self.spent.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        }
        made
    }

    fn make_in(
        &self,
        scratch: &Scratch,
        at: StageIndex,
        resolved: ResolvedStage,
        sender: &mpsc::Sender<Message>,
    ) -> Result<StageResult, StageError> {
        let began = Instant::now();
        let planned = &self.plan.stages()[at];
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
            kept: &self.store.root().join("kept"),
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
        self.hold_to_lock(at, &artifact, &resolved.fingerprint.tools)?;
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

    fn summary(&self, text: &str) {
        let lines = text.lines().map(str::to_owned).collect();
        let event = RunEvent::StageSummary { stage: self.stage.to_owned(), lines };
        // As above.
        let _ = self.sender.send(Message::Event(event));
    }
}

/// A warning is one line: the error and the system's answer.
pub(super) fn with_cause(error: &StoreError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
