//! [`RunEvent`]: everything a run has to tell, in one stream for terminals, logs and programs.
//!
//! The JSON form is stable: one object a line with `v`, `event` and `t`; absent values are null;
//! digests are 64 hex digits. `schemas/events.schema.json` is generated from these types.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Serialize;

use crate::artifact::FieldChange;

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeKind {
    /// Its result was in the cache.
    Cached,
    /// It ran and made its artifact.
    Built,
    /// It failed.
    Failed,
    /// Something it needs failed.
    Skipped,
    /// The run was told to stop.
    Cancelled,
}

impl OutcomeKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Built => "built",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What `plan` expects of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Will {
    /// Its result is in the cache.
    Hit,
    /// It would run.
    Build,
    /// That depends on what a stage before it makes.
    Unknown,
}

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing can run.
    Error,
    /// Something to look at.
    Warning,
}

/// Why a pipeline is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// Files it reads have other content than before.
    Changed,
    /// Somebody asked for it.
    Asked,
}

/// What became of a model whose deployment changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// A new version takes the requests.
    Accepted,
    /// A new version does not take them; what was served before still is, if anything was.
    Refused,
    /// The version before takes them again.
    RolledBack,
    /// A version that was unloaded takes them again.
    Loaded,
    /// Nothing takes them: the model was unloaded.
    Unloaded,
    /// Nothing takes them: no pipeline serves the model any more.
    Removed,
}

/// One thing a version was held to before, or after, it took requests.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ReloadGate {
    /// What was looked at, such as `memory`, `load` or `shadow`.
    pub name: String,
    /// The output it is about.
    pub output: Option<String>,
    /// Whether the version got through.
    pub passed: bool,
    /// Whether it was not held to it: there was nothing to look at, or nothing that was to be.
    pub skipped: bool,
    /// What was measured.
    pub value: Option<f64>,
    /// The limit it was held to.
    pub limit: Option<f64>,
    /// What was found, in words.
    pub detail: String,
}

/// A model that a server answers for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ServedModel {
    /// Its name.
    pub name: String,
    /// The version that takes the requests.
    pub version: u32,
    /// Digest of its engine.
    pub engine: String,
}

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DiagnosticEvent {
    /// How bad it is.
    pub severity: Severity,
    /// Stable identifier.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The stage it is about.
    pub stage: Option<String>,
    /// The file it stands in.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// Bytes.
    pub length: Option<usize>,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// The run begins.
    RunStarted {
        /// The pipeline's name.
        pipeline: String,
        /// The names of the stages of this run, in running order.
        stages: Vec<String>,
    },
    /// A stage was not in the cache and begins.
    StageStarted {
        /// Its name.
        stage: String,
    },
    /// A stage tells how far it is.
    StageProgress {
        /// Its name.
        stage: String,
        /// What it does at the moment.
        phase: String,
        /// How much of it is done.
        done: u64,
        /// How much there is to do, if known.
        total: Option<u64>,
    },
    /// A stage tells what came of its work, in words.
    StageSummary {
        /// Its name.
        stage: String,
        /// Lines for a reader; their text is not stable.
        lines: Vec<String>,
    },
    /// A stage ended.
    StageFinished {
        /// Its name.
        stage: String,
        /// How.
        outcome: OutcomeKind,
        /// Its cache key, if it came that far.
        key: Option<String>,
        /// Digest of its artifact, if it has one.
        artifact: Option<String>,
        /// Wall time.
        seconds: f64,
        /// Why it failed, was skipped or was not cached.
        reason: Option<String>,
    },
    /// What `plan` expects of a stage.
    Plan {
        /// Its name.
        stage: String,
        /// Its kind.
        kind: String,
        /// Its cache key, if it can be told now.
        key: Option<String>,
        /// What would happen.
        will: Will,
        /// The fields that changed since the last result of this stage.
        because: Vec<FieldChange>,
    },
    /// Something wrong.
    Diagnostic(DiagnosticEvent),
    /// A pipeline that is watched is run again.
    WatchTriggered {
        /// Its name.
        pipeline: String,
        /// Why.
        because: Trigger,
        /// The files whose content changed, or that came or went.
        paths: Vec<String>,
        /// The stages that read them.
        stages: Vec<String>,
    },
    /// A server answers requests.
    Serving {
        /// Where it answers inference over HTTP.
        http: Option<String>,
        /// Where it answers inference over gRPC.
        grpc: Option<String>,
        /// Where it answers control requests.
        admin: Option<String>,
        /// What it answers for.
        models: Vec<ServedModel>,
    },
    /// Something was decided about the versions of a model.
    ReloadFinished {
        /// The model.
        model: String,
        /// The version that took the requests before, if any did.
        from: Option<u32>,
        /// The version that was to take them, if any was.
        to: Option<u32>,
        /// What was decided.
        outcome: ReloadOutcome,
        /// Why.
        reason: Option<String>,
        /// How long it took; for a version that was taken back, how long it was served.
        seconds: f64,
        /// What the version was held to, in order.
        gates: Vec<ReloadGate>,
    },
    /// A model lost a device that it ran on.
    DeviceLost {
        /// The model.
        model: String,
        /// Its version.
        version: u32,
        /// The device's number.
        device: Option<usize>,
        /// What was reported of it.
        reason: String,
        /// How many devices the model has left.
        left: usize,
        /// Whether the server ends because of it.
        ends: bool,
    },
    /// A server has ended.
    ServeFinished {
        /// Requests that were being answered when it was told to stop, and were.
        finished: usize,
        /// Those that were not in the time they had.
        aborted: usize,
        /// The process's exit status.
        exit: u8,
    },
    /// The run ended; the last event of `run`.
    RunFinished {
        /// Stages whose result was in the cache.
        cached: usize,
        /// Stages that ran.
        built: usize,
        /// Stages that failed.
        failed: usize,
        /// Stages that were skipped.
        skipped: usize,
        /// Stages that were cancelled.
        cancelled: usize,
        /// Wall time.
        seconds: f64,
        /// The process's exit status.
        exit: u8,
    },
}

/// One line of `--format json`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "trt-pipeline event")]
pub struct EventLine<'a> {
    /// Version of this format.
    pub v: u32,
    /// When, in UTC (RFC 3339).
    pub t: String,
    /// What.
    #[serde(flatten)]
    pub event: &'a RunEvent,
}

impl<'a> EventLine<'a> {
    /// The line for an event that happens now.
    pub fn now(event: &'a RunEvent) -> Self {
        let t = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        Self { v: 1, t, event }
    }
}

/// The text of `schemas/events.schema.json`.
pub fn events_schema_text() -> String {
    let settings = schemars::generate::SchemaSettings::draft07();
    let schema = settings.into_generator().into_root_schema_for::<EventLine<'static>>();
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
