//! Which operators may be computed ahead, of which type their results are, and how large those can
//! get: known before anything is computed, so that a small model cannot demand a huge constant.

use crate::onnx::model::Model;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::tensors::elements;
use crate::tensor::DType;

use crate::onnx::names::int_attribute;

/// How an operator's result grows with its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// No larger than the first input.
    Input,
    /// No larger than all inputs together.
    Sum,
    /// As large as the inputs broadcast together.
    Broadcast,
    /// Rows of the first input times columns of the second.
    Product,
    /// As many rows of the first input as the second has elements.
    Gather,
    /// As the values of the first input say, a shape.
    Shape,
    /// As the first input broadcast to the values of the second, a shape.
    Expand,
    /// The first input times the values of the second.
    Repeats,
    /// As the three inputs say.
    Range,
    /// A few numbers.
    Tiny,
}

/// For which elements an operator's result is the same on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exact {
    /// All: it moves, compares or rounds once, as IEEE 754 says.
    Always,
    /// Integers: sums of floating-point numbers depend on their order.
    Integers,
}

/// The operators whose result is the same every time and everywhere and whose result's size is
/// known. Left out on purpose: whatever draws random numbers; what mathematical libraries round
/// differently (`Exp`, `Sin`, ..), because an optimized model has the same bytes on every machine;
/// `QuantizeLinear` and `DequantizeLinear`, which say in which precision a backend has to compute.
#[rustfmt::skip]
const FOLDABLE: [(&str, Growth, Exact); 68] = {
    use Exact::{Always, Integers};
    use Growth::{Broadcast, Gather, Input, Product, Range, Repeats, Shape, Sum, Tiny, Expand};
    [
        ("Abs", Input, Always),
        ("Add", Broadcast, Always),
        ("And", Broadcast, Always),
        ("ArgMax", Input, Always),
        ("ArgMin", Input, Always),
        ("BitwiseAnd", Broadcast, Always),
        ("BitwiseNot", Input, Always),
        ("BitwiseOr", Broadcast, Always),
        ("BitwiseXor", Broadcast, Always),
        ("Cast", Input, Always),
        ("Ceil", Input, Always),
        ("Clip", Input, Always),
        ("Concat", Sum, Always),
        ("ConstantOfShape", Shape, Always),
        ("CumSum", Input, Integers),
        ("DepthToSpace", Input, Always),
        ("Div", Broadcast, Always),
        ("Equal", Broadcast, Always),
        ("Expand", Expand, Always),
        ("Flatten", Input, Always),
        ("Floor", Input, Always),
        ("Gather", Gather, Always),
        ("GatherElements", Sum, Always),
        ("Gemm", Product, Integers),
        ("Greater", Broadcast, Always),
        ("GreaterOrEqual", Broadcast, Always),
        ("IsInf", Input, Always),
        ("IsNaN", Input, Always),
        ("Less", Broadcast, Always),
        ("LessOrEqual", Broadcast, Always),
        ("MatMul", Product, Integers),
        ("Max", Broadcast, Always),
        ("Min", Broadcast, Always),
        ("Mod", Broadcast, Integers),
        ("Mul", Broadcast, Always),
        ("Neg", Input, Always),
        ("Not", Input, Always),
        ("Or", Broadcast, Always),
        ("Pow", Broadcast, Integers),
        ("Range", Range, Integers),
        ("Reciprocal", Input, Always),
        ("ReduceL1", Input, Integers),
        ("ReduceMax", Input, Always),
        ("ReduceMin", Input, Always),
        ("ReduceProd", Input, Integers),
        ("ReduceSum", Input, Integers),
        ("ReduceSumSquare", Input, Integers),
        ("Relu", Input, Always),
        ("Reshape", Input, Always),
        ("Round", Input, Always),
        ("ScatterElements", Input, Always),
        ("ScatterND", Input, Always),
        ("Shape", Tiny, Always),
        ("Sign", Input, Always),
        ("Size", Tiny, Always),
        ("Slice", Input, Always),
        ("SpaceToDepth", Input, Always),
        ("Split", Input, Always),
        ("Sqrt", Input, Always),
        ("Squeeze", Input, Always),
        ("Sub", Broadcast, Always),
        ("Sum", Broadcast, Always),
        ("Tile", Repeats, Always),
        ("Transpose", Input, Always),
        ("Trilu", Input, Always),
        ("Unsqueeze", Input, Always),
        ("Where", Broadcast, Always),
        ("Xor", Broadcast, Always),
    ]
};

