//! TensorFlow's `GraphDef`: nodes, what feeds them, and what nobody reads.

use std::collections::HashSet;

use prost::Message;

use super::NamedTensor;
use super::saved::{TensorShape, data_type};
use super::wire::{Value, Wire, WireError};

/// Names up to here are kept to tell which nodes nobody reads.
const MOST_NAMES: usize = 64 << 20;
/// Longer attributes are weights.
const LONGEST_ATTRIBUTE: u64 = 4096;
/// Inputs and outputs that are kept.
const MOST_ENDS: usize = 256;

/// An entry of a node's attributes.
#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AttributeValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeValue {
    #[prost(int32, tag = "6")]
    data_type: i32,
    #[prost(message, optional, tag = "7")]
    shape: Option<TensorShape>,
}

/// What a graph is made of.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: u64,
    pub(super) placeholders: Vec<NamedTensor>,
    /// Nodes whose values no node reads; `None` where there are too many names to tell.
    pub(super) ends: Option<Vec<String>>,
}

/// A node, without its weights.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) name: Option<String>,
    pub(super) op: Option<String>,
    inputs: Vec<String>,
    attributes: Vec<Attribute>,
}

impl Node {
    /// Reads the node that ends at `end`.
    pub(super) fn read(wire: &mut Wire, end: u64) -> Result<Self, WireError> {
        let mut node = Self::default();
        while let Some((number, value)) = wire.field(end)? {
            let Value::Bytes { end } = value else { continue };
            match number {
                1 => node.name = wire.text(end)?,
                2 => node.op = wire.text(end)?,
                3 => node.inputs.extend(wire.text(end)?),
                5 => {
                    let bytes = wire.bytes(end, LONGEST_ATTRIBUTE)?.unwrap_or_default();
                    node.attributes.extend(Attribute::decode(&bytes[..]).ok());
                }
                _ => wire.skip_to(end)?,
            }
        }
        Ok(node)
    }

    /// Whether it has the name and the operator that every node has.
    pub(super) fn is_sound(&self) -> bool {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-./\\>".contains(c);
        let sound = |text: &Option<String>| {
            text.as_ref().is_some_and(|text| !text.is_empty() && text.chars().all(is_name))
        };
        sound(&self.name) && sound(&self.op)
    }

    fn attribute(&self, key: &str) -> Option<&AttributeValue> {
        self.attributes.iter().find(|entry| entry.key == key)?.value.as_ref()
    }

    fn placeholder(&self) -> NamedTensor {
        NamedTensor {
            name: self.name.clone().unwrap_or_default(),
            dtype: data_type(self.attribute("dtype").map_or(0, |value| value.data_type)),
            shape: self
                .attribute("shape")
                .and_then(|value| value.shape.as_ref())
                .and_then(TensorShape::dims),
        }
    }
}

impl Graph {
    /// Reads the graph of a file.
    pub(super) fn read(wire: &mut Wire) -> Result<Self, WireError> {
        let mut graph = Self::default();
        let (mut read, mut candidates, mut kept) = (HashSet::new(), Vec::new(), 0);
        let end = wire.size();
        while let Some((number, value)) = wire.field(end)? {
            match (number, value) {
                (1, Value::Bytes { end }) => {
                    let node = Node::read(wire, end)?;
                    graph.nodes += 1;
                    let op = node.op.as_deref().unwrap_or_default();
                    if op == "Placeholder" && graph.placeholders.len() < MOST_ENDS {
                        graph.placeholders.push(node.placeholder());
                    }
                    if kept <= MOST_NAMES {
                        for input in &node.inputs {
                            // `^name` only orders; `name:1` is the second output.
                            if !input.starts_with('^') {
                                let name = input.split(':').next().unwrap_or_default();
                                kept += name.len();
                                read.insert(name.to_owned());
                            }
                        }
                        if !matches!(op, "Placeholder" | "Const" | "NoOp" | "Assert") {
                            let name = node.name.unwrap_or_default();
                            kept += name.len();
                            candidates.push(name);
                        }
                    }
                }
                (_, Value::Bytes { end }) => wire.skip_to(end)?,
                _ => {}
            }
        }
        if kept <= MOST_NAMES {
            candidates.retain(|name| !read.contains(name));
            candidates.truncate(MOST_ENDS);
            graph.ends = Some(candidates);
        }
        Ok(graph)
    }
}
