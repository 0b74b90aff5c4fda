//! Precision on libraries that choose it themselves (8.6; 10 where that is asked for).
//!
//! There the graph's types are wishes. For a graph that was converted to FP16, or has Q/DQ nodes,
//! the flags allow those precisions and every layer that the graph keeps in FP32 is held there,
//! so that the same model gives the same engine as on a library that types strongly.

use std::collections::BTreeSet;

use crate::backend::BackendError;
use crate::onnx::proto::tensor_proto::DataType as OnnxType;
use crate::onnx::proto::{GraphProto, NodeProto};
use crate::onnx::{Model, node_name};

use super::super::NAME;
use super::super::error::TrtError;
use super::super::generation::Generation;
use super::super::handle::{Config, Layer, Network};
use super::super::options::{LayerPrecision, Options, PrecisionConstraints};
use super::super::sys::{BuilderFlag, DataType, LayerType};
use super::graph_types::GraphTypes;

/// The element types that a library lacks, of those a model may have.
const NOT_IN_8_6: [OnnxType; 7] = [
    OnnxType::Bfloat16,
    OnnxType::Float8e4m3fn,
    OnnxType::Float8e4m3fnuz,
    OnnxType::Float8e5m2,
    OnnxType::Float8e5m2fnuz,
    OnnxType::Int4,
    OnnxType::Uint4,
];

/// Refuses a model in a precision that the library does not have, by its first node.
pub(super) fn check(types: &GraphTypes, generation: Generation) -> Result<(), BackendError> {
    if generation != Generation::V8_6 {
        return Ok(());
    }
    let (place, lacking, alternative) = if let Some((dtype, place)) = types.first_of(&NOT_IN_8_6) {
        let alternative = match dtype {
            OnnxType::Bfloat16 => "convert the model to float16 or float32",
            OnnxType::Int4 | OnnxType::Uint4 => "quantize the model to int8",
            _ => "quantize the model to int8 (Q/DQ), or convert it to float16",
        };
        (place, dtype.as_str_name().to_lowercase(), alternative)
    } else if let Some(place) = &types.half_scale {
        // Its parser would read them as float32.
        let alternative = "keep them with `keep_fp32: [QuantizeLinear, DequantizeLinear]`";
        (place, "scales in float16".to_owned(), alternative)
    } else {
        return Ok(());
    };
    Err(BackendError::Unsupported {
        backend: NAME.into(),
        node: place.name.clone(),
        op: place.op.clone(),
        reason: format!(
            "TensorRT 8.6 has no {lacking}; {alternative}, or use TensorRT 10 or newer"
        ),
    })
}

/// Refuses a quantization with a zero point, which no library has but for accelerators of its own.
pub(super) fn check_zero_points(model: &Model) -> Result<(), BackendError> {
    let constants = model.constants();
    let has_zero_point = |node: &&NodeProto| {
        let zero_point = node.input.get(2).and_then(|name| constants.get(name.as_str()));
        matches!(node.op_type(), "QuantizeLinear" | "DequantizeLinear")
            && zero_point.is_some_and(|zero_point| {
                let values = model.values(zero_point);
                values.is_ok_and(|values| values.bytes().iter().any(|byte| *byte != 0))
            })
    };
    let Some(node) = model.graph.node.iter().find(has_zero_point) else { return Ok(()) };
    Err(BackendError::Unsupported {
        backend: NAME.into(),
        node: node_name(node).to_owned(),
        op: node.op_type().to_owned(),
        reason: "TensorRT has zero points of 0 only: quantize symmetrically, in `calibrate` with \
                 `symmetric: true`"
            .to_owned(),
    })
}

/// Whether the network takes its types from the graph alone.
pub(super) fn is_strongly_typed(options: &Options, can: bool) -> bool {
    can && options.settings.strongly_typed.unwrap_or(options.weakly_typed_by().is_none())
}