fn find(op: &str) -> Option<(Growth, Exact)> {
    let at = FOLDABLE.binary_search_by_key(&op, |(name, ..)| name).ok()?;
    Some((FOLDABLE[at].1, FOLDABLE[at].2))
}

/// Whether an operator may be computed ahead on tensors of these types.
pub(super) fn is_foldable(op: &str, mut dtypes: impl Iterator<Item = Option<DType>>) -> bool {
    find(op).is_some_and(|(_, exact)| {
        exact == Exact::Always || dtypes.all(|dtype| dtype.is_some_and(|known| !known.is_float()))
    })
}

/// Whether the backend that computes ahead is right on these inputs. It adds and multiplies
/// integers in 32 bits, drops NaN where it compares, and takes the ends of the integer types in a
/// `Slice` for the end of the axis.
pub(super) fn is_computed_right(
    model: &Model,
    node: &NodeProto,
    inputs: &[Option<&TensorProto>],
) -> bool {
    let numbers = |index: usize| -> Option<Vec<f64>> {
        let tensor = inputs.get(index).copied().flatten()?;
        Some(model.values(tensor).ok()?.to_f64())
    };
    let all = || (0..inputs.len()).filter_map(numbers).flatten();
    let largest = |values: &[f64]| values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let fits = |bound: Option<f64>| bound.is_some_and(|bound| bound < f64::from(i32::MAX));
    match node.op_type() {
        "ArgMax" | "ArgMin" | "Clip" | "Max" | "Min" | "ReduceMax" | "ReduceMin" | "Relu"
        | "Sign" => all().all(f64::is_finite),
        "CumSum" | "ReduceL1" | "ReduceSum" => {
            fits(numbers(0).map(|values| values.iter().map(|value| value.abs()).sum()))
        }
        "ReduceSumSquare" => {
            fits(numbers(0).map(|values| values.iter().map(|value| value * value).sum()))
        }
        "ReduceProd" => {
            fits(numbers(0).map(|values| values.iter().map(|value| value.abs().max(1.0)).product()))
        }
        "Gemm" | "MatMul" => fits(numbers(0).zip(numbers(1)).map(|(left, right)| {
            let terms = left.iter().map(|value| value.abs()).sum::<f64>();
            terms * largest(&right) + numbers(2).map_or(0.0, |added| largest(&added))
        })),
        "Pow" => fits(numbers(0).zip(numbers(1)).map(|(bases, exponents)| {
            if exponents.iter().any(|exponent| *exponent < 0.0) {
                return f64::INFINITY;
            }
            largest(&bases).max(1.0).powf(largest(&exponents))
        })),
        "Slice" => {
            let steps = numbers(4).unwrap_or_default();
            let least = f64::from(i32::MIN);
            let ends = [1, 2].into_iter().filter_map(numbers).flatten();
            steps.iter().all(|step| *step > 0.0) && ends.into_iter().all(|end| end > least)
        }
        _ => true,
    }
}

/// The widest element there is.
const ELEMENT: u64 = 8;
/// A shape has fewer axes than a `Shape` result of this many bytes.
const TINY: u64 = 1024;

