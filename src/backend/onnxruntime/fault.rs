//! [`Fault`]: what went wrong, before it is known whether the caller was compiling or loading.

use std::path::Path;

use ort::ErrorCode;

use crate::backend::BackendError;
use crate::onnx::OnnxError;

/// Why a model cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The library has nothing that computes this node.
    Node {
        /// Its name.
        node: String,
        /// Its operator.
        op: String,
        /// The library's words.
        reason: String,
    },
    /// The model as a whole.
    Model(String),
    /// The caller asked to stop.
    Cancelled,
}

impl From<OnnxError> for Fault {
    fn from(error: OnnxError) -> Self {
        Self::Model(error.to_string())
    }
}

impl<R> From<ort::Error<R>> for Fault {
    fn from(error: ort::Error<R>) -> Self {
        let reason = error.message().trim_end().to_owned();
        match (error.code(), missing(&reason)) {
            (ErrorCode::ModelLoadCanceled, _) => Self::Cancelled,
            (ErrorCode::NotImplemented, Some((op, node))) => {
                Self::Node { node: node.to_owned(), op: op.to_owned(), reason }
            }
            _ => Self::Model(reason),
        }
    }
}

/// Operator and node of `Could not find an implementation for Foo(13) node with name 'bar'`.
fn missing(message: &str) -> Option<(&str, &str)> {
    let (_, rest) = message.split_once("Could not find an implementation for ")?;
    let (op, rest) = rest.split_once('(')?;
    let (_, rest) = rest.split_once("with name '")?;
    let (node, _) = rest.rsplit_once('\'')?;
    Some((op, node))
}

impl Fault {
    /// As an error of compiling `model`.
    pub(super) fn compiling(self, model: &Path) -> BackendError {
        self.into_error(|reason| BackendError::Compile {
            model: model.display().to_string(),
            reason,
        })
    }

    /// As an error of loading `path`.
    pub(super) fn loading(self, path: &Path) -> BackendError {
        self.into_error(|reason| BackendError::Load { path: path.display().to_string(), reason })
    }

    fn into_error(self, whole: impl FnOnce(String) -> BackendError) -> BackendError {
        match self {
            Self::Node { node, op, reason } => {
                BackendError::Unsupported { backend: super::NAME.into(), node, op, reason }
            }
            Self::Model(reason) => whole(reason),
            Self::Cancelled => BackendError::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_kernel_is_told_by_its_node() {
        let words = "Could not find an implementation for ConvInteger(10) node with name 'it's'";
        assert_eq!(missing(words), Some(("ConvInteger", "it's")));
        assert_eq!(missing("Could not find an implementation for Conv"), None);
        assert_eq!(missing(""), None);
    }
}
