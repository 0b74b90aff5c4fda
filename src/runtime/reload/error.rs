//! [`ReloadError`]: why a model was not changed.

use std::sync::Arc;

use crate::runtime::ErrorKind;

use super::ReloadRecord;

/// Why a model was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReloadError {
    /// No model has this name.
    #[error("unknown model `{model}`; {hint}")]
    UnknownModel {
        /// The name.
        model: String,
        /// What it may have meant.
        hint: String,
    },
    /// A version does not take requests; what was served before still is.
    #[error("{0}")]
    Refused(Arc<ReloadRecord>),
    /// There is no version to go back to.
    #[error("model `{model}` has no version before this one to go back to")]
    NothingBefore {
        /// The model.
        model: String,
    },
    /// No deployment of the model was ever accepted.
    #[error("no deployment of model `{model}` was accepted yet: {reason}")]
    NothingAccepted {
        /// The model.
        model: String,
        /// Why the last one was not.
        reason: String,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Closed,
}

impl ReloadError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownModel { .. } => ErrorKind::NotFound,
            Self::Closed => ErrorKind::Unavailable,
            Self::Refused(_) | Self::NothingBefore { .. } | Self::NothingAccepted { .. } => {
                ErrorKind::Invalid
            }
        }
    }
}
