//! [`Fault`]: what went wrong inside the backend, before it is known whether the caller was
//! compiling, loading or running.

use std::path::Path;

use crate::backend::BackendError;
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{OnnxError, node_name};

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

    /// tract's words, pinned to the node they mention where they mention one.
    pub(super) fn of_tract(graph: &GraphProto, error: &str) -> Self {
        // tract writes `Building node NAME (OPERATOR)`, with nothing for NAME where there is none.
        let built = |node: &&NodeProto| {
            error.contains(&format!("Building node {} ({})", node.name(), node.op_type()))
        };
        let mentioned = |node: &&NodeProto| {
            let name = node_name(node);
            !name.is_empty() && mentions(error, name)
        };
        let named = graph.node.iter().find(built).or_else(|| graph.node.iter().find(mentioned));
        match named {
            Some(node) => Self::node(node, error),
            None => Self::Model(error.to_owned()),
        }
    }

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
        }
    }
}

/// Whether `name` stands in `text` as a quoted word or between spaces, as tract writes names.
fn mentions(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        let edge = |c: Option<char>| c.is_none_or(|c| matches!(c, '"' | '`' | ' ' | ',' | '.'));
        edge(before) && edge(after) && before.is_some_and(|c| matches!(c, '"' | '`' | ' '))
    })
}
