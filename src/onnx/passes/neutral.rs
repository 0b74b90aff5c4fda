//! Removes arithmetic that gives its input bit for bit: products with one, sums with zero.

use std::collections::HashMap;

use crate::onnx::error::OnnxError;
use crate::onnx::external;
use crate::onnx::model::Model;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::shapes::Shapes;
use crate::onnx::tensors::byte_size;

use super::bypass::bypass;
use super::{Pass, PassName, Tools};

pub(super) struct RemoveNeutral;

impl Pass for RemoveNeutral {
    fn name(&self) -> PassName {
        PassName::RemoveNeutral
    }

    fn run(&self, model: &mut Model, _tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let constants = model.constants();
        let shapes = Shapes::of(model);
        let source = |node: &NodeProto| kept_input(model, node, &constants, &shapes);
        let sources: Vec<Option<usize>> = model.graph.node.iter().map(source).collect();
        Ok(bypass(model, &sources))
    }
}

/// The input that a node's output always equals.
fn kept_input(
    model: &Model,
    node: &NodeProto,
    constants: &HashMap<&str, &TensorProto>,
    shapes: &Shapes<'_>,
) -> Option<usize> {
    let ([left, right], [output]) = (node.input.as_slice(), node.output.as_slice()) else {
        return None;
    };
    let (neutral, either_way) = match node.op_type() {
        // In floating point, -0 + 0 is 0: only the negative zero changes nothing.
        "Add" => (Neutral::NegativeZero, true),
        "Sub" => (Neutral::Zero, false),
        "Mul" => (Neutral::One, true),
        "Div" | "Pow" => (Neutral::One, false),
        _ => return None,
    };
    if !model.is_standard_operator(node) {
        return None;
    }
    let is_neutral = |name: &str, kept: &str| {
        let Some(constant) = constants.get(name) else { return false };
        let keeps_shape = constant.dims.is_empty() || shapes.same(kept, output);
        keeps_shape && is_all(model, constant, neutral)
    };
    if is_neutral(right, left) {
        Some(0)
    } else {
        (either_way && is_neutral(left, right)).then_some(1)
    }
}

#[derive(Debug, Clone, Copy)]
enum Neutral {
    One,
    Zero,
    NegativeZero,
}

/// Larger constants are real ones.
const LARGEST: u64 = 1 << 20;

/// Whether all elements of a constant are the same neutral one.
fn is_all(model: &Model, constant: &TensorProto, neutral: Neutral) -> bool {
    let size = byte_size(constant).filter(|size| (1..=LARGEST).contains(size));
    if size.is_none() || external::is_external(constant) {
        return false;
    }
    let Ok(tensor) = model.values(constant) else { return false };
    let wanted = match neutral {
        Neutral::One => 1.0_f64,
        Neutral::NegativeZero if tensor.dtype().is_float() => -0.0,
        Neutral::Zero | Neutral::NegativeZero => 0.0,
    };
    tensor.to_f64().into_iter().all(|value| value.to_bits() == wanted.to_bits())
}
