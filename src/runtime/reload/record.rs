//! [`ReloadRecord`]: what a change of a model came to, and [`History`], which keeps and announces
//! them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::artifact::Digest;

/// Records kept.
const KEPT: usize = 256;

/// Records that a slow listener may be behind before it misses some.
const BEHIND: usize = 64;

/// One thing a version was held to, and what was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// What was looked at: `rejected`, `draining`, `interface`, `memory`, `load`, `shadow`,
    /// `shadow.max_abs`, `error_rate`, `p99`, and so on.
    pub name: &'static str,
    /// The output it is about, where it is about one.
    pub output: Option<String>,
    /// Whether the version got through.
    pub passed: bool,
    /// Whether there was nothing to look at, or nothing that was to be: it got through unseen.
    pub skipped: bool,
    /// What was measured, where it is a number.
    pub value: Option<f64>,
    /// The limit it was held to, where there is one.
    pub limit: Option<f64>,
    /// What was found, in words.
    pub detail: String,
}

impl Gate {
    /// A gate the version got through.
    pub(in crate::runtime) fn passed(name: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let (passed, skipped) = (true, false);
        Self { name, output: None, passed, skipped, value: None, limit: None, detail }
    }

    /// A gate that the version was not held to.
    pub(in crate::runtime) fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self { skipped: true, ..Self::passed(name, detail) }
    }

    /// A gate that stopped the version.
    pub(in crate::runtime) fn failed(name: &'static str, detail: impl Into<String>) -> Self {
        Self { passed: false, ..Self::passed(name, detail) }
    }

    /// The same about one output.
    pub(in crate::runtime) fn of_output(self, output: &str) -> Self {
        Self { output: Some(output.to_owned()), ..self }
    }

    /// The same with a measured value and its limit.
    pub(in crate::runtime) fn measured(self, value: f64, limit: f64) -> Self {
        Self { value: Some(value), limit: Some(limit), ..self }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.output {
            Some(output) => write!(f, "{} of output `{output}`: {}", self.name, self.detail),
            None => write!(f, "{}: {}", self.name, self.detail),
        }
    }
}

/// What a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new deployment takes the requests.
    Accepted,
    /// A new deployment does not take them; what was served before still is, or nothing is.
    Refused,
    /// The deployment before takes them again.
    RolledBack,
    /// The last accepted deployment was loaded again.
    Loaded,
    /// The model was unloaded.
    Unloaded,
    /// The model is no longer known.
    Removed,
}

impl Outcome {
    /// The word for it in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::RolledBack => "rolled_back",
            Self::Loaded => "loaded",
            Self::Unloaded => "unloaded",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a change of a model came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReloadRecord {
    /// When it ended, in milliseconds since 1970.
    pub time_ms: u64,
    /// The model.
    pub model: String,
    /// What it came to.
    pub outcome: Outcome,
    /// The version that took the requests before, if any.
    pub from: Option<u32>,
    /// The version that was to take them, if any.
    pub to: Option<u32>,
    /// Digest of that version's deployment.
    pub deployment: Option<Digest>,
    /// Why, where it is not simply a new deployment.
    pub reason: Option<String>,
    /// What the version was held to, in order; the last one stopped it where it was refused.
    pub gates: Vec<Gate>,
    /// How long it took; for a version that was taken back, how long it was served.
    pub seconds: f64,
}

impl ReloadRecord {
    pub(in crate::runtime) fn new(model: &str, outcome: Outcome, took: Duration) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            time_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            model: model.to_owned(),
            outcome,
            from: None,
            to: None,
            deployment: None,
            reason: None,
            gates: Vec::new(),
            seconds: took.as_secs_f64(),
        }
    }
}

impl fmt::Display for ReloadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model `{}`", self.model)?;
        if let Some(version) = self.to {
            write!(f, " version {version}")?;
        }
        match self.outcome {
            Outcome::RolledBack => write!(f, " takes the requests again")?,
            outcome => write!(f, " was {outcome}")?,
        }
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

/// The last records, and who wants to hear of new ones.
#[derive(Debug)]
pub(in crate::runtime) struct History {
    records: Mutex<VecDeque<Arc<ReloadRecord>>>,
    listeners: broadcast::Sender<Arc<ReloadRecord>>,
}

impl Default for History {
    fn default() -> Self {
        Self { records: Mutex::default(), listeners: broadcast::Sender::new(BEHIND) }
    }
}

impl History {
    pub(in crate::runtime) fn add(&self, record: ReloadRecord) -> Arc<ReloadRecord> {
        let (record, announced) = {
            let record = Arc::new(record);
            (Arc::clone(&record), record)
        };
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() == KEPT {
            records.pop_front();
        }
        records.push_back(Arc::clone(&record));
        // Under the lock, so that everybody hears them in the order in which they are kept. It is
        // no error that nobody listens.
        let _ = self.listeners.send(announced);
        record
    }

    /// Oldest first.
    pub(in crate::runtime) fn records(&self) -> Vec<Arc<ReloadRecord>> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().cloned().collect()
    }

    pub(in crate::runtime) fn subscribe(&self) -> broadcast::Receiver<Arc<ReloadRecord>> {
        self.listeners.subscribe()
    }
}
