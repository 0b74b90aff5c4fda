//! Cuts a part out of a model: what stands between named tensors.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::suggest::closest;

use super::error::OnnxError;
use super::model::Model;
use super::names::mentions;
use super::proto::{TensorProto, ValueInfoProto};
use super::shapes::Shapes;
use super::signature::{tensor_spec, value_info};
use super::walk;

/// Why a part cannot be cut out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractProblem {
    /// No tensor has that name.
    #[error("it has no tensor `{tensor}`{}", hint(suggestion.as_ref()))]
    NoTensor {
        /// The name.
        tensor: String,
        /// A similar name.
        suggestion: Option<String>,
    },
    /// A name is given twice.
    #[error("`{0}` is named twice")]
    Twice(String),
    /// An output needs an input of the model that is not among the named ones.
    #[error("output `{output}` needs {}, which no named input gives", list(missing))]
    Missing {
        /// The output.
        output: String,
        /// The model's inputs that it needs.
        missing: BTreeSet<String>,
    },
    /// What a new input or output is declared to be cannot be told.
    #[error("the element type or shape of `{0}` is not known")]
    UnknownType(String),
}

impl ExtractProblem {
    /// The tensor that it is about.
    pub fn tensor(&self) -> &str {
        match self {
            Self::NoTensor { tensor: name, .. }
            | Self::Twice(name)
            | Self::Missing { output: name, .. }
            | Self::UnknownType(name) => name,
        }
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoTensor { .. } => Some(
                "`inspect --layers` lists a model's inputs, outputs and nodes with what they make"
                    .into(),
            ),
            Self::Missing { missing, .. } => {
                Some(format!("add {} to `inputs`, or a tensor that is made of it", list(missing)))
            }
            Self::UnknownType(_) => Some("cut at a tensor before or after it".into()),
            Self::Twice(_) => None,
        }
    }
}

