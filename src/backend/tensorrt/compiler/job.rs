//! What the two processes say to each other.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;

use crate::backend::{CompileRequest, Profile};
use crate::progress::Progress;

use super::super::discover::Found;
use super::super::options::{Files, Options};
use super::NODE;

/// What to compile, with which library.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CompileJob {
    pub(super) model: PathBuf,
    pub(super) profiles: Vec<Profile>,
    pub(super) options: Options,
    pub(super) files: Files,
    pub(super) builds: u32,
    pub(super) found: Found,
    /// A folder for the files of the engine.
    pub(super) out: PathBuf,
    /// A folder that outlives the run, for timing caches.
    pub(super) kept: PathBuf,
    /// The file that says at which node the parser is.
    pub(super) node: PathBuf,
    /// The finest messages that somebody listens to.
    pub(super) log_level: String,
}

impl CompileJob {
    pub(super) fn new(request: &CompileRequest<'_>, found: Found) -> Self {
        Self {
            model: request.model.to_owned(),
            profiles: request.profiles.to_vec(),
            options: request.tensorrt.clone(),
            files: request.files.clone(),
            builds: request.builds,
            found,
            out: request.out.to_owned(),
            kept: request.kept.to_owned(),
            node: request.scratch.join(NODE),
            log_level: LevelFilter::current().to_string(),
        }
    }
}

/// One line of the child's standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// How far compiling is.
    Progress {
        /// What is being done.
        phase: String,
        /// Steps done.
        done: u64,
        /// Steps of the phase, where known.
        total: Option<u64>,
    },
    /// A message for the log.
    Log {
        /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
        level: String,
        /// The text.
        message: String,
    },
}

impl Message {
    /// A line of the child for people; `None` where it is a number that has passed.
    pub(super) fn text(line: &str) -> Option<String> {
        match serde_json::from_str(line) {
            Ok(Self::Progress { phase, done: 0, .. }) => Some(phase),
            Ok(Self::Progress { .. }) => None,
            Ok(Self::Log { message, .. }) => Some(message),
            Err(_) => Some(line.to_owned()),
        }
    }

    /// Gives a line of the child to those who listen here. Anything else that is written there,
    /// by a library, is a message of little interest.
    pub(super) fn pass_on(line: &str, progress: &dyn Progress) {
        match serde_json::from_str(line) {
            Ok(Self::Progress { phase, done, total }) => progress.report(&phase, done, total),
            Ok(Self::Log { level, message }) => log(&level, &message),
            Err(_) => tracing::debug!(target: "tensorrt", "{line}"),
        }
    }
}

fn log(level: &str, message: &str) {
    match tracing::Level::from_str(level) {
        Ok(tracing::Level::ERROR) => tracing::error!(target: "tensorrt", "{message}"),
        Ok(tracing::Level::WARN) => tracing::warn!(target: "tensorrt", "{message}"),
        Ok(tracing::Level::INFO) => tracing::info!(target: "tensorrt", "{message}"),
        _ => tracing::debug!(target: "tensorrt", "{message}"),
    }
}
