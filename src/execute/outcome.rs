//! How stages and runs end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::artifact::{Artifact, Digest, StageHit};
use crate::plan::StageIndex;
use crate::stage::{FailureClass, StageError};

use super::lock_file::LockFileError;
use super::{OutcomeKind, RunEvent};

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
    pub(super) tools: Tools,
}

/// Facts about tools, by name.
pub(super) type Tools = BTreeMap<String, String>;

impl StageOutcome {
    pub(super) fn ended(kind: OutcomeKind) -> Self {
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

    pub(super) fn failed(error: StageError, key: Option<Digest>, took: Duration) -> Self {
        let kind = match error.class() {
            FailureClass::Cancelled => OutcomeKind::Cancelled,
            _ => OutcomeKind::Failed,
        };
        Self { key, took, error: Some(error), ..Self::ended(kind) }
    }

    pub(super) fn done(kind: OutcomeKind, hit: StageHit, tools: Tools, took: Duration) -> Self {
        let (key, artifact) = (Some(hit.key), Some(hit.artifact));
        Self { key, artifact, took, tools, ..Self::ended(kind) }
    }

    pub(super) fn is_ok(&self) -> bool {
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
    pub lock_error: Option<LockFileError>,
}

impl RunReport {
    /// How many stages ended this way.
    pub fn count(&self, kind: OutcomeKind) -> usize {
        self.outcomes.iter().flatten().filter(|outcome| outcome.kind == kind).count()
    }

    /// The event that ends the run.
    pub fn finished(&self) -> RunEvent {
        RunEvent::RunFinished {
            cached: self.count(OutcomeKind::Cached),
            built: self.count(OutcomeKind::Built),
            failed: self.count(OutcomeKind::Failed),
            skipped: self.count(OutcomeKind::Skipped),
            cancelled: self.count(OutcomeKind::Cancelled),
            seconds: self.took.as_secs_f64(),
            exit: self.exit(),
        }
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
