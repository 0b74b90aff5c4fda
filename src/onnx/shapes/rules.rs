//! Which rule an operator follows, and the rules of operators that keep or broadcast shapes.

use crate::onnx::model::Model;
use crate::onnx::names::{int_attribute, ints_attribute};
use crate::onnx::proto::NodeProto;
use crate::onnx::proto::tensor_proto::DataType;

use super::{Extent, Fact, Shapes, given, layout, values, windows};

/// A node whose outputs are asked for.
pub(super) struct Query<'q, 'a> {
    pub(super) model: &'a Model,
    pub(super) shapes: &'q mut Shapes<'a>,
    pub(super) node: &'a NodeProto,
}

/// Axes that an operator is told.
pub(super) enum Axes {
    /// None were given.
    Default,
    These(Vec<i64>),
    /// Known only when the model runs.
    Unknown,
}

impl<'a> Query<'_, 'a> {
    /// What is known of an input; nothing of one that is not there.
    pub(super) fn input(&self, index: usize) -> Fact {
        given(self.node, index).and_then(|name| self.shapes.get(name)).cloned().unwrap_or_default()
    }

    pub(super) fn dims(&self, index: usize) -> Option<Vec<Extent>> {
        self.shapes.dims(given(self.node, index)?).map(<[_]>::to_vec)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        int_attribute(self.node, name, default)
    }

    pub(super) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        ints_attribute(self.node, name)
    }

    /// Numbers that an attribute or, from a later opset on, an input gives.
    pub(super) fn numbers(&self, attribute: &str, index: usize) -> Axes {
        if let Some(found) = self.ints(attribute) {
            return Axes::These(found.to_vec());
        }
        let Some(name) = given(self.node, index) else { return Axes::Default };
        let values = self.shapes.get(name).and_then(|fact| fact.values.as_deref());
        values.and_then(super::fixed).map_or(Axes::Unknown, Axes::These)
    }

    pub(super) fn fresh(&mut self) -> Extent {
        self.shapes.fresh()
    }
}

/// The operators whose first output is of the first input's shape and element type; sorted.
#[rustfmt::skip]
pub(super) const KEEPING: [&str; 58] = [
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan",
    "Atanh", "BatchNormalization", "BitwiseNot", "Ceil", "Celu", "Clip",
    "Cos", "Cosh", "CumSum", "Dropout", "Elu", "Erf",
    "Exp", "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish",
    "Hardmax", "Identity", "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu",
    "Log", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "Mish", "Neg",
    "Not", "PRelu", "RMSNormalization", "Reciprocal", "Relu", "Round",
    "ScatterElements", "ScatterND", "Selu", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt",
    "Tan", "Tanh", "ThresholdedRelu", "Trilu",
];

const BOOL: i32 = DataType::Bool as i32;
const INT64: i32 = DataType::Int64 as i32;

/// What is known of a node's outputs; fewer than it has where the others are unknown.
pub(super) fn infer<'a>(
    model: &'a Model,
    shapes: &mut Shapes<'a>,
    node: &'a NodeProto,
) -> Vec<Fact> {
    let mut query = Query { model, shapes, node };
    let mut found = outputs(&mut query);
    if let [only] = found.as_mut_slice() {
        only.values = values::infer(&mut query, only);
    }
    found
}

/// The type that an attribute of later opsets asks quantization for.
fn asked_type(query: &Query<'_, '_>) -> Option<i32> {
    i32::try_from(query.int("output_dtype", 0)).ok().filter(|dtype| *dtype != 0)
}

