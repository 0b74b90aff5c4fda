//! Names and operators: every name produced once and before its use, every node as the standard
//! describes its operator.

use std::collections::{BTreeMap, HashMap};

use crate::onnx::names;
use crate::onnx::operators::{self, AttributeKind, Operator};
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto};
use crate::onnx::walk;

use super::{Defect, NodeName, is_default_domain};

const INITIALIZER: &str = "an initializer";
const SPARSE_INITIALIZER: &str = "a sparse initializer";

/// The names a node may read: those of its graph so far and those of the graphs around it.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    /// Each name and what produced it.
    names: HashMap<&'a str, String>,
    outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn knows(&self, name: &str) -> bool {
        self.names.contains_key(name) || self.outer.is_some_and(|outer| outer.knows(name))
    }
}

/// What the walk over a model's graphs carries along.
pub(super) struct Checker<'c> {
    /// The default-domain opset; `None` where operators cannot be looked up.
    pub(super) opset: Option<i64>,
    /// The model's own functions by domain and name.
    pub(super) functions: &'c BTreeMap<(&'c str, &'c str), &'c FunctionProto>,
    /// What was found so far.
    pub(super) found: &'c mut Vec<Defect>,
}

impl Checker<'_> {
    /// Checks a graph; `outer` are the names around it, `None` for the main graph.
    pub(super) fn graph(&mut self, graph: &GraphProto, outer: Option<&Scope<'_>>) {
        let mut scope = Scope { names: HashMap::new(), outer };
        for tensor in &graph.initializer {
            self.define(&mut scope, tensor.name(), INITIALIZER);
        }
        for sparse in &graph.sparse_initializer {
            let name = sparse.values.as_ref().map_or("", |values| values.name());
            self.define(&mut scope, name, SPARSE_INITIALIZER);
        }
        for input in &graph.input {
            // Up to IR version 3 every initializer is listed among the inputs too.
            let is_default = scope
                .names
                .get(input.name())
                .is_some_and(|by| by == "an initializer" || by == SPARSE_INITIALIZER);
            if !is_default {
                self.define(&mut scope, input.name(), "an input");
            }
        }
        self.nodes(&graph.node, &mut scope);
        if graph.output.is_empty() && outer.is_none() {
            self.found.push(Defect::NoOutputs);
        }
        for output in &graph.output {
            if output.name().is_empty() {
                self.found.push(Defect::NoName { what: "an output" });
            } else if !scope.knows(output.name()) {
                self.found.push(Defect::OutputNotProduced { tensor: output.name().to_owned() });
            }
        }
    }

    /// Adds a name to a scope.
    pub(super) fn define<'a>(&mut self, scope: &mut Scope<'a>, name: &'a str, by: &'static str) {
        if name.is_empty() {
            self.found.push(Defect::NoName { what: by });
        } else if let Some(first) = scope.names.insert(name, by.to_owned()) {
            self.found.push(Defect::DuplicateName {
                tensor: name.to_owned(),
                first,
                second: by.to_owned(),
            });
        }
    }

    /// Checks nodes in their order, adding what they produce to `scope`.
    pub(super) fn nodes<'a>(&mut self, nodes: &'a [NodeProto], scope: &mut Scope<'a>) {
        let mut producers = HashMap::new();
        for node in nodes {
            for output in &node.output {
                producers.entry(output.as_str()).or_insert(node);
            }
        }
        for node in nodes {
            self.operator(node);
            for input in node.input.iter().filter(|name| !name.is_empty()) {
                if scope.knows(input) {
                    continue;
                }
                let (name, tensor) = (node_name(node), input.clone());
                self.found.push(match producers.get(input.as_str()) {
                    Some(later) => {
                        let producer = node_name(later);
                        Defect::UsedBeforeProduced { node: name, tensor, producer }
                    }
                    None => Defect::DanglingInput { node: name, tensor },
                });
            }
            for body in walk::subgraphs(node) {
                self.graph(body, Some(scope));
            }
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                let second = node_name(node).to_string();
                if let Some(first) = scope.names.insert(output, second.clone()) {
                    let tensor = output.clone();
                    self.found.push(Defect::DuplicateName { tensor, first, second });
                }
            }
        }
    }

    fn operator(&mut self, node: &NodeProto) {
        if self.functions.contains_key(&(node.domain(), node.op_type())) {
            return;
        }
        if !is_default_domain(node.domain()) {
            self.found.push(Defect::CustomOperator { node: node_name(node) });
            return;
        }
        let Some(opset) = self.opset else { return };
        match operators::lookup(node.op_type(), opset) {
            None => self.found.push(Defect::UnknownOperator {
                node: node_name(node),
                opset,
                suggestion: nearest(node.op_type(), operators::names(opset)),
                introduced: operators::introduced(node.op_type()),
            }),
            Some(found) if found.withdrawn => self.found.push(Defect::WithdrawnOperator {
                node: node_name(node),
                since: found.since,
                opset,
            }),
            Some(found) => self.against(node, found),
        }
    }

    /// Compares a node with what the standard says of its operator.
    fn against(&mut self, node: &NodeProto, operator: &Operator) {
        let counts = |found: usize, (least, most): (usize, usize)| found < least || found > most;
        if counts(node.input.len(), operator.inputs) {
            self.found.push(Defect::InputCount {
                node: node_name(node),
                found: node.input.len(),
                expected: operator.inputs,
            });
        }
        if counts(node.output.len(), operator.outputs) {
            self.found.push(Defect::OutputCount {
                node: node_name(node),
                found: node.output.len(),
                expected: operator.outputs,
            });
        }
        for attribute in &node.attribute {
            match operator.attribute(attribute.name()) {
                // A leading "__" marks a private note that the standard tells readers to ignore.
                None if attribute.name().starts_with("__") => {}
                None => self.found.push(Defect::UnknownAttribute {
                    node: node_name(node),
                    attribute: attribute.name().to_owned(),
                    suggestion: nearest(
                        attribute.name(),
                        operator.attributes.iter().map(|known| known.name),
                    ),
                }),
                Some(known) if has_other_type(attribute, known.kind) => {
                    self.found.push(Defect::AttributeType {
                        node: node_name(node),
                        attribute: attribute.name().to_owned(),
                        expected: known.kind.tag().as_str_name(),
                        found: AttributeType::try_from(attribute.r#type() as i32)
                            .map_or("of an unknown type", |tag| tag.as_str_name())
                            .to_owned(),
                    });
                }
                Some(_) => {}
            }
        }
        for known in operator.attributes.iter().filter(|known| known.required) {
            if !node.attribute.iter().any(|attribute| attribute.name() == known.name) {
                self.found.push(Defect::MissingAttribute {
                    node: node_name(node),
                    attribute: known.name,
                });
            }
        }
    }
}

/// Whether the attribute says that it holds something else. Files of IR version 1 do not say it.
fn has_other_type(attribute: &AttributeProto, kind: AttributeKind) -> bool {
    let tag = attribute.r#type.unwrap_or_default();
    tag != AttributeType::Undefined as i32 && tag != kind.tag() as i32
}

/// What messages call a node.
pub(in crate::onnx) fn node_name(node: &NodeProto) -> NodeName {
    let name = names::node_name(node).to_owned();
    let op = match node.domain() {
        domain if is_default_domain(domain) => node.op_type().to_owned(),
        domain => format!("{domain}::{}", node.op_type()),
    };
    NodeName { name, op }
}

/// The candidate that is most likely meant.
fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    // Comparing is quadratic in the text's length, which a hostile file chooses.
    if text.len() > 64 {
        return None;
    }
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(text, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}
