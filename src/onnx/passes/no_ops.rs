//! Removes nodes that change nothing: a `Reshape` to the shape that is there, a `Transpose` that
//! keeps the order, a `Cast` to the same type, a `Sum` of one, and their like.

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::ints_attribute;
use crate::onnx::proto::NodeProto;
use crate::onnx::shapes::{Shapes, fixed};

use super::bypass::bypass;
use super::{Pass, PassName, Tools};

pub(super) struct RemoveNoOps;

impl Pass for RemoveNoOps {
    fn name(&self) -> PassName {
        PassName::RemoveNoOps
    }

    fn run(&self, model: &mut Model, _tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let shapes = Shapes::of(model);
        let source = |node: &NodeProto| {
            (model.is_standard_operator(node) && does_nothing(&shapes, node)).then_some(0)
        };
        let sources: Vec<Option<usize>> = model.graph.node.iter().map(source).collect();
        Ok(bypass(model, &sources))
    }
}

/// Whether a node's only output always equals its first input.
fn does_nothing(shapes: &Shapes<'_>, node: &NodeProto) -> bool {
    let ([input, others @ ..], [output]) = (node.input.as_slice(), node.output.as_slice()) else {
        return false;
    };
    let keeps_shape = || shapes.same(input, output);
    match node.op_type() {
        // They move nothing, so that the shape is all they can change.
        "Expand" | "Flatten" | "Reshape" | "Split" | "Squeeze" | "Tile" | "Unsqueeze" => {
            keeps_shape()
        }
        "Concat" | "Max" | "Mean" | "Min" | "Sum" => others.is_empty(),
        "Cast" => shapes.dtype(input).is_some() && shapes.dtype(input) == shapes.dtype(output),
        "Pad" => all(shapes, node, "pads", 1, 0),
        // Backwards, the shape would be the same too.
        "Slice" => {
            let forwards = others.len() < 4 || all(shapes, node, "steps", 4, 1);
            forwards && keeps_shape()
        }
        "Transpose" => ints_attribute(node, "perm")
            .is_some_and(|order| (0_i64..).zip(order).all(|(index, from)| index == *from)),
        _ => false,
    }
}

/// Whether the numbers that an attribute or an input gives are all the same one.
fn all(shapes: &Shapes<'_>, node: &NodeProto, attribute: &str, index: usize, number: i64) -> bool {
    let values = match ints_attribute(node, attribute) {
        Some(given) => Some(given.to_vec()),
        None => node.input.get(index).and_then(|name| fixed(shapes.get(name)?.values.as_deref()?)),
    };
    values.is_some_and(|values| values.iter().all(|value| *value == number))
}
