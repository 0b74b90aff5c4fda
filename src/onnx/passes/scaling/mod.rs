//! Folds what scales and shifts channels by constants into the node before it:
//! `BatchNormalization`, `Mul`, `Add` and `Sub` into `Conv`, `ConvTranspose` and `Gemm`; the latter
//! three also into a `BatchNormalization` that stands behind something else.

use std::collections::HashMap;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::{FreshNames, Uses};
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::shapes::Shapes;

use super::{Pass, PassName, Tools};

mod affine;
mod weights;

use affine::Affine;
use weights::{Layout, Part};

pub(super) struct FoldScaling;

impl Pass for FoldScaling {
    fn name(&self) -> PassName {
        PassName::FoldScaling
    }

    fn run(&self, model: &mut Model, tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let chains = find(model)?;
        if chains.is_empty() {
            return Ok(0);
        }
        let mut fresh = FreshNames::of(&model.graph);
        let mut removed = vec![false; model.graph.node.len()];
        // Equal weights that are scaled by the same constants stay equal.
        let mut made: HashMap<Vec<String>, Vec<String>> = HashMap::new();
        let mut count = 0;
        for chain in &chains {
            if !made.contains_key(&chain.key) {
                let Some(parts) = chain.parts(model, tools)? else { continue };
                let store = |part: Part| part.store(model, &mut fresh);
                made.insert(chain.key.clone(), parts.into_iter().map(store).collect());
            }
            let names = made[&chain.key].clone();
            let target = &mut model.graph.node[chain.target];
            target.input.resize(target.input.len().max(1 + names.len()), String::new());
            for (index, name) in names.into_iter().enumerate() {
                target.input[index + 1] = name;
            }
            target.output.truncate(1);
            target.output[0].clone_from(&chain.output);
            for member in &chain.members {
                removed[*member] = true;
            }
            count += chain.members.len();
        }
        let mut gone = removed.into_iter();
        model.graph.node.retain(|_| !gone.next().unwrap_or(false));
        Ok(count)
    }
}

/// A node with weights and the nodes after it whose work it can do.
struct Chain {
    target: usize,
    layout: Layout,
    members: Vec<usize>,
    /// What the last of them gives.
    output: String,
    /// What they do together.
    affine: Affine,
    /// Bytes of the weight, where other nodes read it too and it must stay as it is.
    shared: u64,
    /// Equal for chains that need the same weights: what they are made of.
    key: Vec<String>,
}

impl Chain {
    /// The target's constants once it does the work of all; `None` where it cannot.
    fn parts(&self, model: &Model, tools: &Tools<'_>) -> Result<Option<Vec<Part>>, OnnxError> {
        let node = &model.graph.node[self.target];
        let parts = weights::scaled(model, node, &self.layout, &self.affine)?;
        Ok(parts.filter(|_| tools.take_fill(self.shared)))
    }
}

fn find(model: &Model) -> Result<Vec<Chain>, OnnxError> {
    let nodes = &model.graph.node;
    let has_target = nodes.iter().any(|node| {
        matches!(node.op_type(), "BatchNormalization" | "Conv" | "ConvTranspose" | "Gemm")
    });
    if !has_target {
        return Ok(Vec::new());
    }
    let uses = Uses::of(&model.graph);
    let constants = model.constants();
    let shapes = Shapes::of(model);
    let mut readers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        readers.extend(node.input.iter().map(|input| (input.as_str(), index)));
    }
    let only_reader = |name: &str| {
        let found = uses.get(name);
        (found.reads == 1 && !found.pinned).then(|| readers.get(name).copied()).flatten()
    };
    let mut taken = vec![false; nodes.len()];
    let mut chains = Vec::new();
    for (target, node) in nodes.iter().enumerate() {
        if taken[target] {
            continue;
        }
        let Some(layout) = Layout::of(model, node, &constants, &shapes) else { continue };
        let mut affine = Affine::nothing(layout.channels);
        let mut members = Vec::new();
        let mut output = node.output[0].as_str();
        let mut key = layout.key(node);
        while let Some(next) = only_reader(output) {
            let member = &nodes[next];
            let Some(step) = Affine::of(model, member, output, &layout, &constants)? else { break };
            affine = affine.then(&step);
            key.extend(described(member, output));
            members.push(next);
            taken[next] = true;
            output = &member.output[0];
        }
        if members.is_empty() {
            continue;
        }
        let weight = node.input.get(1).filter(|name| uses.get(name).reads > 1);
        let size = |name: &String| constants.get(name.as_str()).copied().map(size_of_tensor);
        chains.push(Chain {
            target,
            output: output.to_owned(),
            layout,
            members,
            affine,
            shared: weight.and_then(size).unwrap_or(0),
            key,
        });
    }
    Ok(chains)
}

fn size_of_tensor(tensor: &TensorProto) -> u64 {
    crate::onnx::tensors::byte_size(tensor).unwrap_or(u64::MAX)
}

/// What a member does, in words that are equal for members that do the same.
fn described(node: &NodeProto, from: &str) -> Vec<String> {
    let mut words = vec![format!("{} {:?}", node.op_type(), affine::epsilon(node).to_bits())];
    words.extend(
        node.input.iter().map(|name| if name == from { String::new() } else { name.clone() }),
    );
    words
}
