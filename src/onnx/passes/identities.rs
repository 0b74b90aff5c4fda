//! Removes nodes that hand their input on: `Identity`, and `Dropout` outside training.

use std::collections::{BTreeMap, HashMap};

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::proto::{NodeProto, TensorProto};

use super::{Evaluator, Pass};
use crate::onnx::names::{Uses, rename_reads};

pub(super) struct RemoveIdentities;

impl Pass for RemoveIdentities {
    fn name(&self) -> &'static str {
        "remove-identities"
    }

    fn run(&self, model: &mut Model, _evaluator: &dyn Evaluator) -> Result<usize, OnnxError> {
        let uses = Uses::of(&model.graph);
        let constants = model.constants();
        let hands_on: Vec<bool> =
            model.graph.node.iter().map(|node| hands_on(model, node, &uses, &constants)).collect();
        // What each removed node's output is read from instead. Nodes stand in topological order,
        // so that the source of a chain is known when its next link comes.
        let mut sources: BTreeMap<String, String> = BTreeMap::new();
        let mut removed = vec![false; hands_on.len()];
        for (index, node) in model.graph.node.iter().enumerate() {
            if let (true, [output, ..]) = (hands_on[index], node.output.as_slice())
                && !uses.is_pinned(output)
            {
                let source = sources.get(&node.input[0]).unwrap_or(&node.input[0]).clone();
                sources.insert(output.clone(), source);
                removed[index] = true;
            }
        }
        rename_reads(&mut model.graph, &sources);
        for index in 0..removed.len() {
            if hands_on[index] && !removed[index] {
                removed[index] = produce_under_output_name(model, index);
            }
        }
        let mut gone = removed.iter();
        model.graph.node.retain(|_| !gone.next().copied().unwrap_or(false));
        Ok(removed.into_iter().filter(|removed| *removed).count())
    }
}

/// Whether a node's first output always equals its first input and nothing else of it is used.
fn hands_on(
    model: &Model,
    node: &NodeProto,
    uses: &Uses<'_>,
    constants: &HashMap<&str, &TensorProto>,
) -> bool {
    let missing = |names: &[String]| names.first().is_none_or(String::is_empty);
    if missing(&node.input) || missing(&node.output) {
        return false;
    }
    if model.is_standard(node, "Identity") {
        return true;
    }
    let mask_is_used = node.output.get(1).is_some_and(|mask| {
        let found = uses.get(mask);
        !mask.is_empty() && (found.reads > 0 || found.pinned)
    });
    model.is_standard(node, "Dropout")
        && !mask_is_used
        && match node.input.get(2).map(String::as_str) {
            None | Some("") => true,
            Some(training) => constants.get(training).is_some_and(|training| {
                model.values(training).is_ok_and(|value| value.to_f64() == [0.0])
            }),
        }
}

/// Lets the producer of a node's input write the node's output, an output of the graph, itself.
fn produce_under_output_name(model: &mut Model, index: usize) -> bool {
    let graph = &mut model.graph;
    let (input, output) = (graph.node[index].input[0].clone(), graph.node[index].output[0].clone());
    let is_output = graph.output.iter().any(|value| value.name() == output);
    if !is_output || Uses::of(graph).is_pinned(&input) {
        return false;
    }
    let mut names = graph.node[..index].iter_mut().flat_map(|node| &mut node.output);
    let Some(produced) = names.find(|name| **name == input) else { return false };
    produced.clone_from(&output);
    rename_reads(graph, &BTreeMap::from([(input, output)]));
    true
}
