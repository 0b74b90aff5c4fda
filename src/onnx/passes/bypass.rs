//! Takes nodes out whose result is one of their inputs.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::onnx::model::Model;
use crate::onnx::names::{Uses, rename_reads};
use crate::onnx::proto::{GraphProto, ValueInfoProto};

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
    write_outputs(&mut model.graph, sources, &mut removed);
    let count = removed.iter().filter(|removed| **removed).count();
    let mut gone = removed.into_iter();
    model.graph.node.retain(|_| !gone.next().unwrap_or(false));
    count
}

/// Removes nodes that give outputs of the graph, which keep their names: what makes the input of
/// such a node writes the output itself, unless the input's own name must stay.
fn write_outputs(graph: &mut GraphProto, sources: &[Option<usize>], removed: &mut [bool]) {
    let outputs: HashSet<&str> = graph.output.iter().map(ValueInfoProto::name).collect();
    let uses = Uses::of(graph);
    // Nodes stand in topological order: what makes an input stands before its readers. Once it has
    // another name it is an output, and stays as it is for further readers.
    let mut made: HashMap<&str, (usize, usize)> = HashMap::new();
    let mut written = Vec::new();
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        let ends = sources[index].and_then(|at| node.input.get(at)).zip(node.output.first());
        if let Some((input, output)) = ends.filter(|_| !removed[index])
            && outputs.contains(output.as_str())
            && !uses.is_pinned(input)
            && let Some(place) = made.remove(input.as_str())
        {
            written.push((place, output.clone()));
            renamed.insert(input.clone(), output.clone());
            removed[index] = true;
        }
        let given = node.output.iter().enumerate().filter(|(_, name)| !name.is_empty());
        made.extend(given.map(|(slot, name)| (name.as_str(), (index, slot))));
    }
    for ((node, slot), output) in written {
        graph.node[node].output[slot] = output;
    }
    rename_reads(graph, &renamed);
}
