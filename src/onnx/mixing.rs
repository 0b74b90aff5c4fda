//! Whether a node computes across samples: then a model for one batch size means something else at
//! another one.

use super::model::Model;
use super::names::int_attribute;
use super::proto::NodeProto;
use super::shapes::{Extent, Shapes, axis};

/// Whether the node reads samples and what it gives depends on which others are in the batch.
/// `batch` is the extent that counts samples.
pub(super) fn mixes(model: &Model, node: &NodeProto, batch: Extent, shapes: &Shapes<'_>) -> bool {
    // These look at extents only, or move elements: what that means is seen in the shapes.
    if matches!(node.op_type(), "Shape" | "Size" | "Reshape") {
        return false;
    }
    let place = |name: &str| shapes.dims(name)?.iter().position(|extent| *extent == batch);
    let read = node.input.iter().find_map(|name| Some((name.as_str(), place(name)?)));
    let Some((data, at)) = read else { return false };
    let results = || node.output.iter().filter(|name| !name.is_empty());
    // Samples that no result counts were summed up, or one of them was taken.
    if results().any(|name| shapes.dims(name).is_some() && place(name).is_none()) {
        return true;
    }
    let rank = shapes.dims(data).map_or(0, <[_]>::len);
    let default = if model.opset().is_some_and(|opset| opset >= 13) { -1 } else { 1 };
    let along = |default: i64| axis(int_attribute(node, "axis", default), rank);
    match node.op_type() {
        "Softmax" | "LogSoftmax" | "Hardmax" if default == -1 => along(-1) == Some(at),
        // Up to opset 12, over all axes from this one on.
        "Softmax" | "LogSoftmax" | "Hardmax" => along(1).is_none_or(|first| first <= at),
        "LayerNormalization" | "RMSNormalization" => along(-1).is_none_or(|first| first <= at),
        "LpNormalization" => along(-1) == Some(at),
        "CumSum" | "CumProd" => {
            let values = node.input.get(1).and_then(|name| shapes.get(name)?.values.as_deref());
            match values {
                Some([Extent::Fixed(along)]) => axis(*along, rank) == Some(at),
                _ => true,
            }
        }
        "Gemm" => node.input.get(2).is_some_and(|added| beside(shapes, added, batch, 0, 2)),
        op if BROADCASTING.binary_search(&op).is_ok() => {
            let Some(result) = results().next() else { return false };
            let rank = shapes.dims(result).map_or(0, <[_]>::len);
            let at = place(result).unwrap_or(0);
            node.input.iter().any(|name| beside(shapes, name, batch, at, rank))
        }
        _ => false,
    }
}

/// Whether an operand has something else than samples, or than one for all, beside the samples of
/// a result in which they are axis `at` of `rank`.
fn beside(shapes: &Shapes<'_>, operand: &str, batch: Extent, at: usize, rank: usize) -> bool {
    let Some(dims) = shapes.dims(operand) else { return false };
    let Some(missing) = rank.checked_sub(dims.len()) else { return false };
    dims.iter().enumerate().any(|(index, extent)| {
        let is_there = index + missing == at;
        is_there && *extent != batch && *extent != Extent::Fixed(1) || !is_there && *extent == batch
    })
}

/// Operators that bring their operands to a common shape. Sorted.
#[rustfmt::skip]
const BROADCASTING: [&str; 23] = [
    "Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater",
    "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu",
    "Pow", "Sub", "Sum", "Where", "Xor",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(BROADCASTING.is_sorted());
    }
}
