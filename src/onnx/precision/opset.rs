//! The opset that a type needs: many operators took bfloat16 long after they came.

use serde::Serialize;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::operators;
use crate::onnx::patterns::NodePatterns;
use crate::onnx::proto::NodeProto;
use crate::onnx::proto::tensor_proto::DataType;

use super::half::Half;
use super::table::{self, Class};

/// A model is not brought beyond this opset for the sake of a type: not all that runs models reads
/// later ones.
const LATEST: i64 = 22;

/// How the opset changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpsetChange {
    /// The opset before.
    pub before: i64,
    /// The opset after.
    pub after: i64,
    /// Why it is not the one in which all operators have the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Brings the model to the first opset in which its operators have the type, but for the nodes that
/// are kept. Where that cannot be,
/// but casts to the type can, it stays as it is.
pub(super) fn raise(
    model: &mut Model,
    half: Half,
    keep: &NodePatterns,
) -> Result<Option<OpsetChange>, OnnxError> {
    let Some(before) = model.opset() else { return Ok(None) };
    let types = model.element_types();
    let reads_float = |node: &&NodeProto| {
        node.input.iter().any(|name| types.get(name) == Some(DataType::Float))
            && model.is_standard_operator(node)
            && keep.find(node).is_none()
    };
    let wanted = model.graph.node.iter().filter(reads_float);
    let wanted = wanted.filter_map(|node| first(node, half, before)).max();
    let least = needed("Cast", half, before).unwrap_or(before);
    let after = wanted.unwrap_or(before).max(least);
    if after == before {
        return Ok(None);
    }
    match model.raise_opset(after) {
        Ok(()) => Ok(Some(OpsetChange { before, after, refused: None })),
        Err(error) => {
            if least > before {
                model.raise_opset(least)?;
            }
            let refused = Some(error.to_string());
            Ok(Some(OpsetChange { before, after: least, refused }))
        }
    }
}

/// The opset in which a node could be of the type, if it is to be and is not yet.
fn first(node: &NodeProto, half: Half, opset: i64) -> Option<i64> {
    match table::class(node) {
        Class::Range(_) => None,
        Class::Cast | Class::Compute | Class::Elementwise | Class::Movement => {
            needed(node.op_type(), half, opset)
        }
    }
}

/// The first opset after this one in which an operator takes the type where this one's takes
/// float32; `None` where it does so already, or not in time.
fn needed(op: &str, half: Half, opset: i64) -> Option<i64> {
    let takes = |typing: &operators::Typing| {
        let mut inputs = (0..typing.inputs()).filter_map(|index| typing.input(index));
        inputs.any(|variable| typing.allowed(variable).contains(half.data_type()))
    };
    if operators::typing_of(op, opset).is_none_or(takes) {
        return None;
    }
    let mut later = operators::later_typings(op, opset);
    later.find(|(since, typing)| *since <= LATEST && takes(typing)).map(|(since, _)| since)
}
