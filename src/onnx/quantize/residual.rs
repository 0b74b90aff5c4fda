//! Residual additions: where a layer with weights and a shortcut are added up, TensorRT takes the
//! addition into the layer if the shortcut comes quantized.

use std::collections::HashMap;

use crate::onnx::model::Model;
use crate::onnx::names::Uses;
use crate::onnx::proto::NodeProto;

use super::operands::Constants;
use super::{Place, Placement, Rules};

/// Adds the shortcuts of residual additions to a placement.
pub(super) fn find(
    model: &Model,
    rules: &Rules,
    constants: &Constants<'_>,
    placement: &mut Placement,
) {
    let graph = Graph::of(model, constants);
    let quantized = placement.quantized_nodes();
    for (at, node) in model.graph.node.iter().enumerate() {
        if !is_addition(model, node, constants) {
            continue;
        }
        let layers = [graph.layer(&node.input[0]), graph.layer(&node.input[1])];
        let shortcut = match layers {
            [Some(_), None] => 1,
            [None, Some(_)] => 0,
            // The layer that is deeper is computed last, and takes the addition along.
            [Some(a), Some(b)] => usize::from(graph.depths[a] >= graph.depths[b]),
            [None, None] => continue,
        };
        let layer = layers[1 - shortcut];
        let is_quantized = layer.is_some_and(|layer| quantized.contains(&layer));
        if let Some(pattern) = rules.skip.find(node) {
            placement.decide(node, false, format!("`skip` names `{pattern}`"));
        } else if !is_quantized {
            placement.decide(node, false, "the layer that it adds to is not quantized".into());
        } else {
            let place = Place { node: at, input: shortcut };
            placement.activation(&node.input[shortcut], place);
            placement.decide(node, true, "the shortcut".into());
        }
    }
}

/// Whether a node adds two computed tensors.
fn is_addition(model: &Model, node: &NodeProto, constants: &Constants<'_>) -> bool {
    (model.is_standard(node, "Add") || model.is_standard(node, "Sum"))
        && matches!(node.input.as_slice(), [a, b]
        if a != b && [a, b].iter().all(|name| {
            !name.is_empty() && constants.get(name).is_none()
        }))
}

struct Graph<'a> {
    model: &'a Model,
    constants: &'a Constants<'a>,
    producers: HashMap<&'a str, usize>,
    uses: Uses<'a>,
    /// Layers with weights on the longest way to each node, itself included.
    depths: Vec<usize>,
}

impl<'a> Graph<'a> {
    fn of(model: &'a Model, constants: &'a Constants<'a>) -> Self {
        let nodes = &model.graph.node;
        let outputs = |(at, node): (usize, &'a NodeProto)| {
            node.output.iter().map(move |name| (name.as_str(), at))
        };
        let producers: HashMap<&str, usize> = nodes.iter().enumerate().flat_map(outputs).collect();
        let mut depths: Vec<usize> = Vec::with_capacity(nodes.len());
        for node in nodes {
            // Nodes stand in topological order.
            let before = node.input.iter().filter_map(|name| producers.get(name.as_str()));
            let before = before.filter_map(|at| depths.get(*at)).max().copied().unwrap_or(0);
            depths.push(before + usize::from(constants.operands(node).is_some()));
        }
        Self { model, constants, producers, uses: Uses::of(&model.graph), depths }
    }

    /// The layer with weights that makes a tensor for this reader alone, with the batch norm and
    /// the constants added or multiplied after it.
    fn layer(&self, tensor: &str) -> Option<usize> {
        let mut tensor = tensor;
        loop {
            let used = self.uses.get(tensor);
            if used.reads != 1 || used.pinned {
                return None;
            }
            let at = *self.producers.get(tensor)?;
            let node = &self.model.graph.node[at];
            if !self.model.is_standard_operator(node) {
                return None;
            }
            let is_constant = |name: &String| self.constants.get(name).is_some();
            match node.op_type() {
                "Conv" | "ConvTranspose" | "Gemm" | "MatMul" => {
                    let has_weights = node.input.iter().any(is_constant);
                    return has_weights.then_some(at);
                }
                "BatchNormalization" => tensor = node.input.first()?,
                "Add" | "Mul" => {
                    tensor = match node.input.as_slice() {
                        [computed, constant] | [constant, computed]
                            if is_constant(constant) && !is_constant(computed) =>
                        {
                            computed
                        }
                        _ => return None,
                    };
                }
                _ => return None,
            }
        }
    }
}
