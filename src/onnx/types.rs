//! The element type of every tensor of a model, as the standard's operators say, and whether all
//! that must be of one type is. Knows nothing of shapes.
//!
//! What a function of the model or an operator of another domain gives is known only where the
//! model declares it.

use std::collections::{BTreeMap, HashMap};

use super::check::{Defect, node_name};
use super::error::OnnxError;
use super::model::Model;
use super::operators::{self, Typing};
use super::proto::tensor_proto::DataType;
use super::proto::{GraphProto, NodeProto, ValueInfoProto, type_proto};
use super::tensors::type_name;
use super::walk;

mod attributes;
#[cfg(test)]
mod tests;

/// The element types of the tensors of the main graph, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ElementTypes(BTreeMap<String, DataType>);

impl ElementTypes {
    /// The element type of a tensor; `None` where it is not known, or the name is not one of the
    /// main graph.
    pub fn get(&self, tensor: &str) -> Option<DataType> {
        self.0.get(tensor).copied()
    }
}

impl Model {
    /// The element types of the tensors of the main graph.
    pub fn element_types(&self) -> ElementTypes {
        self.typed().0
    }

    /// Checks that every operator gets element types that it takes, all of one type where it wants
    /// that, and that declared types are those that values have. The model must have passed
    /// [`Model::check`].
    pub fn check_types(&self) -> Result<(), OnnxError> {
        let mut defects = self.typed().1;
        if defects.is_empty() {
            return Ok(());
        }
        defects.sort();
        defects.dedup();
        Err(OnnxError::Defects { path: self.path().to_owned(), defects })
    }

    fn typed(&self) -> (ElementTypes, Vec<Defect>) {
        let mut typer = Typer { model: self, found: Vec::new() };
        let scope = typer.graph(&self.graph, None);
        let known = scope.own.into_iter().filter_map(|(name, dtype)| Some((name.into(), dtype?)));
        (ElementTypes(known.collect()), typer.found)
    }

    /// The operator's types that a node is held to; `None` for functions and other domains.
    pub(super) fn typing(&self, node: &NodeProto) -> Option<&'static Typing> {
        let opset = self.opset()?;
        self.is_standard_operator(node).then(|| operators::typing_of(node.op_type(), opset))?
    }
}

/// The element types that a standard operator without bodies gives for inputs of these types.
pub(super) fn outputs(
    node: &NodeProto,
    typing: &Typing,
    inputs: &[Option<DataType>],
) -> Vec<Option<DataType>> {
    let bound = bind(typing, inputs);
    (0..node.output.len())
        .map(|index| {
            if let Some(said) = attributes::output(node, index, inputs) {
                return said;
            }
            let variable = typing.output(index)?;
            let bound = bound.get(variable.index()).copied().flatten();
            bound.or_else(|| typing.allowed(variable).only())
        })
        .collect()
}

/// What the inputs make of each type variable; of several, the first.
fn bind(typing: &Typing, inputs: &[Option<DataType>]) -> Vec<Option<DataType>> {
    let mut bound = vec![None; typing.variables()];
    for (index, dtype) in inputs.iter().enumerate() {
        let slot = typing.input(index).and_then(|variable| bound.get_mut(variable.index()));
        if let Some(slot @ None) = slot {
            *slot = *dtype;
        }
    }
    bound
}

/// The element types of a graph's names, and those of the graphs around it.
struct Scope<'m> {
    /// A name of unknown type hides the same name outside.
    own: HashMap<&'m str, Option<DataType>>,
    outer: Option<&'m Scope<'m>>,
}

impl Scope<'_> {
    fn get(&self, name: &str) -> Option<DataType> {
        match self.own.get(name) {
            Some(known) => *known,
            None => self.outer?.get(name),
        }
    }
}

struct Typer<'m> {
    model: &'m Model,
    found: Vec<Defect>,
}

