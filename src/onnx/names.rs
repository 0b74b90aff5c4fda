//! Who uses a name, and names that nobody uses yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::onnx::check::is_default_domain;
use crate::onnx::model::Model;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use crate::onnx::walk;

/// How the main graph uses a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// How often nodes of the main graph read it.
    pub(super) reads: usize,
    /// Whether it must stay: an output, read in a body, or annotated.
    pub(super) pinned: bool,
}

/// How the main graph uses each name.
#[derive(Debug, Default)]
pub(super) struct Uses<'a>(HashMap<&'a str, Use>);

impl<'a> Uses<'a> {
    pub(super) fn of(graph: &'a GraphProto) -> Self {
        let mut uses = Self::default();
        for node in &graph.node {
            for input in &node.input {
                uses.0.entry(input).or_default().reads += 1;
            }
            for body in walk::subgraphs(node) {
                mentions(body, &mut |name| uses.0.entry(name).or_default().pinned = true);
            }
        }
        for output in &graph.output {
            uses.0.entry(output.name()).or_default().pinned = true;
        }
        for annotation in &graph.quantization_annotation {
            uses.0.entry(annotation.tensor_name()).or_default().pinned = true;
            for entry in &annotation.quant_parameter_tensor_names {
                uses.0.entry(entry.value()).or_default().pinned = true;
            }
        }
        uses
    }

    pub(super) fn get(&self, name: &str) -> Use {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(super) fn is_pinned(&self, name: &str) -> bool {
        self.get(name).pinned
    }
}

/// Calls `visit` with every name that a body reads, its own ones included: a name of the outer
/// graph that a body hides is taken for used, which is always safe.
pub(super) fn mentions<'a>(body: &'a GraphProto, visit: &mut dyn FnMut(&'a str)) {
    for node in &body.node {
        node.input.iter().for_each(|input| visit(input));
        walk::subgraphs(node).for_each(|inner| mentions(inner, visit));
    }
    body.output.iter().for_each(|output| visit(output.name()));
}

/// Makes nodes of the main graph read other names.
pub(super) fn rename_reads(graph: &mut GraphProto, renamed: &BTreeMap<String, String>) {
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        if let Some(name) = renamed.get(input) {
            input.clone_from(name);
        }
    }
}

/// What messages call a node: its name, or its first output where it has none.
pub fn node_name(node: &NodeProto) -> &str {
    match node.name() {
        "" => node.output.iter().find(|name| !name.is_empty()).map_or("", String::as_str),
        name => name,
    }
}

/// Gives names that occur nowhere in the model.
#[derive(Debug)]
pub(super) struct FreshNames(BTreeSet<String>);

impl FreshNames {
    pub(super) fn of(graph: &GraphProto) -> Self {
        let mut taken = BTreeSet::new();
        collect(graph, &mut taken);
        Self(taken)
    }

    pub(super) fn take(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut count = 1_u64;
        while !self.0.insert(name.clone()) {
            count += 1;
            name = format!("{wanted}_{count}");
        }
        name
    }
}

fn collect(graph: &GraphProto, taken: &mut BTreeSet<String>) {
    taken.extend(graph.initializer.iter().map(|tensor| tensor.name().to_owned()));
    taken.extend(graph.input.iter().chain(&graph.output).map(|value| value.name().to_owned()));
    for sparse in &graph.sparse_initializer {
        taken.extend(sparse.values.iter().map(|values| values.name().to_owned()));
    }
    for node in &graph.node {
        taken.extend(node.input.iter().chain(&node.output).chain(&node.name).cloned());
        walk::subgraphs(node).for_each(|body| collect(body, taken));
    }
}

/// Before this version of the format every initializer had to be listed as an input too.
const FIRST_WITHOUT_LISTED_INITIALIZERS: i64 = 4;

impl Model {
    /// Whether a node is the standard's operator of that name, not a function of the model.
    pub(super) fn is_standard(&self, node: &NodeProto, op: &str) -> bool {
        node.op_type() == op && self.is_standard_operator(node)
    }

    /// Whether a node is an operator of the standard, not a function of the model.
    pub(super) fn is_standard_operator(&self, node: &NodeProto) -> bool {
        is_default_domain(node.domain())
            && !self.header.functions.iter().any(|function| {
                function.name() == node.op_type() && function.domain() == node.domain()
            })
    }

    /// Takes initializers off the list of inputs, as versions of the format from 4 on allow.
    pub(super) fn allow_unlisted_initializers(&mut self) {
        let version = self.header.ir_version().max(FIRST_WITHOUT_LISTED_INITIALIZERS);
        self.header.ir_version = Some(version);
        self.unlist_initializers();
    }

    /// The initializers of the main graph by name.
    pub(crate) fn constants(&self) -> HashMap<&str, &TensorProto> {
        self.graph.initializer.iter().map(|tensor| (tensor.name(), tensor)).collect()
    }
}

/// An integer attribute.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(value),
        ..AttributeProto::default()
    }
}

/// An integer attribute of a node, or the default.
pub(super) fn int_attribute(node: &NodeProto, name: &str, default: i64) -> i64 {
    let found = node.attribute.iter().find(|attribute| attribute.name() == name);
    found.map_or(default, AttributeProto::i)
}

/// A floating-point attribute of a node, or the default.
pub(super) fn float_attribute(node: &NodeProto, name: &str, default: f32) -> f32 {
    let found = node.attribute.iter().find(|attribute| attribute.name() == name);
    found.map_or(default, AttributeProto::f)
}

/// A list of integers that a node has as an attribute.
pub(super) fn ints_attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    let found = node.attribute.iter().find(|attribute| attribute.name() == name);
    found.map(|attribute| attribute.ints.as_slice())
}

/// A text that a node has as an attribute; `None` where it is not UTF-8.
pub(super) fn text_attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a str> {
    let found = node.attribute.iter().find(|attribute| attribute.name() == name);
    found.and_then(|attribute| std::str::from_utf8(attribute.s.as_deref()?).ok())
}
