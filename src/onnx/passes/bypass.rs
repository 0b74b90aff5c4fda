//! Takes nodes out whose result is one of their inputs.

use std::collections::BTreeMap;

use crate::onnx::model::Model;
use crate::onnx::names::{Uses, rename_reads};

/// Removes nodes of the main graph; `sources` has, for each that may go, the index of the input
/// that its first output always equals. Nothing else of such a node may be used. Gives the number
/// of those that went: one between an input and an output of the model must stay.
pub(super) fn bypass(model: &mut Model, sources: &[Option<usize>]) -> usize {
    if sources.iter().all(Option::is_none) {
        return 0;
    }
    let uses = Uses::of(&model.graph);
    // What each removed node's output is read from instead. Nodes stand in topological order, so
    // that the source of a chain is known when its next link comes.
    let mut instead: BTreeMap<String, String> = BTreeMap::new();
    let mut removed = vec![false; sources.len()];
    for (index, node) in model.graph.node.iter().enumerate() {
        let named = sources[index].and_then(|at| node.input.get(at)).zip(node.output.first());
        if let Some((input, output)) = named
            && !input.is_empty()
            && !output.is_empty()
            && !uses.is_pinned(output)
        {
            let source = instead.get(input).unwrap_or(input).clone();
            instead.insert(output.clone(), source);
            removed[index] = true;
        }
    }
    rename_reads(&mut model.graph, &instead);
    for index in 0..removed.len() {
        if let (Some(at), false) = (sources[index], removed[index]) {
            removed[index] = produce_under_output_name(model, index, at);
        }
    }
    let count = removed.iter().filter(|removed| **removed).count();
    let mut gone = removed.into_iter();
    model.graph.node.retain(|_| !gone.next().unwrap_or(false));
    count
}

/// Lets the producer of a node's input write the node's output, an output of the graph, itself.
fn produce_under_output_name(model: &mut Model, index: usize, at: usize) -> bool {
    let graph = &mut model.graph;
    let node = &graph.node[index];
    let (Some(input), Some(output)) = (node.input.get(at).cloned(), node.output.first().cloned())
    else {
        return false;
    };
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
