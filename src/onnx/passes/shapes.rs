//! Writes down inferred element types and shapes of intermediate tensors. What the model already
//! says stays: its symbolic extents mean more than what was inferred.

use std::collections::HashSet;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{AttributeProto, TensorProto, ValueInfoProto};
use crate::onnx::signature::value_info;
use crate::onnx::tensors::{byte_size, dtype};
use crate::onnx::walk;
use crate::tensor::{Dim, TensorSpec};

use super::{Evaluator, Pass};

pub(super) struct InferShapes;

impl Pass for InferShapes {
    fn name(&self) -> &'static str {
        "infer-shapes"
    }

    fn run(&self, model: &mut Model, evaluator: &dyn Evaluator) -> Result<usize, OnnxError> {
        // tract takes the shape of one branch of an `If` for the result of both, and goes on from
        // there: saying nothing is safe, saying it wrongly is not.
        if model.graph.node.iter().any(|node| walk::subgraphs(node).next().is_some()) {
            return Ok(0);
        }
        let mut inferred = evaluator.infer_shapes(&without_weights(model));
        let graph = &mut model.graph;
        let described: HashSet<&str> =
            graph.value_info.iter().chain(&graph.output).map(ValueInfoProto::name).collect();
        let added: Vec<_> = graph
            .node
            .iter()
            .flat_map(|node| &node.output)
            .filter(|name| !name.is_empty() && !described.contains(name.as_str()))
            .filter_map(|name| {
                let (dtype, dims) = inferred.remove(name)?;
                Some(value_info(&TensorSpec { name: name.clone(), dtype, dims }))
            })
            .collect();
        let count = added.len();
        graph.value_info.extend(added);
        Ok(count)
    }
}

/// Tensors up to this many bytes may be shapes or axes, whose values decide other shapes.
const SMALL: u64 = 1024;

/// The model with its weights as inputs of fixed shape: nothing else of them matters here.
fn without_weights(model: &Model) -> Model {
    let mut light = model.clone();
    let graph = &mut light.graph;
    let declared: HashSet<String> =
        graph.input.iter().map(|input| input.name().to_owned()).collect();
    graph.initializer.retain(|tensor| {
        let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok().map(Dim::Fixed));
        let known = (dtype(tensor.data_type()), dims.collect::<Option<Vec<_>>>());
        let (Some(dtype), Some(dims)) = known else { return true };
        if byte_size(tensor).is_none_or(|size| size <= SMALL) {
            return true;
        }
        if !declared.contains(tensor.name()) {
            let name = tensor.name().to_owned();
            graph.input.push(value_info(&TensorSpec { name, dtype, dims: Some(dims) }));
        }
        false
    });
    for node in &mut graph.node {
        // Said aloud, because tract takes float64 for the default of this one.
        if node.op_type() == "ConstantOfShape" && node.attribute.is_empty() {
            node.attribute.push(zero_attribute());
        }
    }
    light
}

/// The standard's default of `value`.
fn zero_attribute() -> AttributeProto {
    AttributeProto {
        name: Some("value".into()),
        r#type: Some(AttributeType::Tensor as i32),
        t: Some(TensorProto {
            dims: vec![1],
            data_type: Some(DataType::Float as i32),
            float_data: vec![0.0],
            ..TensorProto::default()
        }),
        ..AttributeProto::default()
    }
}
