//! Outputs whose element type an attribute decides.

use crate::onnx::names::int_attribute;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{AttributeProto, NodeProto, TensorProto};

use super::known;

/// The type of an output where an attribute has a say in it: `None` where none has, `Some(None)`
/// where it has and its answer is not known.
#[expect(clippy::option_option, reason = "whether there is an answer, and the answer")]
pub(super) fn output(
    node: &NodeProto,
    index: usize,
    inputs: &[Option<DataType>],
) -> Option<Option<DataType>> {
    let input = |index: usize| inputs.get(index).copied().flatten();
    Some(match (node.op_type(), index) {
        ("Cast" | "BitCast", _) => named(node, "to"),
        ("Constant", _) => constant(node),
        ("ConstantOfShape", _) => match attribute(node, "value") {
            None => Some(DataType::Float),
            Some(value) => known(value.t.as_ref().map_or(0, TensorProto::data_type)),
        },
        ("RandomNormal" | "RandomUniform", _) => named(node, "dtype").or(Some(DataType::Float)),
        ("Multinomial", _) => named(node, "dtype").or(Some(DataType::Int32)),
        ("EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli", _) => {
            named(node, "dtype").or_else(|| input(0))
        }
        ("MelWeightMatrix", _) => named(node, "output_datatype").or(Some(DataType::Float)),
        ("HannWindow" | "HammingWindow" | "BlackmanWindow", _) => {
            named(node, "output_datatype").or(Some(DataType::Float))
        }
        // Mean and deviation are of the type that they are computed in.
        ("LayerNormalization", 1..) => named(node, "stash_type").or(Some(DataType::Float)),
        ("QuantizeLinear", _) => {
            named(node, "output_dtype").or_else(|| input(2)).or(Some(DataType::Uint8))
        }
        ("DequantizeLinear", _) => match named(node, "output_dtype") {
            None => input(1),
            said => said,
        },
        _ => return None,
    })
}

/// The type that an attribute names by its number; 0 names none.
fn named(node: &NodeProto, name: &str) -> Option<DataType> {
    known(i32::try_from(int_attribute(node, name, 0)).ok()?)
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name() == name)
}

fn constant(node: &NodeProto) -> Option<DataType> {
    let [attribute] = node.attribute.as_slice() else { return None };
    match attribute.name() {
        "value" => known(attribute.t.as_ref()?.data_type()),
        "value_float" | "value_floats" => Some(DataType::Float),
        "value_int" | "value_ints" => Some(DataType::Int64),
        "value_string" | "value_strings" => Some(DataType::String),
        _ => None,
    }
}
