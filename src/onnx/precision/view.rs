//! [`View`]: the model as the decision sees it: which inputs and outputs of each node are float32,
//! which of them could be of 16 bits, and who reads what.

use std::collections::{BTreeSet, HashMap};

use crate::onnx::model::Model;
use crate::onnx::names::mentions;
use crate::onnx::operators::Typing;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto};
use crate::onnx::types::{self, ElementTypes};
use crate::onnx::walk;

use super::half::Half;
use super::table::KEPT_INPUTS;

/// One node of the main graph.
pub(super) struct Step<'m> {
    pub(super) node: &'m NodeProto,
    /// The operator's types; `None` where it is not one of the standard.
    pub(super) typing: Option<&'static Typing>,
    /// The inputs that are float32 and may be of 16 bits.
    pub(super) lowerable: Vec<usize>,
    /// Whether any input or output is float32.
    pub(super) has_float: bool,
    /// For each output, whether it is of 16 bits if the node is.
    pub(super) lowered: Vec<bool>,
}

impl<'m> Step<'m> {
    /// The inputs that may be of 16 bits, by name.
    pub(super) fn low_inputs(&self) -> impl Iterator<Item = &'m str> + '_ {
        self.lowerable.iter().map(|&index| self.node.input[index].as_str())
    }
}

/// The main graph of a model.
pub(super) struct View<'m> {
    pub(super) model: &'m Model,
    pub(super) half: Half,
    pub(super) types: ElementTypes,
    pub(super) constants: HashMap<&'m str, &'m TensorProto>,
    pub(super) steps: Vec<Step<'m>>,
    /// Tensors whose type must stay: read in a body, or annotated.
    pub(super) pinned: BTreeSet<&'m str>,
    pub(super) outputs: BTreeSet<&'m str>,
    /// The nodes that read a float32 tensor, and which of their inputs it is.
    pub(super) readers: HashMap<&'m str, Vec<(usize, usize)>>,
}

impl<'m> View<'m> {
    pub(super) fn of(model: &'m Model, half: Half) -> Self {
        let types = model.element_types();
        let graph = &model.graph;
        let steps: Vec<Step<'m>> =
            graph.node.iter().map(|node| step(model, node, half, &types)).collect();
        let mut readers: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
        for (index, node) in graph.node.iter().enumerate() {
            for (slot, input) in node.input.iter().enumerate() {
                if types.get(input) == Some(DataType::Float) {
                    readers.entry(input).or_default().push((index, slot));
                }
            }
        }
        let mut pinned = BTreeSet::new();
        for body in graph.node.iter().flat_map(walk::subgraphs) {
            mentions(body, &mut |name| {
                pinned.insert(name);
            });
        }
        for annotation in &graph.quantization_annotation {
            pinned.insert(annotation.tensor_name());
            let parameters = &annotation.quant_parameter_tensor_names;
            pinned.extend(parameters.iter().map(StringStringEntryProto::value));
        }
        Self {
            model,
            half,
            types,
            constants: model.constants(),
            steps,
            pinned,
            outputs: graph.output.iter().map(ValueInfoProto::name).collect(),
            readers,
        }
    }

    pub(super) fn is_float(&self, tensor: &str) -> bool {
        self.types.get(tensor) == Some(DataType::Float)
    }

    pub(super) fn is_quantize(&self, step: &Step<'_>) -> bool {
        self.model.is_standard(step.node, "QuantizeLinear")
    }

    pub(super) fn is_dequantize(&self, step: &Step<'_>) -> bool {
        self.model.is_standard(step.node, "DequantizeLinear")
    }

    /// The inputs of a node that may be of 16 bits and are not constant.
    pub(super) fn variables<'v>(
        &'v self,
        step: &'v Step<'m>,
    ) -> impl Iterator<Item = &'m str> + 'v {
        step.low_inputs().filter(|name| !self.constants.contains_key(name))
    }

    /// The float32 outputs of a node.
    pub(super) fn float_outputs<'v>(
        &'v self,
        step: &'v Step<'m>,
    ) -> impl Iterator<Item = &'m str> + 'v {
        step.node.output.iter().map(String::as_str).filter(|name| self.is_float(name))
    }
}

fn step<'m>(model: &Model, node: &'m NodeProto, half: Half, types: &ElementTypes) -> Step<'m> {
    let float = Some(DataType::Float);
    let typing = model.typing(node).filter(|_| walk::subgraphs(node).next().is_none());
    let inputs: Vec<_> = node.input.iter().map(|name| types.get(name)).collect();
    let may_be_low = |&slot: &usize| {
        let allowed = typing.and_then(|typing| Some(typing.allowed(typing.input(slot)?)));
        inputs[slot] == float
            && allowed.is_some_and(|allowed| allowed.contains(half.data_type()))
            && !KEPT_INPUTS.contains(&(node.op_type(), slot))
    };
    let lowerable: Vec<usize> = (0..inputs.len()).filter(may_be_low).collect();
    let mut low = inputs.clone();
    for &slot in &lowerable {
        low[slot] = Some(half.data_type());
    }
    let lowered = match typing {
        // Its value is the only thing of it that has a type.
        Some(_) if node.op_type() == "ConstantOfShape" => vec![true],
        Some(typing) => types::outputs(node, typing, &low)
            .into_iter()
            .zip(&node.output)
            .map(|(given, name)| given == Some(half.data_type()) && types.get(name) == float)
            .collect(),
        None => vec![false; node.output.len()],
    };
    let has_float =
        inputs.contains(&float) || node.output.iter().any(|name| types.get(name) == float);
    Step { node, typing, lowerable, has_float, lowered }
}
