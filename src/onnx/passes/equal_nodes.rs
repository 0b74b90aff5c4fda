//! Merges nodes that compute the same from the same inputs.

use std::collections::{BTreeMap, HashMap};

use prost::Message;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::{Uses, rename_reads};
use crate::onnx::proto::NodeProto;
use crate::onnx::walk;

use super::{Pass, PassName, Tools};

pub(super) struct MergeNodes;

impl Pass for MergeNodes {
    fn name(&self) -> PassName {
        PassName::MergeNodes
    }

    fn run(&self, model: &mut Model, _tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let uses = Uses::of(&model.graph);
        let mut first: HashMap<Vec<u8>, &NodeProto> = HashMap::new();
        let mut merged: BTreeMap<String, String> = BTreeMap::new();
        let mut removed = vec![false; model.graph.node.len()];
        for (node, removed) in model.graph.node.iter().zip(&mut removed) {
            if !is_repeatable(model, node) {
                continue;
            }
            let key = key(node, &merged);
            let Some(same) = first.get(&key) else {
                first.insert(key, node);
                continue;
            };
            if node.output.iter().any(|output| uses.is_pinned(output)) {
                continue;
            }
            let pairs = node.output.iter().zip(&same.output);
            merged.extend(
                pairs.filter(|(name, _)| !name.is_empty()).map(|(a, b)| (a.clone(), b.clone())),
            );
            *removed = true;
        }
        let count = removed.iter().filter(|removed| **removed).count();
        if count > 0 {
            rename_reads(&mut model.graph, &merged);
            let mut gone = removed.into_iter();
            model.graph.node.retain(|_| !gone.next().unwrap_or(false));
        }
        Ok(count)
    }
}

/// What gives other numbers each time.
const RANDOM: [&str; 7] = [
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// Larger tensors in attributes are not compared: constants become initializers, which are.
const LARGEST_ATTRIBUTE: usize = 4096;

/// Whether a node gives the same each time, as far as its inputs and attributes tell.
fn is_repeatable(model: &Model, node: &NodeProto) -> bool {
    let size: usize = node.attribute.iter().map(Message::encoded_len).sum();
    model.is_standard_operator(node)
        && !RANDOM.contains(&node.op_type())
        && walk::subgraphs(node).next().is_none()
        && size <= LARGEST_ATTRIBUTE
}

/// What two nodes have in common that compute the same.
fn key(node: &NodeProto, merged: &BTreeMap<String, String>) -> Vec<u8> {
    let mut key = NodeProto {
        op_type: node.op_type.clone(),
        input: node.input.iter().map(|name| merged.get(name).unwrap_or(name).clone()).collect(),
        // Which outputs there are, not what they are called.
        output: node.output.iter().map(|name| name.is_empty().to_string()).collect(),
        attribute: node.attribute.clone(),
        ..NodeProto::default()
    };
    key.attribute.sort_by(|a, b| a.name.cmp(&b.name));
    key.encode_to_vec()
}
