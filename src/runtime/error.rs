//! [`InferError`]: why a request got no answer, in the runtime's words. Protocols give it their
//! own status codes.

use std::time::Duration;

use crate::backend::BackendError;

/// What kind of failure it is: what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The request is wrong: the same one fails again.
    Invalid,
    /// It names something that is not there.
    NotFound,
    /// The model is loading, unloading or shutting down: try again later.
    Unavailable,
    /// Too many requests wait: try again later.
    Overloaded,
    /// It waited longer than it may.
    DeadlineExceeded,
    /// The caller went away.
    Cancelled,
    /// The engine failed.
    Internal,
}

impl ErrorKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Invalid,
        Self::NotFound,
        Self::Unavailable,
        Self::Overloaded,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Internal,
    ];

    /// Its name in metrics and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// Why a request got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InferError {
    /// No model has this name.
    #[error("unknown model `{model}`{hint}", hint = then(.hint.as_ref()))]
    UnknownModel {
        /// The name.
        model: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The model has no such version, or it is no longer loaded.
    #[error("model `{model}` has no version {version} loaded; loaded: {loaded}")]
    UnknownVersion {
        /// The model's name.
        model: String,
        /// The version asked for.
        version: String,
        /// The versions there are.
        loaded: String,
    },
    /// The model takes no requests now.
    #[error("model `{model}` is not ready: {reason}")]
    NotReady {
        /// The model's name.
        model: String,
        /// Why.
        reason: String,
    },
    /// An input does not fit the model.
    #[error("input `{input}`: {reason}")]
    Input {
        /// The input's name.
        input: String,
        /// Why, and what the model takes.
        reason: String,
    },
    /// The request as a whole does not fit the model.
    #[error("{reason}")]
    Request {
        /// Why.
        reason: String,
    },
    /// As many requests wait as may.
    #[error("{limit} requests for model `{model}` wait already")]
    QueueFull {
        /// The model's name.
        model: String,
        /// How many may wait.
        limit: usize,
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// It waited longer than it may.
    #[error("the request waited {} ms, longer than it may", .waited.as_millis())]
    DeadlineExceeded {
        /// How long it waited.
        waited: Duration,
    },
    /// The caller went away before the request ran.
    #[error("cancelled")]
    Cancelled,
    /// The engine failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

fn then(hint: Option<&String>) -> String {
    hint.map_or_else(String::new, |hint| format!("; {hint}"))
}

impl InferError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownModel { .. } | Self::UnknownVersion { .. } => ErrorKind::NotFound,
            Self::NotReady { .. } | Self::Backend(BackendError::DeviceLost { .. }) => {
                ErrorKind::Unavailable
            }
            Self::Input { .. }
            | Self::Request { .. }
            | Self::Backend(BackendError::Input { .. }) => ErrorKind::Invalid,
            Self::QueueFull { .. } => ErrorKind::Overloaded,
            Self::DeadlineExceeded { .. } => ErrorKind::DeadlineExceeded,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Backend(_) => ErrorKind::Internal,
        }
    }
}
