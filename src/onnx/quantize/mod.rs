//! Explicit quantization: which tensors get `QuantizeLinear` and `DequantizeLinear`, and putting
//! them there.
//!
//! Owns the rules, which follow how TensorRT fuses: a layer with weights runs quantized where its
//! input and its weights come out of `DequantizeLinear`, and takes the bias, the batch norm and the
//! activation after it along, so nothing stands between those. Knows nothing of how ranges are
//! found.

use std::collections::{BTreeMap, HashSet};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::calibration::Grid;

use super::error::OnnxError;
use super::model::Model;
use super::names::node_name;
use super::patterns::NodePatterns;
use super::proto::{NodeProto, ValueInfoProto};

mod insert;
mod operands;
mod pools;
mod residual;
#[cfg(test)]
mod tests;
mod weights;

pub use insert::insert;
pub use weights::QuantizedWeight;

use operands::{Constants, Operand, Refusal};

/// What to quantize, and how.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The quantized type.
    pub grid: Grid,
    /// Layers of fewer input or output channels stay as they are, unless their shape suits 8-bit
    /// kernels all the same.
    pub min_channels: usize,
    /// Whether each output channel of integer weights has a scale of its own.
    pub per_channel: bool,
    /// Nodes that stay as they are.
    pub skip: NodePatterns,
    /// Whether the first layer with weights stays as it is.
    pub keeps_first: bool,
    /// Whether the last layer with weights stays as it is.
    pub keeps_last: bool,
}

/// One input of one node of the main graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The node's position.
    pub node: usize,
    /// The input's position.
    pub input: usize,
}

/// Weights and the axis of their channels; `None` is one scale for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Weight {
    /// The constant.
    pub tensor: String,
    /// The axis with a scale for each index.
    pub axis: Option<usize>,
}

/// What was decided about a node that could run quantized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Its name, or its first output where it has none.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Whether it takes quantized inputs.
    pub quantized: bool,
    /// Why not, or what of it is quantized.
    pub reason: String,
}

/// Where quantization goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Tensors that are computed and get a scale, and the inputs that read them quantized.
    pub activations: IndexMap<String, Vec<Place>>,
    /// Constants, and the inputs that read them quantized.
    pub weights: IndexMap<Weight, Vec<Place>>,
    /// Activations whose values are some of another one's, and that one: they share its scale.
    pub follows: BTreeMap<String, String>,
    /// Every node that was considered.
    pub decisions: Vec<Decision>,
}

impl Placement {
    /// Finds the places in a model that has not been quantized before.
    pub fn find(model: &Model, rules: &Rules) -> Result<Self, OnnxError> {
        refuse_quantized(model)?;
        let constants = Constants::of(model);
        let inputs: HashSet<&str> = model.fed_inputs().map(ValueInfoProto::name).collect();
        // Layers: what could run quantized, by the operator alone.
        let layers: Vec<(usize, Result<Vec<Operand>, Refusal>)> = model
            .graph
            .node
            .iter()
            .enumerate()
            .filter(|(_, node)| model.is_standard_operator(node))
            .filter_map(|(at, node)| Some((at, constants.operands(node)?)))
            .collect();
        let weighted = || {
            let has_weights = |operands: &Vec<Operand>| operands.iter().any(Operand::is_weight);
            let layers =
                layers.iter().filter(move |(_, operands)| operands.as_ref().is_ok_and(has_weights));
            layers.map(|(at, _)| *at)
        };
        let (first, last) = (weighted().next(), weighted().next_back());
        let mut placement = Self::default();
        for (at, operands) in &layers {
            let node = &model.graph.node[*at];
            let kept = if let Some(pattern) = rules.skip.find(node) {
                Some(format!("`skip` names `{pattern}`"))
            } else if rules.keeps_first && first == Some(*at) {
                Some("it is the first layer with weights".to_owned())
            } else if rules.keeps_last && last == Some(*at) {
                Some("it is the last layer with weights".to_owned())
            } else {
                constants.too_small(node, rules.min_channels, &inputs)
            };
            match (kept, operands) {
                (Some(reason), _) => placement.decide(node, false, reason),
                (None, Err(Refusal(reason))) => placement.decide(node, false, reason.clone()),
                (None, Ok(operands)) => placement.take(*at, node, operands, rules),
            }
        }
        residual::find(model, rules, &constants, &mut placement);
        pools::find(model, rules, &mut placement);
        Ok(placement)
    }

