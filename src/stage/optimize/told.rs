//! [`Told`]: in which precision a model computes, for people.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::onnx::precision::{Counts, Lowered};
use crate::stage::kept::{self, Listing, counted};

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
    nodes: Vec<Decided<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Opset<'a> {
    refused: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Decided<'a> {
    node: &'a str,
    op: &'a str,
    precision: Option<&'a str>,
    detail: &'a str,
}

impl<'a> Told<'a> {
    /// The file beside the model.
    pub const FILE: &'static str = "precision.json";

    pub(super) fn of(lowered: &'a Lowered) -> Self {
        let nodes = lowered.nodes.iter().map(|node| Decided {
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

    /// A few lines.
    pub fn text(&self, listing: Listing) -> String {
        let Counts { low, float32, other } = self.counts;
        let (precision, nodes) = (self.precision, counted(low, "node"));
        let verb = if low == 1 { "computes" } else { "compute" };
        let mut text = format!("{nodes} {verb} in {precision}, {float32} in float32");
        // Writing into a String cannot fail.
        if other > 0 {
            let _ = write!(text, ", {other} in other types");
        }
        let _ = write!(text, "; {} between them", counted(self.casts, "cast"));
        if let Some(why) = self.opset.as_ref().and_then(|change| change.refused) {
            let _ = write!(text, "\na later opset would have more in {precision}: {why}");
        }
        let kept = self.nodes.iter().filter(|node| node.precision == Some("float32"));
        let kept = kept.map(|node| (node.node, node.op, node.detail));
        for line in kept::lines(kept, Self::FILE, listing) {
            let _ = write!(text, "\n{line}");
        }
        text
    }
}
