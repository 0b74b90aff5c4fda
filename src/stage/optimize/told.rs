//! [`Told`]: in which precision a model computes, for people.

use std::fmt;

use serde::Deserialize;

use crate::onnx::precision::{Counts, Lowered};
use crate::stage::kept::{self, counted};

/// What people are told of `precision.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Told<'a> {
    /// The type of 16 bits.
    precision: &'a str,
    counts: Counts,
    casts: usize,
    #[serde(borrow)]
    opset: Option<Opset<'a>>,
    #[serde(borrow)]
    nodes: Vec<Node<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Opset<'a> {
    refused: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Node<'a> {
    node: &'a str,
    op: &'a str,
    precision: Option<&'a str>,
    detail: &'a str,
}

impl<'a> Told<'a> {
    /// The file beside the model.
    pub const FILE: &'static str = "precision.json";

    pub(super) fn of(lowered: &'a Lowered) -> Self {
        let nodes = lowered.nodes.iter().map(|node| Node {
            node: &node.node,
            op: &node.op,
            precision: node.precision,
            detail: &node.detail,
        });
        let opset = lowered.opset.as_ref();
        Self {
            precision: lowered.precision.name(),
            counts: lowered.counts,
            casts: lowered.casts,
            opset: opset.map(|change| Opset { refused: change.refused.as_deref() }),
            nodes: nodes.collect(),
        }
    }
}

/// A few lines.
impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { low, float32, other } = self.counts;
        let verb = if low == 1 { "computes" } else { "compute" };
        write!(f, "{} {verb} in {}, {float32} in float32", counted(low, "node"), self.precision)?;
        if other > 0 {
            write!(f, ", {other} in other types")?;
        }
        write!(f, "; {} between them", counted(self.casts, "cast"))?;
        if let Some(why) = self.opset.as_ref().and_then(|change| change.refused) {
            write!(f, "\na later opset would have more in {}: {why}", self.precision)?;
        }
        let kept = self.nodes.iter().filter(|node| node.precision == Some("float32"));
        let kept = kept.map(|node| (node.node, node.op, node.detail));
        kept::lines(kept, Self::FILE).try_for_each(|line| write!(f, "\n{line}"))
    }
}