    /// The names of the layers that take quantized inputs, each once, in the model's order. Poolings
    /// and additions are not among them: without a quantized layer beside them, they are not either.
    pub fn quantized_layers(&self, model: &Model) -> Vec<String> {
        let constants = Constants::of(model);
        let quantized = self.decisions.iter().filter(|decision| decision.quantized);
        let mut left: HashSet<&str> = quantized.map(|decision| decision.node.as_str()).collect();
        let layers = model.graph.node.iter().filter(|node| constants.operands(node).is_some());
        let names = layers.map(node_name).filter(|name| left.remove(name));
        names.map(str::to_owned).collect()
    }

    /// Where quantization goes, without the reasons: placements of the same model that are equal in
    /// it make the same one.
    pub fn places(&self) -> Value {
        let activations: Vec<_> = self.activations.iter().collect();
        let weights: Vec<_> = self.weights.iter().collect();
        json!([activations, weights, self.follows])
    }

    /// The activation whose scale one has: itself, or the one that its values come from.
    pub fn source<'a>(&'a self, tensor: &'a str) -> &'a str {
        let mut source = tensor;
        // A chain of poolings is no longer than the graph has tensors.
        for _ in 0..self.follows.len() {
            match self.follows.get(source) {
                Some(other) => source = other,
                None => break,
            }
        }
        source
    }

    /// Takes back what reads a tensor quantized, because of what it turned out to be. Nodes that
    /// lose an input lose all.
    pub fn without(&mut self, model: &Model, tensor: &str, reason: &str) {
        let Some(places) = self.activations.shift_remove(tensor) else { return };
        let lost: Vec<usize> = places.iter().map(|place| place.node).collect();
        let keep = |places: &mut Vec<Place>| {
            places.retain(|place| !lost.contains(&place.node));
            !places.is_empty()
        };
        self.activations.retain(|_, places| keep(places));
        self.weights.retain(|_, places| keep(places));
        let kept = &self.activations;
        self.follows
            .retain(|tensor, other| [tensor, other].iter().all(|name| kept.contains_key(*name)));
        for &at in &lost {
            let name = node_name(&model.graph.node[at]);
            for decision in self.decisions.iter_mut().filter(|decision| decision.node == name) {
                decision.quantized = false;
                reason.clone_into(&mut decision.reason);
            }
        }
    }

    fn take(&mut self, at: usize, node: &NodeProto, operands: &[Operand], rules: &Rules) {
        for operand in operands {
            match operand {
                Operand::Activation { input } => {
                    self.activation(&node.input[*input], Place { node: at, input: *input });
                }
                Operand::Weight { input, axis } => {
                    let tensor = node.input[*input].clone();
                    let by_channel = rules.per_channel && rules.grid == Grid::Int8;
                    let weight = Weight { tensor, axis: axis.filter(|_| by_channel) };
                    let place = Place { node: at, input: *input };
                    self.weights.entry(weight).or_default().push(place);
                }
            }
        }
        let has_weights = operands.iter().any(Operand::is_weight);
        let reason = if has_weights { "inputs and weights" } else { "inputs" };
        self.decide(node, true, reason.to_owned());
    }

    /// Whether a node takes its weights, or both of its factors, quantized.
    fn is_quantized_layer(&self, node: usize) -> bool {
        self.weights.values().flatten().any(|place| place.node == node)
    }

    fn activation(&mut self, tensor: &str, place: Place) {
        let places = self.activations.entry(tensor.to_owned()).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
    }

    fn decide(&mut self, node: &NodeProto, quantized: bool, reason: String) {
        let op = node.op_type().to_owned();
        self.decisions.push(Decision { node: node_name(node).to_owned(), op, quantized, reason });
    }
}

/// Operators of a quantized model.
fn is_quantization(op: &str) -> bool {
    matches!(op, "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear")
        || matches!(op, "MatMulInteger" | "ConvInteger")
        || op.starts_with("QLinear")
}

fn refuse_quantized(model: &Model) -> Result<(), OnnxError> {
    match model.graph.node.iter().find(|node| is_quantization(node.op_type())) {
        None => Ok(()),
        Some(node) => Err(OnnxError::Refused {
            model: model.path().to_owned(),
            node: node_name(node).to_owned(),
            op: node.op_type().to_owned(),
            reason: "the model is quantized already".to_owned(),
            help: "give the model from before it was quantized, or build this one as it is".into(),
        }),
    }
}