/// Sets flags and layers of a network that is not strongly typed.
pub(super) fn apply(
    config: &Config,
    network: &Network,
    graph: &GraphProto,
    types: &GraphTypes,
    options: &Options,
) -> Result<(), TrtError> {
    let asked = !options.precision.is_empty() || options.int8.is_some();
    let half = types.has(OnnxType::Float16);
    if half {
        config.set_flag(BuilderFlag::Fp16)?;
    }
    if types.quantized {
        config.set_flag(BuilderFlag::Int8)?;
    }
    // Layers are called as the nodes they come from.
    let float32 = if half && !asked { GraphTypes::float32_nodes(graph) } else { BTreeSet::new() };
    let mut constrained = false;
    for layer in network.layers() {
        let wanted = match options.settings.layer_precision(&layer.name()) {
            Some(LayerPrecision::Fp32) => Some(DataType::Float),
            Some(LayerPrecision::Fp16) => Some(DataType::Half),
            Some(LayerPrecision::Bf16) => Some(DataType::Bf16),
            Some(LayerPrecision::Int8) => Some(DataType::Int8),
            // What the graph itself keeps in FP32, where FP16 would be allowed.
            None if float32.contains(&layer.name()) => Some(DataType::Float),
            None => None,
        };
        if let Some(wanted) = wanted
            && computes(&layer)
            && (options.settings.layer_precision(&layer.name()).is_some()
                || layer.output_types().contains(&Some(DataType::Float)))
        {
            hold(&layer, wanted)?;
            constrained = true;
        }
    }
    if constrained {
        config.set_flag(match options.settings.precision_constraints {
            PrecisionConstraints::Obey => BuilderFlag::ObeyPrecisionConstraints,
            PrecisionConstraints::Prefer => BuilderFlag::PreferPrecisionConstraints,
        })?;
    }
    Ok(())
}

/// Holds a layer and its floating-point outputs to a precision.
fn hold(layer: &Layer<'_>, dtype: DataType) -> Result<(), TrtError> {
    layer.set_precision(dtype)?;
    for (output, found) in layer.output_types().into_iter().enumerate() {
        // INT8 outputs need scales; a layer in INT8 may give any type.
        let floating = matches!(found, Some(DataType::Float | DataType::Half));
        if floating && dtype != DataType::Int8 && !layer.gives_network_output(output) {
            layer.set_output_type(output, dtype)?;
        }
    }
    Ok(())
}

/// Whether a layer computes with floating-point numbers: shapes, constants and what only moves
/// values have no precision to set.
fn computes(layer: &Layer<'_>) -> bool {
    !matches!(
        layer.kind(),
        Some(
            LayerType::Constant
                | LayerType::Shape
                | LayerType::Shuffle
                | LayerType::Gather
                | LayerType::Slice
                | LayerType::Concatenation
                | LayerType::Identity
                | LayerType::Cast
                | LayerType::Quantize
                | LayerType::Dequantize
        )
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::onnx::precision::{Half, Io, Settings, lower};
    use crate::onnx::{Model, NodePatterns};

    use super::*;

    fn refused(keep: &[&str]) -> Option<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tensorrt");
        let mut model = Model::load(&Path::new(folder).join("digits_int8_qdq.onnx")).unwrap();
        let keep = NodePatterns::new(keep.iter().map(|&pattern| pattern.to_owned()));
        let settings = Settings { half: Half::Float16, io: Io::Keep, keep: &keep, observed: None };
        lower(&mut model, &settings).unwrap();
        let types = GraphTypes::of(&model.graph);
        check(&types, Generation::V10).unwrap();
        check(&types, Generation::V8_6).err().map(|error| error.to_string())
    }

    #[test]
    fn a_zero_point_is_refused_with_its_node() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tensorrt");
        let mut model = Model::load(&Path::new(folder).join("digits_int8_qdq.onnx")).unwrap();
        check_zero_points(&model).unwrap();
        let node = model.graph.node.iter().find(|node| node.op_type() == "QuantizeLinear").unwrap();
        let (name, zero_point) = (node_name(node).to_owned(), node.input[2].clone());
        let mut tensors = model.graph.initializer.iter_mut();
        let tensor = tensors.find(|tensor| tensor.name() == zero_point).unwrap();
        let count = usize::try_from(tensor.dims.iter().product::<i64>()).unwrap();
        (tensor.raw_data, tensor.int32_data) = (Some(vec![3; count].into()), vec![]);
        let told = check_zero_points(&model).unwrap_err().to_string();
        assert!(told.contains(&name) && told.contains("symmetric: true"), "{told}");
    }

    #[test]
    fn scales_of_16_bits_are_refused_where_they_would_be_read_as_32() {
        let told = refused(&[]).expect("TensorRT 8.6 does not take them");
        assert!(told.contains("keep_fp32: [QuantizeLinear, DequantizeLinear]"), "{told}");
        assert_eq!(refused(&["QuantizeLinear", "DequantizeLinear"]), None);
    }
}
