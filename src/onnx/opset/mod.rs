//! Brings a model to a later version of the standard's operator set.
//!
//! Owns what changed from version to version: [`changes`] lists it, one adapter does each change.
//! An operator that is not listed there only gained element types, or attributes and inputs whose
//! defaults mean what it meant before.

use std::collections::HashSet;

use super::check::{NodeName, node_name};
use super::error::OnnxError;
use super::model::Model;
use super::names::{FreshNames, mentions};
use super::operators::OPSETS;
use super::proto::{GraphProto, NodeProto};
use super::shapes::Shapes;

mod adapters;
mod changes;
mod normalize;
mod step;
#[cfg(test)]
mod tests;

use changes::Change;
use step::Step;

/// Why a model cannot be brought to an opset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpsetProblem {
    /// The model is of a later opset.
    #[error("a model is only brought to later opsets")]
    Earlier,
    /// The opset is not known.
    #[error("opsets up to {} are known", OPSETS.end())]
    Unknown,
    /// The model names no opset that is known.
    #[error("the model names no opset that is known")]
    NoOpset,
    /// A function of the model, which has operators of its own.
    #[error("the model has the function `{0}`, and functions are not converted")]
    Function(String),
    /// A node for whose change there is no conversion.
    #[error("{node} changed in opset {since}: {reason}")]
    Node {
        /// The node.
        node: NodeName,
        /// The opset that changed its operator.
        since: i64,
        /// What stands in the way.
        reason: String,
    },
}

impl OpsetProblem {
    /// What the user can do next.
    pub fn help(&self) -> String {
        match self {
            Self::Earlier => "leave the opset out, or export the model with an earlier one".into(),
            Self::Unknown | Self::NoOpset => {
                format!("name an opset from {} to {}", OPSETS.start(), OPSETS.end())
            }
            Self::Function(_) => "export the model with the opset that is needed".into(),
            Self::Node { since, .. } => format!(
                "name an opset before {since}, or export the model with the opset that is needed"
            ),
        }
    }
}

/// The version of the file format that an opset needs: (opset, version), sorted.
const FORMATS: [(i64, i64); 12] = [
    (9, 4),
    (10, 5),
    (11, 6),
    (12, 7),
    (15, 8),
    (19, 9),
    (21, 10),
    (23, 11),
    (24, 12),
    (25, 13),
    (27, 13),
    (28, 14),
];

impl Model {
    /// Brings the model to a later version of the default operator set; nothing happens where it
    /// is of that version. The model must have passed [`Model::check`]; on an error it is as it
    /// was.
    pub fn raise_opset(&mut self, to: i64) -> Result<(), OnnxError> {
        let from = self.opset().unwrap_or_default();
        self.raised(from, to).map_err(|problem| OnnxError::Opset {
            path: self.path().to_owned(),
            from,
            to,
            problem: Box::new(problem),
        })
    }

    fn raised(&mut self, from: i64, to: i64) -> Result<(), OpsetProblem> {
        if !OPSETS.contains(&from) {
            return Err(OpsetProblem::NoOpset);
        }
        if !OPSETS.contains(&to) {
            return Err(OpsetProblem::Unknown);
        }
        if to <= from {
            return if to == from { Ok(()) } else { Err(OpsetProblem::Earlier) };
        }
        if let Some(function) = self.header.functions.first() {
            return Err(OpsetProblem::Function(function.name().to_owned()));
        }
        let mut used = HashSet::new();
        mentions(&self.graph, &mut |name| {
            used.insert(name);
        });
        let mut graph = self.graph.clone();
        let mut step = Step {
            to,
            shapes: Some(Shapes::of(self)),
            used,
            fresh: FreshNames::of(&self.graph),
            constants: Vec::new(),
        };
        raise_graph(&mut graph, from, &mut step)?;
        self.graph = graph;
        let needed = FORMATS.iter().rev().find(|(opset, _)| *opset <= to);
        let format = self.header.ir_version().max(needed.map_or(0, |(_, format)| *format));
        self.header.ir_version = Some(format);
        self.unlist_initializers();
        for import in &mut self.header.opset_import {
            if super::check::is_default_domain(import.domain()) {
                import.version = Some(to);
            }
        }
        Ok(())
    }

    /// Removes initializers from the list of inputs: early versions of the format required them
    /// there, in later ones a runtime takes them for values that callers may replace.
    pub(super) fn unlist_initializers(&mut self) -> usize {
        let before = self.graph.input.len();
        let fed: HashSet<String> = self.fed_inputs().map(|input| input.name().to_owned()).collect();
        self.graph.input.retain(|input| fed.contains(input.name()));
        before - self.graph.input.len()
    }
}

fn raise_graph(graph: &mut GraphProto, from: i64, step: &mut Step<'_>) -> Result<(), OpsetProblem> {
    let nodes = std::mem::take(&mut graph.node);
    graph.node.reserve(nodes.len());
    let outer = std::mem::take(&mut step.constants);
    for mut node in nodes {
        raise_bodies(&mut node, from, step)?;
        raise_node(node, from, step, &mut graph.node)?;
    }
    graph.initializer.append(&mut step.constants);
    step.constants = outer;
    Ok(())
}

fn raise_bodies(node: &mut NodeProto, from: i64, step: &mut Step<'_>) -> Result<(), OpsetProblem> {
    // A body may hide names of the graph around it, so that what is known of them is not its own.
    let shapes = step.shapes.take();
    for attribute in &mut node.attribute {
        for body in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            raise_graph(body, from, step)?;
        }
    }
    step.shapes = shapes;
    Ok(())
}

/// Does every change of a node's operator after the opset `from`, one after the other.
fn raise_node(
    node: NodeProto,
    from: i64,
    step: &mut Step<'_>,
    raised: &mut Vec<NodeProto>,
) -> Result<(), OpsetProblem> {
    let known = super::check::is_default_domain(node.domain());
    let next = changes::after(node.op_type(), from).filter(|(since, _)| known && *since <= step.to);
    let Some((since, change)) = next else {
        raised.push(node);
        return Ok(());
    };
    let problem = |node: &NodeProto, reason: String| OpsetProblem::Node {
        node: node_name(node),
        since,
        reason,
    };
    match change {
        Change::Refuse(reason) => Err(problem(&node, reason.to_owned())),
        Change::Reword(reword) => {
            let mut node = node;
            reword(&mut node);
            raise_node(node, since, step, raised)
        }
        Change::Adapt(adapt) => {
            let nodes = adapt(step, node.clone()).map_err(|reason| problem(&node, reason))?;
            nodes.into_iter().try_for_each(|node| raise_node(node, since, step, raised))
        }
    }
}
