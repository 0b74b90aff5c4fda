//! What a registry says of its models: for indexes, pages and metrics.

use std::sync::Arc;

use serde::Serialize;

use crate::artifact::Digest;

use super::ReloadRecord;

/// What a model is doing, in the protocol's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ModelState {
    /// It takes requests.
    Ready,
    /// It takes none yet.
    Loading,
    /// It takes none any more; the last ones are being answered.
    Unloading,
    /// It takes none.
    Unavailable,
}

impl ModelState {
    /// The protocol's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Loading => "LOADING",
            Self::Unloading => "UNLOADING",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

/// How many changes of a model came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReloadCounts {
    /// New deployments that took the requests, the first one included.
    pub accepted: u64,
    /// New deployments that did not.
    pub refused: u64,
    /// Deployments that were taken back, by themselves or by hand.
    pub rolled_back: u64,
}

/// What became of a deployment that was not refused.
#[derive(Debug, Clone)]
pub enum Applied {
    /// It was the one that serves already.
    Unchanged {
        /// The version it is.
        version: u32,
    },
    /// It takes the requests now.
    Changed(Arc<ReloadRecord>),
}

/// One model, as the repository index lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelStatus {
    /// Its name.
    pub name: String,
    /// The version that takes requests, or would if it were loaded.
    pub version: Option<u32>,
    /// What it is doing.
    pub state: ModelState,
    /// Why it takes no requests; or, where it does, which of its devices it lost.
    pub reason: Option<String>,
    /// How many changes came to what.
    pub reloads: ReloadCounts,
}

/// What a version of a model is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// It takes the requests.
    Serving,
    /// It is loaded and takes requests that name it, and all of them if the version after it is
    /// taken back.
    Standby,
    /// It is not loaded, and can be.
    Kept,
}

/// One version of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionStatus {
    /// Its number.
    pub version: u32,
    /// What it is doing.
    pub state: VersionState,
    /// Digest of its deployment.
    pub deployment: Digest,
    /// Digest of its engine.
    pub engine: Digest,
    /// Seconds for which it may still be taken back by itself.
    pub watched_for: Option<f64>,
}
