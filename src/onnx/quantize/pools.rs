//! Pooling between quantized layers: it runs on the quantized values where its input is quantized.

use std::collections::HashMap;

use crate::onnx::model::Model;
use crate::onnx::proto::NodeProto;

use super::{Place, Placement, Rules};

/// Adds the inputs of poolings that stand before or after a quantized layer to a placement.
pub(super) fn find(model: &Model, rules: &Rules, placement: &mut Placement) {
    let nodes = &model.graph.node;
    let mut readers: HashMap<&str, Vec<Place>> = HashMap::new();
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        for (input, name) in node.input.iter().enumerate() {
            readers.entry(name).or_default().push(Place { node: at, input });
        }
        producers.extend(node.output.iter().map(|name| (name.as_str(), at)));
    }
    let quantized = placement.quantized_nodes();
    // From the last to the first: what reads a pooling is decided before it.
    for (at, node) in nodes.iter().enumerate().rev() {
        let (true, [input, ..], [output, ..]) =
            (is_pool(model, node), node.input.as_slice(), node.output.as_slice())
        else {
            continue;
        };
        let after = reads_quantized(nodes, &readers, placement, output);
        let before =
            producers.get(input.as_str()).is_some_and(|producer| quantized.contains(producer));
        if !(before || after) {
            placement.decide(node, false, "no quantized layer stands beside it".into());
        } else if let Some(pattern) = rules.skip.find(node) {
            placement.decide(node, false, format!("`skip` names `{pattern}`"));
        } else {
            placement.activation(input, Place { node: at, input: 0 });
            placement.decide(node, true, "its input".into());
            if node.op_type() == "MaxPool" && placement.activations.contains_key(output) {
                // It gives values of its input: on the same grid nothing is rounded twice.
                placement.follows.insert(output.clone(), input.clone());
            }
        }
    }
}

fn is_pool(model: &Model, node: &NodeProto) -> bool {
    matches!(node.op_type(), "MaxPool" | "AveragePool" | "GlobalAveragePool")
        && model.is_standard_operator(node)
        // Indices are no values.
        && node.output.get(1).is_none_or(String::is_empty)
}

/// Whether a tensor is read quantized, at once or after it was rearranged.
fn reads_quantized(
    nodes: &[NodeProto],
    readers: &HashMap<&str, Vec<Place>>,
    placement: &Placement,
    tensor: &str,
) -> bool {
    let mut tensors = vec![tensor];
    while let Some(tensor) = tensors.pop() {
        if placement.activations.contains_key(tensor) {
            return true;
        }
        for place in readers.get(tensor).into_iter().flatten() {
            let node = &nodes[place.node];
            let rearranges = matches!(
                node.op_type(),
                "Flatten" | "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" | "Identity"
            );
            // Nodes stand in topological order, so this ends.
            if rearranges && place.input == 0 {
                tensors.extend(node.output.first().map(String::as_str));
            }
        }
    }
    false
}
