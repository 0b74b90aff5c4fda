//! 16 bits in the graph: which nodes compute in float16 or bfloat16, and the casts where those
//! meet float32.
//!
//! A model is decided on as a whole (by `table`, then weights and observed values, then
//! neighbours), then rewritten. Bodies of `If`, `Loop` and `Scan`, functions of the model, and all
//! that is not float32 stay as they are. Knows nothing of how values are observed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::check;
use super::error::OnnxError;
use super::model::Model;
use super::patterns::NodePatterns;
use super::proto::tensor_proto::DataType;
use super::proto::{NodeProto, ValueInfoProto};

mod constants;
mod decide;
mod declare;
mod half;
mod neighbours;
mod opset;
mod outlook;
mod reason;
mod rewrite;
mod settle;
mod table;
#[cfg(test)]
mod tests;
mod view;

pub use half::Half;
pub use opset::OpsetChange;
pub use outlook::Outlook;

use reason::Reason;
use settle::Decision;
use view::View;

/// The largest finite magnitude that was seen in each tensor.
pub type Observed = BTreeMap<String, f64>;

/// Of which type inputs and outputs are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Io {
    /// Of the type that they had.
    #[default]
    Keep,
    /// What was float32 is of 16 bits.
    Convert,
}

/// How to lower a model.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The type to compute in.
    pub half: Half,
    /// Of which type inputs and outputs are.
    pub io: Io,
    /// The nodes that stay in float32.
    pub keep: &'a NodePatterns,
    /// What was observed in the model's tensors, where something was.
    pub observed: Option<&'a Observed>,
}

/// In which precision each node computes, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lowered {
    /// The type.
    pub precision: Half,
    /// How the opset changed for it, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opset: Option<OpsetChange>,
    /// Number of nodes by what they compute in.
    pub counts: Counts,
    /// Number of nodes by reason.
    pub reasons: BTreeMap<&'static str, usize>,
    /// Casts that were put in.
    pub casts: usize,
    /// Every node of the main graph as it was, in its order.
    pub nodes: Vec<NodePrecision>,
}

/// Number of nodes by what they compute in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// In 16 bits.
    pub low: usize,
    /// In float32.
    pub float32: usize,
    /// In other types than float32, before and after.
    pub other: usize,
}

/// In which precision a node computes, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodePrecision {
    /// Its name, or its first output where it has none.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// The type that it computes in; nothing where it has no float32 value.
    pub precision: Option<&'static str>,
    /// A word for programs.
    pub reason: &'static str,
    /// The same for people.
    pub detail: String,
}

impl Lowered {
    /// Gives the nodes that the user's own patterns seemed to keep, and did not, another reason.
    pub fn kept_instead(
        &mut self,
        names: &BTreeSet<&str>,
        reason: &'static str,
        detail: &'static str,
    ) {
        let requested = Reason::Requested(String::new()).code();
        let kept = |node: &&mut NodePrecision| {
            node.reason == requested && names.contains(node.node.as_str())
        };
        for node in self.nodes.iter_mut().filter(kept) {
            (node.reason, node.detail) = (reason, detail.to_owned());
            *self.reasons.entry(reason).or_default() += 1;
            self.reasons.entry(requested).and_modify(|count| *count -= 1);
        }
        self.reasons.retain(|_, count| *count > 0);
    }
}

/// Lowers a model that has passed [`Model::check`]. It is well typed afterwards, or the answer is
/// an error.
pub fn lower(model: &mut Model, settings: &Settings<'_>) -> Result<Lowered, OnnxError> {
    model.check_types()?;
    let opset = opset::raise(model, settings.half, settings.keep)?;
    let view = View::of(model, settings.half);
    let mut verdicts = decide::verdicts(&view, settings)?;
    neighbours::mark(&view, &mut verdicts, settings.observed);
    let decisions = settle::settle(&view, verdicts, settings.io);
    let rewritten = rewrite::rewrite(&view, &decisions, settings.io)?;
    let lowered = Lowered { opset, ..report(&view, decisions, rewritten.casts) };
    model.graph = rewritten.graph;
    if rewritten.new_initializers {
        model.allow_unlisted_initializers();
    }
    model.check()?;
    model.check_types()?;
    Ok(lowered)
}

/// How many nodes of the main graph compute in 16 bits, by type. Casts to it are not counted.
pub fn nodes_in_16_bits(model: &Model) -> BTreeMap<&'static str, usize> {
    let types = model.element_types();
    let half = |node: &NodeProto| {
        let given = |name: &String| match types.get(name) {
            Some(DataType::Float16) => Some(Half::Float16),
            Some(DataType::Bfloat16) => Some(Half::BFloat16),
            _ => None,
        };
        node.output.iter().find_map(given).filter(|_| node.op_type() != "Cast")
    };
    let mut counts = BTreeMap::new();
    for half in model.graph.node.iter().filter_map(half) {
        *counts.entry(half.name()).or_default() += 1;
    }
    counts
}

/// The tensors of the main graph that are float32 and not constant, in its order.
pub fn float32_tensors(model: &Model) -> Vec<String> {
    let types = model.element_types();
    let inputs = model.fed_inputs().map(ValueInfoProto::name);
    let made = model.graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let names = inputs.chain(made).filter(|name| types.get(name) == Some(DataType::Float));
    names.map(str::to_owned).collect()
}

fn report(view: &View<'_>, decisions: Vec<Decision>, casts: usize) -> Lowered {
    let half = view.half;
    let mut counts = Counts::default();
    let mut reasons: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut nodes = Vec::with_capacity(decisions.len());
    for (step, Decision { low, reason }) in view.steps.iter().zip(decisions) {
        let precision = match (low, step.has_float) {
            (true, _) => Some(half.name()),
            (false, true) => Some("float32"),
            (false, false) => None,
        };
        counts.low += usize::from(low);
        counts.float32 += usize::from(!low && step.has_float);
        counts.other += usize::from(!low && !step.has_float);
        *reasons.entry(reason.code()).or_default() += 1;
        let name = check::node_name(step.node);
        let (reason, detail) = (reason.code(), reason.to_string());
        nodes.push(NodePrecision { node: name.name, op: name.op, precision, reason, detail });
    }
    Lowered { precision: half, opset: None, counts, reasons, casts, nodes }
}
