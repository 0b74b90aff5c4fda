//! Computes shapes ahead: what is made of axes that are known, and reshapings whose target follows
//! from what they reshape.

use std::collections::HashSet;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::{FreshNames, int_attribute};
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{TensorProto, ValueInfoProto};
use crate::onnx::shapes::{Extent, Fact, Shapes, fixed};
use crate::onnx::tensors::from_tensor;
use crate::tensor::{DType, Shape, Tensor};

use super::{Pass, PassName, Tools};

pub(super) struct FoldShapes;

impl Pass for FoldShapes {
    fn name(&self) -> PassName {
        PassName::FoldShapes
    }

    fn run(&self, model: &mut Model, _tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let found = find(model);
        let count = found.len();
        if count == 0 {
            return Ok(0);
        }
        let mut fresh = FreshNames::of(&model.graph);
        let mut removed = vec![false; model.graph.node.len()];
        for (index, fold) in found {
            let node = &mut model.graph.node[index];
            match fold {
                Fold::Value(tensor) => {
                    model.graph.initializer.push(*tensor);
                    removed[index] = true;
                }
                Fold::Target(target) => {
                    let name = fresh.take(&format!("{}_shape", node.output[0]));
                    node.input[1].clone_from(&name);
                    model.graph.initializer.extend(shape_constant(&name, &target));
                }
            }
        }
        let mut gone = removed.into_iter();
        model.graph.node.retain(|_| !gone.next().unwrap_or(false));
        Ok(count)
    }
}

enum Fold {
    /// The node's output is a constant.
    Value(Box<TensorProto>),
    /// The node's second input, a shape, may be these numbers.
    Target(Vec<i64>),
}

fn find(model: &Model) -> Vec<(usize, Fold)> {
    let shapes = Shapes::of(model);
    let constants = model.constants();
    let outputs: HashSet<&str> = model.graph.output.iter().map(ValueInfoProto::name).collect();
    let mut found = Vec::new();
    for (index, node) in model.graph.node.iter().enumerate() {
        let [output] = node.output.as_slice() else { continue };
        let Some(fact) = shapes.get(output) else { continue };
        // An initializer may be an output too, but not every runtime accepts that.
        let value = (!outputs.contains(output.as_str())).then(|| value(output, fact)).flatten();
        if let Some(value) = value {
            found.push((index, Fold::Value(Box::new(value))));
            continue;
        }
        let is_reshape =
            model.is_standard(node, "Reshape") && int_attribute(node, "allowzero", 0) == 0;
        if !(is_reshape || model.is_standard(node, "Expand")) {
            continue;
        }
        let [data, shape] = node.input.as_slice() else { continue };
        if constants.contains_key(shape.as_str()) {
            continue;
        }
        let values = shapes.get(shape).and_then(|fact| fact.values.as_deref());
        let (Some(from), Some(to)) = (shapes.dims(data), values) else { continue };
        let target = if is_reshape { reshape_target(from, to) } else { expand_target(from, to) };
        found.extend(target.map(|target| (index, Fold::Target(target))));
    }
    found
}

/// The constant that a tensor always is.
fn value(name: &str, fact: &Fact) -> Option<TensorProto> {
    let values = fixed(fact.values.as_deref()?)?;
    let dims = fact.dims.as_ref()?.iter().map(|_| values.len()).collect();
    let shape = Shape(dims);
    let tensor = match fact.dtype? {
        wide if wide == DataType::Int64 as i32 => Tensor::from_i64(shape, &values),
        narrow if narrow == DataType::Int32 as i32 => {
            let values: Result<Vec<i32>, _> = values.into_iter().map(i32::try_from).collect();
            let bytes: Vec<u8> = values.ok()?.into_iter().flat_map(i32::to_le_bytes).collect();
            Tensor::from_bytes(DType::Int32, shape, &bytes)
        }
        _ => return None,
    };
    Some(from_tensor(name, &tensor.ok()?))
}

/// An initializer that holds a shape.
pub(in crate::onnx) fn shape_constant(name: &str, target: &[i64]) -> Option<TensorProto> {
    let tensor = Tensor::from_i64(vec![target.len()].into(), target).ok()?;
    Some(from_tensor(name, &tensor))
}

/// The constant with which a `Reshape` gives `to` whatever the extents are that are not fixed:
/// these are copied from the same place, or one of them follows from the rest.
pub(super) fn reshape_target(from: &[Extent], to: &[Extent]) -> Option<Vec<i64>> {
    let mut is_copied = false;
    let mut is_open = false;
    let mut target = Vec::with_capacity(to.len());
    for (index, extent) in to.iter().enumerate() {
        target.push(match extent {
            // What the shape says already.
            Extent::Fixed(-1) if !is_open => {
                is_open = true;
                -1
            }
            Extent::Fixed(fixed) if *fixed > 0 => *fixed,
            extent if from.get(index) == Some(extent) => {
                is_copied |= matches!(extent, Extent::Symbol(_));
                0
            }
            Extent::Symbol(_) if !is_open && !is_copied => {
                is_open = true;
                -1
            }
            _ => return None,
        });
    }
    // With a copied extent of zero, nothing would follow from the rest.
    let is_new = to
        .iter()
        .zip(&target)
        .any(|(extent, number)| *number == -1 && matches!(extent, Extent::Symbol(_)));
    (!(is_new && (is_copied || target.contains(&0)))).then_some(target)
}

/// The constant with which an `Expand` gives the same as with `to`.
fn expand_target(from: &[Extent], to: &[Extent]) -> Option<Vec<i64>> {
    let offset = from.len().checked_sub(to.len());
    let number = |(index, extent): (usize, &Extent)| match extent {
        Extent::Fixed(fixed) => Some(*fixed),
        Extent::Symbol(_) => (from.get(offset? + index) == Some(extent)).then_some(1),
    };
    to.iter().enumerate().map(number).collect()
}
