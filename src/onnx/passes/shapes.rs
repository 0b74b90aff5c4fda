//! Writes down inferred element types and shapes of intermediate tensors. What the model already
//! says stays: its symbolic extents mean more than what was inferred.

use std::collections::HashSet;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::signature::value_info;
use crate::onnx::tensors::{byte_size, dtype};
use crate::tensor::{Dim, TensorSpec};

use super::{Evaluator, Pass};

pub(super) struct InferShapes;

impl Pass for InferShapes {
    fn name(&self) -> &'static str {
        "infer-shapes"
    }

    fn run(&self, model: &mut Model, evaluator: &dyn Evaluator) -> Result<usize, OnnxError> {
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
    light
}
