//! What 16 bits do to each operator: which need the range or the digits of float32, and which only
//! hand values on. Operators in no list are low: they multiply and add, which is what 16 bits are
//! for, and accumulate in float32 on the hardware there is.

use crate::onnx::names::int_attribute;
use crate::onnx::proto::NodeProto;
use crate::onnx::proto::tensor_proto::DataType;

/// How an operator's precision is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Stays in float32; why.
    Range(&'static str),
    /// The work of a network: 16 bits unless something speaks against it.
    Compute,
    /// One cheap step for each element: goes with what is around it.
    Elementwise,
    /// Hands values on, in other bits, or selects among them: goes with what is around it.
    Movement,
    /// Changes the element type itself.
    Cast,
}

const SUMS: &str = "sums up many values";
const POWERS: &str = "small changes of its input are large ones of its output";
const SOFTMAX: &str = "exponentials and their sum";
const NORMALIZATION: &str = "normalizes by a sum of squares";
const RECURRENT: &str = "errors add up from step to step";
const COORDINATES: &str = "its inputs are coordinates or angles, which need digits";
const RANDOM: &str = "draws its values in float32";
const LOSS: &str = "a loss";
pub(super) const QUANTIZATION: &str = "its scale says what integers mean";
const TYPE: &str = "what it gives depends on the type of its input";
const SIGNAL: &str = "a transformation of signals";

/// What becomes of an operator of the standard.
pub(super) fn class(node: &NodeProto) -> Class {
    let op = node.op_type();
    match op {
        "ReduceSum" | "ReduceMean" | "ReduceSumSquare" | "ReduceL1" | "ReduceL2" | "ReduceProd"
        | "ReduceLogSum" | "ReduceLogSumExp" | "CumSum" | "CumProd" | "LpPool" | "GlobalLpPool" => {
            Class::Range(SUMS)
        }
        "Pow" | "Exp" | "Log" | "Det" | "Cosh" | "Sinh" | "Acosh" | "Atanh" => Class::Range(POWERS),
        "Softmax" | "LogSoftmax" => Class::Range(SOFTMAX),
        // These compute the statistics in the type that `stash_type` names, by default float32.
        "LayerNormalization" | "GroupNormalization" | "RMSNormalization"
            if stashes_float32(node) =>
        {
            Class::Compute
        }
        "InstanceNormalization"
        | "LRN"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "LayerNormalization"
        | "GroupNormalization"
        | "RMSNormalization" => Class::Range(NORMALIZATION),
        "LSTM" | "GRU" | "RNN" => Class::Range(RECURRENT),
        "Sin" | "Cos" | "Tan" | "Range" | "GridSample" | "AffineGrid" | "RoiAlign"
        | "MaxRoiPool" | "NonMaxSuppression" | "RotaryEmbedding" => Class::Range(COORDINATES),
        "RandomNormal" | "RandomUniform" | "RandomNormalLike" | "RandomUniformLike"
        | "Bernoulli" | "Multinomial" | "EyeLike" => Class::Range(RANDOM),
        "NegativeLogLikelihoodLoss" | "SoftmaxCrossEntropyLoss" => Class::Range(LOSS),
        "DynamicQuantizeLinear" | "QLinearConv" | "QLinearMatMul" => Class::Range(QUANTIZATION),
        "DFT" | "STFT" | "MelWeightMatrix" | "HannWindow" | "HammingWindow" | "BlackmanWindow" => {
            Class::Range(SIGNAL)
        }
        "CastLike" | "BitCast" => Class::Range(TYPE),
        "Cast" => Class::Cast,
        _ if ELEMENTWISE.binary_search(&op).is_ok() => Class::Elementwise,
        _ if MOVEMENT.binary_search(&op).is_ok() => Class::Movement,
        _ => Class::Compute,
    }
}

fn stashes_float32(node: &NodeProto) -> bool {
    let float32 = i64::from(DataType::Float as i32);
    int_attribute(node, "stash_type", float32) == float32
}

/// Sorted.
#[rustfmt::skip]
const ELEMENTWISE: [&str; 48] = [
    "Abs", "Acos", "Add", "Asin", "Asinh", "Atan", "Ceil", "Celu", "Clip", "Div", "Elu", "Equal",
    "Erf", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "IsInf",
    "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "PRelu", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Softplus",
    "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu", "Where",
];

/// Sorted.
#[rustfmt::skip]
const MOVEMENT: [&str; 43] = [
    "ArgMax", "ArgMin", "CenterCropPad", "Compress", "Concat", "ConstantOfShape", "DepthToSpace",
    "DequantizeLinear", "Dropout", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "GlobalMaxPool",
    "Hardmax", "Identity", "MaxPool", "MaxUnpool", "NonZero", "OneHot", "Pad", "QuantizeLinear", "ReduceMax",
    "ReduceMin", "Reshape", "ReverseSequence", "Scatter", "ScatterElements", "ScatterND", "Shape",
    "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "TensorScatter", "Tile", "TopK",
    "Transpose", "Trilu", "Unique", "Unsqueeze",
];

/// Inputs that stay float32 though the standard would take 16 bits: sizes of regions.
pub(super) const KEPT_INPUTS: [(&str, usize); 1] = [("Resize", 1)];

/// Elementwise operators whose result is small however large their input is.
pub(super) fn is_bounding(op: &str) -> bool {
    matches!(op, "Clip" | "Erf" | "HardSigmoid" | "Sigmoid" | "Sign" | "Softsign" | "Tanh")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::operators;
    use crate::onnx::proto::AttributeProto;

    #[test]
    fn the_lists_are_sorted_and_of_the_standard() {
        assert!(ELEMENTWISE.is_sorted_by(|a, b| a < b));
        assert!(MOVEMENT.is_sorted_by(|a, b| a < b));
        for op in ELEMENTWISE.iter().chain(&MOVEMENT) {
            let newest = *operators::OPSETS.end();
            assert!(operators::lookup(op, newest).is_some(), "{op}");
        }
    }

    #[test]
    fn statistics_in_float32_let_a_normalization_be_low() {
        let mut node =
            NodeProto { op_type: Some("LayerNormalization".into()), ..NodeProto::default() };
        assert_eq!(class(&node), Class::Compute);
        node.attribute.push(AttributeProto {
            name: Some("stash_type".into()),
            i: Some(DataType::Bfloat16 as i64),
            ..AttributeProto::default()
        });
        assert_eq!(class(&node), Class::Range(NORMALIZATION));
    }
}