fn outputs(query: &mut Query<'_, '_>) -> Vec<Fact> {
    let first = query.input(0).dtype;
    let typed = |dtype: Option<i32>, dims| vec![Fact { dtype, dims, values: None }];
    match query.node.op_type() {
        op if KEEPING.binary_search(&op).is_ok() => typed(first, query.dims(0)),
        "IsInf" | "IsNaN" => typed(Some(BOOL), query.dims(0)),
        "Cast" => {
            let to = i32::try_from(query.int("to", 0)).ok();
            typed(to, query.dims(0))
        }
        "QuantizeLinear" => {
            let has_zero_point = query.node.input.get(2).is_some_and(|name| !name.is_empty());
            let default = (!has_zero_point).then_some(DataType::Uint8 as i32);
            let given = query.input(2).dtype.or(default);
            typed(asked_type(query).or(given), query.dims(0))
        }
        "DequantizeLinear" => {
            let given = query.input(1).dtype;
            typed(asked_type(query).or(given), query.dims(0))
        }
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Max" | "Min" | "Mean" | "Sum" | "And"
        | "Or" | "Xor" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" => {
            typed(first, broadcast_inputs(query))
        }
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => {
            typed(Some(BOOL), broadcast_inputs(query))
        }
        "Where" => typed(query.input(1).dtype, broadcast_inputs(query)),
        "Conv" => typed(first, windows::convolution(query)),
        "ConvTranspose" => typed(first, windows::transposed_convolution(query)),
        "MaxPool" | "AveragePool" | "LpPool" => typed(first, windows::pooling(query)),
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
            let pooled = query.dims(0).map(|mut dims| {
                dims.iter_mut().skip(2).for_each(|extent| *extent = Extent::Fixed(1));
                dims
            });
            typed(first, pooled)
        }
        "Gemm" => typed(first, windows::gemm(query)),
        "MatMul" => typed(first, windows::matmul(query)),
        "Shape" => typed(Some(INT64), layout::shape(query)),
        "Size" => typed(Some(INT64), Some(vec![])),
        "Constant" => layout::constant(query).into_iter().collect(),
        "ConstantOfShape" => typed(layout::fill_type(query.node), query.input(0).values),
        "Expand" => typed(first, layout::expand(query)),
        "Reshape" => typed(first, layout::reshape(query)),
        "Flatten" => typed(first, layout::flatten(query)),
        "Transpose" => typed(first, layout::transpose(query)),
        "Squeeze" => typed(first, layout::squeeze(query)),
        "Unsqueeze" => typed(first, layout::unsqueeze(query)),
        "Concat" => typed(first, layout::concat(query)),
        "Split" => layout::split(query),
        "Slice" => typed(first, layout::slice(query)),
        "Pad" => typed(first, layout::pad(query)),
        "Tile" => typed(first, layout::tile(query)),
        "Gather" => typed(first, layout::gather(query)),
        "GatherElements" => typed(first, query.dims(1)),
        "ArgMax" | "ArgMin" => typed(Some(INT64), layout::arg(query)),
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
            typed(first, layout::reduce(query))
        }
        _ => vec![],
    }
}

fn broadcast_inputs(query: &mut Query<'_, '_>) -> Option<Vec<Extent>> {
    let mut dims = query.dims(0)?;
    for index in 1..query.node.input.len() {
        let other = query.dims(index)?;
        dims = broadcast(query, &dims, &other);
    }
    Some(dims)
}

/// The common shape of two tensors.
pub(super) fn broadcast(
    query: &mut Query<'_, '_>,
    left: &[Extent],
    right: &[Extent],
) -> Vec<Extent> {
    let rank = left.len().max(right.len());
    let at = |dims: &[Extent], index: usize| {
        (index + dims.len()).checked_sub(rank).map_or(Extent::Fixed(1), |index| dims[index])
    };
    let pairs = (0..rank).map(|index| match (at(left, index), at(right, index)) {
        (same, other) if same == other => same,
        (Extent::Fixed(1), other) | (other, Extent::Fixed(1)) => other,
        // The other extent is 1 or the same when the model runs.
        (Extent::Fixed(extent), _) | (_, Extent::Fixed(extent)) => Extent::Fixed(extent),
        _ => query.fresh(),
    });
    pairs.collect()
}
