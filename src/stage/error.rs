//! [`StageError`]: why a stage did not make its artifact.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::artifact::{Digest, StoreError};
use crate::backend::BackendError;
use crate::data::DataError;
use crate::onnx::OnnxError;
use crate::source::Span;

use super::command::CommandError;
use super::convert::ConvertError;
use super::validate::GateFailure;

/// How a failure counts for the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The stage failed.
    Failed,
    /// Something it needs is not on this machine.
    Unavailable,
    /// A validation gate did not hold.
    Gate,
    /// The run was told to stop.
    Cancelled,
}

/// Why a stage did not make its artifact.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The model is not what it should be.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A backend refused or failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A data file is not what it should be.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A model of another framework did not become an ONNX model.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A validation gate did not hold; the report says all.
    #[error(transparent)]
    Gate(#[from] GateFailure),
    /// A setting does not fit what an input turned out to contain.
    #[error("{message}")]
    Setting {
        /// What does not fit.
        message: String,
        /// The setting in the spec.
        span: Span,
        /// What to do.
        help: Option<String>,
    },
    /// A failure that a setting brought about.
    #[error("{source}")]
    At {
        /// The setting in the spec.
        span: Span,
        /// The failure.
        source: Box<StageError>,
    },
    /// A file could not be read or written.
    #[error("failed to {doing} `{}`", path.display())]
    Io {
        /// The verb: `read`, `write`, ...
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A root input could not be read.
    #[error("failed to read the input `{}`", path.display())]
    Input {
        /// The file or folder.
        path: PathBuf,
        /// Where the spec names it.
        span: Span,
        /// Why.
        source: Arc<StoreError>,
    },
    /// A root input changed between its hashing and the end of the stage.
    #[error("the input `{}` changed while the stage ran; its result was not kept", path.display())]
    InputChanged {
        /// The file or folder.
        path: PathBuf,
        /// Where the spec names it.
        span: Span,
    },
    /// The artifact could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lock file holds the stage to another result.
    #[error("the stage made {found}, but the lock file says {expected}")]
    Locked {
        /// Digest in the lock file.
        expected: Digest,
        /// Digest of what was made.
        found: Digest,
    },
    /// A stage asked for a role that it did not declare.
    #[error("the stage has no input `{role}`")]
    NoSuchInput {
        /// The role.
        role: String,
    },
    /// The work panicked; a defect of trt-pipeline or of a library in it.
    #[error("the stage stopped on an internal error: {0}")]
    Panicked(String),
    /// The run was told to stop.
    #[error("cancelled")]
    Cancelled,
}

impl StageError {
    /// Pairs a system error with the file and the verb.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// Stable identifier of the sort of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Onnx(_) => "stage::model",
            Self::Backend(_) => "stage::backend",
            Self::Data(_) => "stage::data",
            Self::Command(_) => "stage::command",
            Self::Convert(_) => "stage::convert",
            Self::Gate(_) => "stage::gate",
            Self::Setting { .. } => "stage::setting",
            Self::At { source, .. } => source.code(),
            Self::Io { .. } => "stage::io",
            Self::Input { .. } => "stage::input",
            Self::InputChanged { .. } => "stage::input_changed",
            Self::Store(_) => "stage::cache",
            Self::Locked { .. } => "stage::locked",
            Self::NoSuchInput { .. } | Self::Panicked(_) => "stage::internal",
            Self::Cancelled => "stage::cancelled",
        }
    }

    /// How the failure counts for the exit status.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Backend(BackendError::Unavailable { .. }) => FailureClass::Unavailable,
            Self::Command(error) if error.is_unavailable() => FailureClass::Unavailable,
            Self::Convert(error) if error.is_unavailable() => FailureClass::Unavailable,
            Self::At { source, .. } => source.class(),
            Self::Gate(_) => FailureClass::Gate,
            Self::Cancelled
            | Self::Store(StoreError::Cancelled)
            | Self::Backend(BackendError::Cancelled) => FailureClass::Cancelled,
            _ => FailureClass::Failed,
        }
    }

    /// Whether a tool was waited for in vain.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Convert(error) => matches!(error, ConvertError::SilentPython { .. }),
            Self::At { source, .. } => source.is_timeout(),
            _ => false,
        }
    }

    /// The same failure, at the setting that brought it about.
    #[must_use]
    pub fn at(self, span: Option<Span>) -> Self {
        match span {
            Some(span) => Self::At { span, source: Box::new(self) },
            None => self,
        }
    }

    /// The setting in the spec that the failure is about.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Setting { span, .. }
            | Self::At { span, .. }
            | Self::Input { span, .. }
            | Self::InputChanged { span, .. } => Some(*span),
            _ => None,
        }
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Onnx(error) => error.help(),
            Self::Backend(error) => error.help(),
            Self::Data(error) => error.help(),
            Self::Command(error) => error.help(),
            Self::Convert(error) => error.help(),
            Self::Gate(failure) => failure.help(),
            Self::Setting { help, .. } => help.clone(),
            Self::At { source, .. } => source.help(),
            Self::Input { source, .. } => source.help(),
            Self::Store(error) => error.help(),
            Self::InputChanged { .. } => Some("run again once nothing writes to it".into()),
            Self::Locked { .. } => {
                Some("if the change is meant, run without --locked and commit the lock file".into())
            }
            _ => None,
        }
    }
}
