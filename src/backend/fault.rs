//! [`Fault`]: what is wrong with a model, before it is known whether a backend was compiling or
//! loading it.

use std::path::Path;

use crate::onnx::proto::NodeProto;
use crate::onnx::{OnnxError, node_name};

use super::BackendError;

/// Why a model cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// One node is to blame.
    Node {
        /// Its name, or its first output.
        node: String,
        /// Its operator.
        op: String,
        /// Why.
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

impl Fault {
    /// Blames a node.
    pub(super) fn node(node: &NodeProto, reason: impl Into<String>) -> Self {
        Self::Node {
            node: node_name(node).to_owned(),
            op: node.op_type().to_owned(),
            reason: reason.into(),
        }
    }

    /// As an error of a backend compiling `model`.
    pub(super) fn compiling(self, backend: &'static str, model: &Path) -> BackendError {
        let model = model.display().to_string();
        self.into_error(backend, |reason| BackendError::Compile { model, reason })
    }

    /// As an error of a backend loading `path`.
    pub(super) fn loading(self, backend: &'static str, path: &Path) -> BackendError {
        let path = path.display().to_string();
        self.into_error(backend, |reason| BackendError::Load { path, reason })
    }

    fn into_error(
        self,
        backend: &'static str,
        whole: impl FnOnce(String) -> BackendError,
    ) -> BackendError {
        match self {
            Self::Node { node, op, reason } => {
                BackendError::Unsupported { backend: backend.into(), node, op, reason }
            }
            Self::Model(reason) => whole(reason),
            Self::Cancelled => BackendError::Cancelled,
        }
    }
}