impl Typer<'_> {
    fn graph<'s>(&mut self, graph: &'s GraphProto, outer: Option<&'s Scope<'s>>) -> Scope<'s> {
        let declared: BTreeMap<&str, DataType> = graph
            .value_info
            .iter()
            .chain(&graph.output)
            .filter_map(|value| Some((value.name(), declared(value)?)))
            .collect();
        let mut scope = Scope { own: HashMap::new(), outer };
        for input in &graph.input {
            scope.own.insert(input.name(), self::declared(input));
        }
        for tensor in &graph.initializer {
            let dtype = known(tensor.data_type());
            let listed = scope.own.insert(tensor.name(), dtype).flatten();
            self.compare(tensor.name(), listed, dtype);
        }
        for sparse in graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref()) {
            scope.own.insert(sparse.name(), None);
        }
        for node in &graph.node {
            let given = self.node(node, &scope);
            for (index, output) in node.output.iter().enumerate().filter(|(_, o)| !o.is_empty()) {
                let given = given.get(index).copied().flatten();
                let said = declared.get(output.as_str()).copied();
                scope.own.insert(output, given.or(said));
            }
        }
        for (name, said) in &declared {
            self.compare(name, Some(*said), scope.get(name));
        }
        scope
    }

    /// Notes where a declaration is wrong.
    fn compare(&mut self, name: &str, declared: Option<DataType>, found: Option<DataType>) {
        if let (Some(declared), Some(found)) = (declared, found)
            && declared != found
        {
            self.found.push(Defect::DeclaredType {
                tensor: name.to_owned(),
                declared: type_name(declared as i32),
                found: type_name(found as i32),
            });
        }
    }

    /// What a node gives; notes where it gets what it does not take.
    fn node(&mut self, node: &NodeProto, scope: &Scope<'_>) -> Vec<Option<DataType>> {
        let inputs: Vec<_> = node.input.iter().map(|input| scope.get(input)).collect();
        let bodies: Vec<Scope<'_>> =
            walk::subgraphs(node).map(|body| self.graph(body, Some(scope))).collect();
        let Some(typing) = self.model.typing(node) else { return Vec::new() };
        self.check(node, typing, &inputs);
        match node.op_type() {
            "If" => branches(node, &bodies),
            "Loop" => results(node, &bodies, 1),
            "Scan" => results(node, &bodies, 0),
            _ => outputs(node, typing, &inputs),
        }
    }

    fn check(&mut self, node: &NodeProto, typing: &Typing, inputs: &[Option<DataType>]) {
        let mut bound: Vec<Option<(&str, DataType)>> = vec![None; typing.variables()];
        for (index, (name, dtype)) in node.input.iter().zip(inputs).enumerate() {
            let (Some(dtype), Some(variable)) = (*dtype, typing.input(index)) else { continue };
            let allowed = typing.allowed(variable);
            if !allowed.contains(dtype) {
                let names: Vec<String> = allowed.iter().map(|one| type_name(one as i32)).collect();
                self.found.push(Defect::InputType {
                    node: node_name(node),
                    tensor: name.clone(),
                    found: type_name(dtype as i32),
                    allowed: names.join(", "),
                });
                continue;
            }
            let Some(slot) = bound.get_mut(variable.index()) else { continue };
            match slot {
                None => *slot = Some((name, dtype)),
                Some((first, other)) if *other != dtype => {
                    self.found.push(Defect::TypesDiffer {
                        node: node_name(node),
                        first: (*first).to_owned(),
                        second: name.clone(),
                        types: format!(
                            "{} and {}",
                            type_name(*other as i32),
                            type_name(dtype as i32)
                        ),
                    });
                }
                Some(_) => {}
            }
        }
    }
}

/// What an `If` gives: what its branches agree on.
fn branches(node: &NodeProto, bodies: &[Scope<'_>]) -> Vec<Option<DataType>> {
    let of_body = walk::subgraphs(node).zip(bodies);
    let mut given: Vec<Vec<Option<DataType>>> = of_body
        .map(|(body, scope)| body.output.iter().map(|output| scope.get(output.name())).collect())
        .collect();
    let Some(first) = given.pop() else { return Vec::new() };
    let agreed = |(index, dtype): (usize, Option<DataType>)| {
        let same = given.iter().all(|other| other.get(index).copied().flatten() == dtype);
        dtype.filter(|_| same)
    };
    first.into_iter().enumerate().map(agreed).collect()
}

/// What a `Loop` or `Scan` gives: the results of its body but the first few.
fn results(node: &NodeProto, bodies: &[Scope<'_>], skipped: usize) -> Vec<Option<DataType>> {
    let (Some(body), Some(scope)) = (walk::subgraphs(node).next(), bodies.first()) else {
        return Vec::new();
    };
    body.output.iter().skip(skipped).map(|output| scope.get(output.name())).collect()
}

/// The element type that a value is declared to have.
fn declared(value: &ValueInfoProto) -> Option<DataType> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => known(tensor.elem_type()),
        _ => None,
    }
}

fn known(number: i32) -> Option<DataType> {
    DataType::try_from(number).ok().filter(|dtype| *dtype != DataType::Undefined)
}
