//! Which node is to blame, from what tract says.

use crate::backend::fault::Fault;
use crate::onnx::node_name;
use crate::onnx::proto::{GraphProto, NodeProto};

/// tract's words, pinned to the node they mention where they mention one.
pub(super) fn of_tract(graph: &GraphProto, error: &str) -> Fault {
    // tract writes `Building node NAME (OPERATOR)`, with nothing for NAME where there is none.
    let built = |node: &&NodeProto| {
        error.contains(&format!("Building node {} ({})", node.name(), node.op_type()))
    };
    let mentioned = |node: &&NodeProto| {
        let name = node_name(node);
        !name.is_empty() && mentions(error, name)
    };
    let named = graph.node.iter().find(built).or_else(|| graph.node.iter().find(mentioned));
    match named {
        Some(node) => Fault::node(node, error),
        None => Fault::Model(error.to_owned()),
    }
}

/// Whether `name` stands in `text` as a quoted word or between spaces, as tract writes names.
fn mentions(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        let edge = |c: Option<char>| c.is_none_or(|c| matches!(c, '"' | '`' | ' ' | ',' | '.'));
        edge(before) && edge(after) && before.is_some_and(|c| matches!(c, '"' | '`' | ' '))
    })
}