fn hint(suggestion: Option<&String>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl Model {
    /// Keeps what computes `outputs` from `inputs`, which may be any tensors; where one of the two
    /// is empty, the model's own stay as far as they are needed. The model must have passed
    /// [`Model::check`]; on an error it is as it was.
    pub fn extract(&mut self, inputs: &[String], outputs: &[String]) -> Result<(), OnnxError> {
        self.extracted(inputs, outputs)
            .map_err(|problem| OnnxError::Extract { path: self.path().to_owned(), problem })
    }

    fn extracted(&mut self, inputs: &[String], outputs: &[String]) -> Result<(), ExtractProblem> {
        self.look_up(inputs)?;
        self.look_up(outputs)?;
        let wanted: Vec<String> = match outputs {
            [] => self.graph.output.iter().map(|value| value.name().to_owned()).collect(),
            named => named.to_vec(),
        };
        let reached = self.reached(inputs, &wanted)?;
        let declared = self.declared(inputs, outputs)?;
        let graph = &mut self.graph;
        let mut kept = reached.nodes.iter();
        graph.node.retain(|_| kept.next().copied().unwrap_or(true));
        let is_cut = |name: &str| inputs.iter().any(|input| input == name);
        graph
            .initializer
            .retain(|tensor| reached.tensors.contains(tensor.name()) && !is_cut(tensor.name()));
        graph.input.retain(|input| reached.tensors.contains(input.name()));
        if !inputs.is_empty() {
            let constants: HashSet<&str> =
                graph.initializer.iter().map(TensorProto::name).collect();
            graph.input.retain(|input| constants.contains(input.name()));
            graph.input.splice(0..0, declared.inputs);
        }
        if !outputs.is_empty() {
            graph.output = declared.outputs;
        }
        let ends: HashSet<&str> =
            graph.input.iter().chain(&graph.output).map(ValueInfoProto::name).collect();
        graph.value_info.retain(|value| !ends.contains(value.name()));
        Ok(())
    }

    /// Every name that a tensor of the main graph has.
    fn tensor_names(&self) -> impl Iterator<Item = &str> {
        let graph = &self.graph;
        let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
        let given = graph.input.iter().map(ValueInfoProto::name);
        let constant = graph.initializer.iter().map(TensorProto::name);
        made.chain(given).chain(constant).filter(|name| !name.is_empty())
    }

    fn look_up(&self, names: &[String]) -> Result<(), ExtractProblem> {
        let known: HashSet<&str> = self.tensor_names().collect();
        let mut seen = HashSet::new();
        for name in names {
            if !known.contains(name.as_str()) {
                let suggestion = closest(name, self.tensor_names()).map(str::to_owned);
                return Err(ExtractProblem::NoTensor { tensor: name.clone(), suggestion });
            }
            if !seen.insert(name) {
                return Err(ExtractProblem::Twice(name.clone()));
            }
        }
        Ok(())
    }

    /// What the outputs are computed from, up to the inputs.
    fn reached(&self, inputs: &[String], outputs: &[String]) -> Result<Reached, ExtractProblem> {
        let mut producers: HashMap<&str, usize> = HashMap::new();
        for (index, node) in self.graph.node.iter().enumerate() {
            producers.extend(node.output.iter().map(|output| (output.as_str(), index)));
        }
        let cuts: HashSet<&str> = inputs.iter().map(String::as_str).collect();
        let fed: HashSet<&str> = self.fed_inputs().map(ValueInfoProto::name).collect();
        let mut nodes = vec![false; self.graph.node.len()];
        let mut tensors: HashSet<&str> = HashSet::new();
        for output in outputs {
            let mut missing = BTreeSet::new();
            let mut open = vec![output.as_str()];
            while let Some(name) = open.pop() {
                if !tensors.insert(name) || cuts.contains(name) {
                    continue;
                }
                if let Some(&index) = producers.get(name) {
                    nodes[index] = true;
                    let node = &self.graph.node[index];
                    open.extend(node.input.iter().map(String::as_str));
                    for body in walk::subgraphs(node) {
                        mentions(body, &mut |name| open.push(name));
                    }
                } else if fed.contains(name) && !cuts.is_empty() {
                    missing.insert(name.to_owned());
                }
            }
            if !missing.is_empty() {
                return Err(ExtractProblem::Missing { output: output.clone(), missing });
            }
        }
        Ok(Reached { nodes, tensors: tensors.into_iter().map(str::to_owned).collect() })
    }

    /// How the ends of the part are declared.
    fn declared(&self, inputs: &[String], outputs: &[String]) -> Result<Ends, ExtractProblem> {
        let shapes = Shapes::of(self);
        let graph = &self.graph;
        let said: HashMap<&str, &ValueInfoProto> = graph
            .value_info
            .iter()
            .chain(&graph.output)
            .chain(&graph.input)
            .map(|value| (value.name(), value))
            .collect();
        let declare = |name: &String| {
            let is_end = graph.input.iter().chain(&graph.output).any(|end| end.name() == name);
            let told = said.get(name.as_str()).copied();
            let spec = match told.filter(|_| is_end) {
                Some(own) => tensor_spec(own).ok(),
                None => shapes.spec(name).or_else(|| tensor_spec(told?).ok()),
            };
            spec.ok_or_else(|| ExtractProblem::UnknownType(name.clone()))
        };
        let input = |name: &String| {
            let spec = declare(name)?;
            if spec.dims.is_none() {
                return Err(ExtractProblem::UnknownType(name.clone()));
            }
            Ok(value_info(&spec))
        };
        Ok(Ends {
            inputs: inputs.iter().map(input).collect::<Result<_, _>>()?,
            outputs: outputs
                .iter()
                .map(|name| Ok(value_info(&declare(name)?)))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// What a part needs.
struct Reached {
    /// By index.
    nodes: Vec<bool>,
    tensors: HashSet<String>,
}

struct Ends {
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
}
