//! What a model says of its tensors: inputs to feed, outputs, and the types of what is between.

use std::collections::BTreeSet;

use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::tensor_shape_proto::dimension::Value as DimValue;
use crate::onnx::proto::{GraphProto, ValueInfoProto, type_proto};
use crate::tensor::{DType, Dim, TensorSpec};

use super::fault::Fault;

/// Inputs that must be fed and outputs, in the model's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
}

/// Reads the signature of a graph; fails on types that tensors here cannot have.
pub(super) fn signature(graph: &GraphProto) -> Result<Signature, Fault> {
    let initialized: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !initialized.contains(input.name()))
        .map(|input| spec(input, "input"))
        .collect::<Result<_, _>>()?;
    let outputs =
        graph.output.iter().map(|output| spec(output, "output")).collect::<Result<_, _>>()?;
    Ok(Signature { inputs, outputs })
}

/// What a model says of one tensor.
pub(super) fn spec(info: &ValueInfoProto, role: &str) -> Result<TensorSpec, Fault> {
    let tensor = match info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        Some(_) => {
            return Err(Fault::Model(format!("{role} `{}` is not a tensor", info.name())));
        }
        None => return Err(Fault::Model(format!("{role} `{}` has no type", info.name()))),
    };
    let dtype = dtype(tensor.elem_type()).ok_or_else(|| {
        Fault::Model(format!(
            "{role} `{}` has elements of type {}, which cannot be exchanged with this backend",
            info.name(),
            type_name(tensor.elem_type())
        ))
    })?;
    let dims = tensor.shape.as_ref().map(|shape| {
        shape
            .dim
            .iter()
            .map(|dim| match &dim.value {
                Some(DimValue::DimValue(extent)) => {
                    usize::try_from(*extent).map_or(Dim::Any, Dim::Fixed)
                }
                Some(DimValue::DimParam(name)) if !name.is_empty() => Dim::Symbol(name.clone()),
                _ => Dim::Any,
            })
            .collect()
    });
    Ok(TensorSpec { name: info.name().to_owned(), dtype, dims })
}

/// The element type behind ONNX's number for it.
pub(super) fn dtype(number: i32) -> Option<DType> {
    Some(match DataType::try_from(number).ok()? {
        DataType::Float => DType::Float32,
        DataType::Double => DType::Float64,
        DataType::Float16 => DType::Float16,
        DataType::Bfloat16 => DType::BFloat16,
        DataType::Float8e4m3fn => DType::Float8E4M3,
        DataType::Float8e5m2 => DType::Float8E5M2,
        DataType::Int64 => DType::Int64,
        DataType::Int32 => DType::Int32,
        DataType::Int16 => DType::Int16,
        DataType::Int8 => DType::Int8,
        DataType::Uint64 => DType::UInt64,
        DataType::Uint32 => DType::UInt32,
        DataType::Uint16 => DType::UInt16,
        DataType::Uint8 => DType::UInt8,
        DataType::Bool => DType::Bool,
        _ => return None,
    })
}

/// ONNX's name of a type.
pub(super) fn type_name(number: i32) -> String {
    DataType::try_from(number)
        .map_or_else(|_| format!("number {number}"), |kind| kind.as_str_name().to_owned())
}