/// An upper bound, in bytes, of what a foldable node gives; `None` where there is none or an input
/// is not what the operator takes.
pub(super) fn largest_result(
    model: &Model,
    node: &NodeProto,
    inputs: &[Option<&TensorProto>],
) -> Option<u64> {
    let input = |index: usize| inputs.get(index).copied().flatten();
    let numbers = |index: usize| Some(model.values(input(index)?).ok()?.to_f64());
    let count = |index: usize| elements(input(index)?);
    let bound = match find(node.op_type())?.0 {
        Growth::Tiny => return Some(TINY),
        Growth::Input => count(0)?,
        Growth::Sum => inputs
            .iter()
            .flatten()
            .try_fold(0_u64, |sum, tensor| sum.checked_add(elements(tensor)?))?,
        Growth::Broadcast => {
            let shapes: Option<Vec<_>> =
                inputs.iter().flatten().map(|tensor| extents(tensor)).collect();
            broadcast(shapes?)?
        }
        Growth::Product => {
            let rows = count(0)?;
            let columns = count(1)?;
            // An upper bound without looking at transpositions: the larger axis of the second.
            let widest = input(1)?.dims.iter().max().copied().unwrap_or(1);
            rows.checked_mul(u64::try_from(widest).ok()?)?.max(columns)
        }
        Growth::Gather => {
            let dims = &input(0)?.dims;
            let axis = int_attribute(node, "axis", 0);
            let rank = i64::try_from(dims.len()).ok()?;
            let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
            let extent = u64::try_from(*dims.get(axis)?).ok()?.max(1);
            (count(0)? / extent).checked_mul(count(1)?)?
        }
        Growth::Shape => product(&numbers(0)?)?,
        Growth::Expand => {
            let asked: Option<Vec<u64>> = numbers(1)?.into_iter().map(whole).collect();
            broadcast([extents(input(0)?)?, asked?])?
        }
        Growth::Repeats => product(&numbers(1)?)?.checked_mul(count(0)?)?,
        Growth::Range => {
            let [start, limit, delta] = [numbers(0)?, numbers(1)?, numbers(2)?]
                .map(|values| values.first().copied().unwrap_or(f64::NAN));
            whole(((limit - start) / delta).ceil().max(0.0))?
        }
    };
    bound.checked_mul(ELEMENT)
}

/// The element type, in the format's numbers, of all that a foldable node gives.
pub(super) fn result_type(node: &NodeProto, inputs: &[Option<&TensorProto>]) -> Option<i32> {
    let of_input = |index: usize| Some(inputs.get(index).copied().flatten()?.data_type());
    Some(match node.op_type() {
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Not" | "And" | "Or"
        | "Xor" | "IsInf" | "IsNaN" => DataType::Bool as i32,
        "ArgMax" | "ArgMin" | "Shape" | "Size" => DataType::Int64 as i32,
        "Cast" => i32::try_from(int_attribute(node, "to", 0)).ok()?,
        "ConstantOfShape" => {
            let value = node.attribute.iter().find(|attribute| attribute.name() == "value");
            value.map_or(Some(DataType::Float as i32), |value| {
                value.t.as_ref().map(TensorProto::data_type)
            })?
        }
        "Where" => of_input(1)?,
        _ => of_input(0)?,
    })
}

fn extents(tensor: &TensorProto) -> Option<Vec<u64>> {
    tensor.dims.iter().map(|&extent| u64::try_from(extent).ok()).collect()
}

/// Number of elements of shapes broadcast together.
fn broadcast(shapes: impl AsRef<[Vec<u64>]>) -> Option<u64> {
    let shapes = shapes.as_ref();
    let rank = shapes.iter().map(Vec::len).max()?;
    (0..rank).try_fold(1_u64, |product, from_last| {
        let extents = shapes.iter().filter_map(|shape| shape.iter().rev().nth(from_last));
        product.checked_mul(extents.max().copied()?)
    })
}

fn product(extents: &[f64]) -> Option<u64> {
    extents.iter().try_fold(1_u64, |product, &extent| product.checked_mul(whole(extent)?))
}

/// A count that is a number below 2^53.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn whole(value: f64) -> Option<u64> {
    (0.0..9_007_199_254_740_992.0).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::operators;

    #[test]
    fn the_list_is_sorted_and_of_the_standard() {
        assert!(FOLDABLE.is_sorted_by(|a, b| a.0 < b.0));
        for (op, ..) in FOLDABLE {
            assert!(operators::lookup(op, 22).is_some(), "{op}");
        }
    }

    #[test]
    fn sums_are_exact_for_integers_only() {
        assert!(is_foldable("MatMul", [Some(DType::Int64)].into_iter()));
        assert!(!is_foldable("MatMul", [Some(DType::Float32)].into_iter()));
        assert!(is_foldable("Add", [Some(DType::Float32)].into_iter()));
        assert!(!is_foldable("RandomNormal", [].into_iter()));
        assert!(!is_foldable("DequantizeLinear", [Some(DType::Int8)].into_iter()));
    }

    #[test]
    fn broadcast_counts_elements_of_the_common_shape() {
        assert_eq!(broadcast([vec![5, 1], vec![7]]), Some(35));
        assert_eq!(broadcast([vec![], vec![3]]), Some(3));
        assert_eq!(broadcast([vec![u64::MAX, 1], vec![2]]), None);
    }
}
