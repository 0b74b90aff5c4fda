//! The graph of the stages, an order to run them in, and cycles drawn for those who wrote them.

use std::collections::HashMap;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::source::Span;
use crate::spec::SpecError;

use super::{PlannedStage, StageIndex};

/// The graph and a topological order; cycles become errors that draw themselves.
pub(super) fn order(
    stages: &[PlannedStage],
    references: &HashMap<(StageIndex, StageIndex), Span>,
    errors: &mut Vec<SpecError>,
) -> (DiGraph<StageIndex, ()>, Vec<StageIndex>) {
    let mut graph = DiGraph::with_capacity(stages.len(), stages.len() * 2);
    for at in 0..stages.len() {
        graph.add_node(at);
    }
    for (at, stage) in stages.iter().enumerate() {
        for &before in &stage.after {
            graph.add_edge(NodeIndex::new(before), NodeIndex::new(at), ());
        }
    }
    for component in tarjan_scc(&graph) {
        let members: Vec<StageIndex> = component.iter().map(|node| node.index()).collect();
        let cyclic = members.len() > 1 || stages[members[0]].after.contains(&members[0]);
        if cyclic {
            errors.push(cycle_error(stages, &members, references));
        }
    }
    let mut waiting: Vec<usize> = stages.iter().map(|stage| stage.after.len()).collect();
    let mut free: std::collections::BinaryHeap<std::cmp::Reverse<StageIndex>> = waiting
        .iter()
        .enumerate()
        .filter(|(_, count)| **count == 0)
        .map(|(at, _)| std::cmp::Reverse(at))
        .collect();
    let mut order = Vec::with_capacity(stages.len());
    while let Some(std::cmp::Reverse(at)) = free.pop() {
        order.push(at);
        for next in graph.neighbors(NodeIndex::new(at)) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                free.push(std::cmp::Reverse(next.index()));
            }
        }
    }
    (graph, order)
}

/// Stages that are drawn at each end of a long cycle.
const DRAWN_ENDS: usize = 8;

/// Walks inside a strongly connected component until a stage comes up again.
fn cycle_error(
    stages: &[PlannedStage],
    members: &[StageIndex],
    references: &HashMap<(StageIndex, StageIndex), Span>,
) -> SpecError {
    let start = members.iter().copied().min().unwrap_or(0);
    let mut path = vec![start];
    loop {
        let at = path[path.len() - 1];
        let next = stages[at].after.iter().copied().find(|next| members.contains(next));
        let Some(next) = next else { break };
        if let Some(again) = path.iter().position(|seen| *seen == next) {
            path.drain(..again);
            break;
        }
        path.push(next);
    }
    let name = |at: StageIndex| stages[at].name.as_str();
    let mut drawn: Vec<&str> = path.iter().map(|at| name(*at)).collect();
    drawn.push(name(path[0]));
    if drawn.len() > 2 * DRAWN_ENDS + 1 {
        drawn.splice(DRAWN_ENDS..drawn.len() - DRAWN_ENDS, [".."]);
    }
    let mut uses = path.iter().zip(path.iter().skip(1).chain(&path[..1])).map(|(at, next)| {
        let span = references.get(&(*at, *next)).copied().unwrap_or(stages[*at].name.span);
        (span, format!("`{}` uses `{}`", name(*at), name(*next)))
    });
    let first = uses.next().unwrap_or_default();
    let mut error = SpecError::new(
        "plan::cycle",
        first.0,
        format!("stages use each other in a cycle: {}", drawn.join(" -> ")),
        first.1,
    )
    .with_help("remove one of these references");
    for (span, label) in uses.take(2 * DRAWN_ENDS) {
        error = error.and_at(span, label);
    }
    error
}
