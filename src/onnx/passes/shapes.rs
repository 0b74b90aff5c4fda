//! Writes down inferred element types and shapes of intermediate tensors. What the model already
//! says stays: its symbolic extents mean more than what was inferred.

use std::collections::HashSet;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::signature::value_info;
use crate::tensor::TensorSpec;

use super::{Evaluator, Pass};

pub(super) struct InferShapes;

impl Pass for InferShapes {
    fn name(&self) -> &'static str {
        "infer-shapes"
    }

    fn run(&self, model: &mut Model, evaluator: &dyn Evaluator) -> Result<usize, OnnxError> {
        let mut inferred = evaluator.infer_shapes(model);
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
