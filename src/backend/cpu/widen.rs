//! Half precision as float32: tract knows no bfloat16 and fails on part of the float16 graphs, so
//! both are widened before it sees them. Results are the exact ones a half-precision engine rounds,
//! which is what a reference should give; inputs and outputs keep the declared type at the edge.

use crate::onnx::Model;
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

use super::fault::Fault;
use super::weights;

/// Rewrites every float16 and bfloat16 value of the model to float32.
pub(super) fn rewrite(model: &mut Model) -> Result<(), Fault> {
    let mut graph = std::mem::take(&mut model.graph);
    let outcome = widen_graph(&mut graph, model);
    model.graph = graph;
    outcome
}

fn widen_graph(graph: &mut GraphProto, model: &Model) -> Result<(), Fault> {
    for tensor in &mut graph.initializer {
        widen_tensor(tensor, model)?;
    }
    let values = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    values.for_each(widen_info);
    for node in &mut graph.node {
        widen_node(node);
        for attribute in &mut node.attribute {
            for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
                widen_tensor(tensor, model)?;
            }
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                widen_graph(inner, model)?;
            }
        }
    }
    Ok(())
}

fn is_half(number: i32) -> bool {
    number == DataType::Float16 as i32 || number == DataType::Bfloat16 as i32
}

fn widen_info(info: &mut ValueInfoProto) {
    let kind = info.r#type.as_mut().and_then(|kind| kind.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = kind
        && is_half(tensor.elem_type())
    {
        tensor.elem_type = Some(DataType::Float as i32);
    }
}

/// Attributes that hold an element type's number.
fn widen_node(node: &mut NodeProto) {
    for attribute in &mut node.attribute {
        if matches!(attribute.name(), "to" | "dtype" | "output_dtype")
            && attribute.i.and_then(|number| i32::try_from(number).ok()).is_some_and(is_half)
        {
            attribute.i = Some(i64::from(DataType::Float as i32));
        }
    }
}

fn widen_tensor(tensor: &mut TensorProto, model: &Model) -> Result<(), Fault> {
    if !is_half(tensor.data_type()) {
        return Ok(());
    }
    let values = weights::values(model, tensor)?;
    #[expect(clippy::cast_possible_truncation, reason = "every half-precision value is a float32")]
    let bytes: Vec<u8> = values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
    tensor.data_type = Some(DataType::Float as i32);
    tensor.int32_data.clear();
    tensor.external_data.clear();
    tensor.data_location = Some(DataLocation::Default as i32);
    tensor.raw_data = Some(bytes.into());
    Ok(())
}
