//! [`ProtocolError`]: why a request gets no answer, in the protocol's words.

use std::time::Duration;

use crate::runtime::{ErrorKind, InferError, ReloadError};
use crate::server::shared_memory::SharedMemoryError;

/// Why a request gets no answer. `status.rs` gives each its status codes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProtocolError {
    /// It cannot be read.
    #[error("the request cannot be read: {reason}")]
    Syntax {
        /// Why.
        reason: String,
    },
    /// It names a tensor that the model does not have.
    #[error("model `{model}` has no {what} `{name}`; {hint}")]
    UnknownTensor {
        /// The model.
        model: String,
        /// `input` or `output`.
        what: &'static str,
        /// The name.
        name: String,
        /// What to do.
        hint: String,
    },
    /// It names a tensor twice.
    #[error("{what} `{name}` is there twice")]
    Duplicate {
        /// `input` or `output`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// It leaves inputs out.
    #[error("model `{model}` needs a value for {names}")]
    MissingInputs {
        /// The model.
        model: String,
        /// The inputs without a value.
        names: String,
    },
    /// One tensor is not as it must be.
    #[error("{what} `{name}`: {reason}")]
    Tensor {
        /// `input` or `output`.
        what: &'static str,
        /// The name.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// It asks for what this server does not do.
    #[error("{what}")]
    Unsupported {
        /// What, and what to do.
        what: String,
    },
    /// It is larger than it may be.
    #[error("the request is larger than the {limit} bytes that one may have")]
    TooLarge {
        /// Most bytes.
        limit: usize,
    },
    /// Its body takes longer than it may.
    #[error("the body of the request did not arrive within {} s", .limit.as_secs_f64())]
    TooSlow {
        /// Longest it may take.
        limit: Duration,
    },
    /// It is for those who may change what others get.
    #[error(
        "this listener takes no control requests: start the server with `--control on`, or use \
         the admin listener"
    )]
    NoControl,
    /// Nothing is at this path.
    #[error("nothing is at `{path}`")]
    NoSuchPath {
        /// The path.
        path: String,
    },
    /// The path does not take this method.
    #[error("`{path}` does not take {method}")]
    Method {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// A shared memory region is not registered, or not used.
    #[error(transparent)]
    SharedMemory(#[from] SharedMemoryError),
    /// A model was not changed.
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// The server itself failed.
    #[error("the server failed to answer; its log says why")]
    Failed,
    /// The model gave no answer.
    #[error(transparent)]
    Infer(#[from] InferError),
}

impl ProtocolError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Infer(error) => error.kind(),
            Self::SharedMemory(error) => error.kind(),
            Self::Reload(error) => error.kind(),
            Self::Failed => ErrorKind::Internal,
            Self::NoSuchPath { .. } => ErrorKind::NotFound,
            Self::TooSlow { .. } => ErrorKind::DeadlineExceeded,
            _ => ErrorKind::Invalid,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
    pub(crate) fn syntax(reason: impl ToString) -> Self {
        Self::Syntax { reason: clipped(&reason.to_string()) }
    }

    pub(crate) fn input(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { what: "input", name: clipped(name), reason: reason.into() }
    }

    pub(crate) fn output(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { what: "output", name: clipped(name), reason: reason.into() }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }
}

/// A text of the client's as a message shows it: not longer than anybody reads.
pub(crate) fn clipped(text: &str) -> String {
    const MOST: usize = 256;
    if text.len() <= MOST {
        return text.to_owned();
    }
    let end = (0..=MOST).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}...", &text[..end])
}
