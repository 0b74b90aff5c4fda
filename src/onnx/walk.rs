//! Visits every tensor and every subgraph of a model.

use super::proto::{AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto};

/// The graphs in a node's attributes: bodies of `If`, `Loop`, `Scan`.
pub(super) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Calls `visit` with every tensor of a graph: initializers, attributes, and those of subgraphs.
pub(super) fn tensors<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a TensorProto)) {
    graph.initializer.iter().for_each(&mut *visit);
    for sparse in &graph.sparse_initializer {
        sparse_parts(sparse).for_each(&mut *visit);
    }
    node_tensors(&graph.node, visit);
}

/// Calls `visit` with every tensor in the attributes of nodes, and in their subgraphs.
pub(super) fn node_tensors<'a>(nodes: &'a [NodeProto], visit: &mut dyn FnMut(&'a TensorProto)) {
    for attribute in nodes.iter().flat_map(|node| &node.attribute) {
        attribute.t.iter().chain(&attribute.tensors).for_each(&mut *visit);
        for sparse in attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors) {
            sparse_parts(sparse).for_each(&mut *visit);
        }
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            tensors(graph, visit);
        }
    }
}

fn sparse_parts(sparse: &SparseTensorProto) -> impl Iterator<Item = &TensorProto> {
    sparse.values.iter().chain(&sparse.indices)
}

/// A fallible visit of a tensor that may change it.
pub(super) type VisitMut<'v, E> = dyn FnMut(&mut TensorProto) -> Result<(), E> + 'v;

/// Like [`tensors`], to change them.
pub(super) fn tensors_mut<E>(graph: &mut GraphProto, visit: &mut VisitMut<'_, E>) -> Result<(), E> {
    graph.initializer.iter_mut().try_for_each(&mut *visit)?;
    for sparse in &mut graph.sparse_initializer {
        sparse_mut(sparse, visit)?;
    }
    node_tensors_mut(&mut graph.node, visit)
}

/// Like [`node_tensors`], to change them.
pub(super) fn node_tensors_mut<E>(
    nodes: &mut [NodeProto],
    visit: &mut VisitMut<'_, E>,
) -> Result<(), E> {
    nodes
        .iter_mut()
        .flat_map(|node| &mut node.attribute)
        .try_for_each(|attribute| attribute_mut(attribute, visit))
}

fn attribute_mut<E>(attribute: &mut AttributeProto, visit: &mut VisitMut<'_, E>) -> Result<(), E> {
    attribute.t.iter_mut().chain(&mut attribute.tensors).try_for_each(&mut *visit)?;
    for sparse in attribute.sparse_tensor.iter_mut().chain(&mut attribute.sparse_tensors) {
        sparse_mut(sparse, visit)?;
    }
    attribute
        .g
        .iter_mut()
        .chain(&mut attribute.graphs)
        .try_for_each(|graph| tensors_mut(graph, visit))
}

fn sparse_mut<E>(sparse: &mut SparseTensorProto, visit: &mut VisitMut<'_, E>) -> Result<(), E> {
    sparse.values.iter_mut().chain(&mut sparse.indices).try_for_each(&mut *visit)
}
