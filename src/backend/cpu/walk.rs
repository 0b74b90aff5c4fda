//! Visits the nodes of a graph and of the graphs inside its nodes.

use crate::onnx::proto::{GraphProto, NodeProto};

/// The graphs in a node's attributes.
pub(super) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Calls `visit` with every node, outer ones first.
pub(super) fn each_node<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a NodeProto)) {
    for node in &graph.node {
        visit(node);
        for inner in subgraphs(node) {
            each_node(inner, visit);
        }
    }
}
