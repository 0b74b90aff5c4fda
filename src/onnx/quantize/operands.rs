//! Which inputs of an operator are quantized.

use std::collections::{HashMap, HashSet};

use crate::onnx::model::Model;
use crate::onnx::names::int_attribute;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::tensors::type_name;

/// An input that is quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operand {
    /// A computed tensor: one scale.
    Activation { input: usize },
    /// A constant, and the axis of its output channels.
    Weight { input: usize, axis: Option<usize> },
}

impl Operand {
    pub(super) fn is_weight(&self) -> bool {
        matches!(self, Self::Weight { .. })
    }
}

/// Why a node has no quantized form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) String);

/// The constant tensors of a model's main graph by name: initializers and `Constant` nodes.
pub(super) struct Constants<'a>(HashMap<&'a str, &'a TensorProto>);

impl<'a> Constants<'a> {
    pub(super) fn of(model: &'a Model) -> Self {
        let mut constants = model.constants();
        for node in &model.graph.node {
            if let ("Constant", [output], [value]) =
                (node.op_type(), node.output.as_slice(), node.attribute.as_slice())
                && let Some(tensor) = &value.t
            {
                constants.insert(output, tensor);
            }
        }
        Self(constants)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a TensorProto> {
        self.0.get(name).copied()
    }

    /// What of a node is quantized; `None` where its operator never is.
    pub(super) fn operands(&self, node: &NodeProto) -> Option<Result<Vec<Operand>, Refusal>> {
        Some(match node.op_type() {
            "Conv" => self.weighted(node, |_| Some(0)),
            "ConvTranspose" => {
                // [input channels, output channels of a group, kernel..]: with several groups an
                // index of axis 1 is a channel of each.
                let is_grouped = int_attribute(node, "group", 1) != 1;
                self.weighted(node, |_| (!is_grouped).then_some(1))
            }
            "Gemm" => self.product(node, |input, rank| {
                let is_transposed =
                    int_attribute(node, if input == 0 { "transA" } else { "transB" }, 0) != 0;
                (rank == 2).then_some(usize::from((input == 1) != is_transposed))
            }),
            "MatMul" => self.product(node, |input, rank| match (input, rank) {
                (1, 1..=2) => Some(rank - 1),
                (0, 2) => Some(0),
                _ => None,
            }),
            _ => return None,
        })
    }

    /// Why a layer is too small to gain from 8 bits, if it is. 8-bit kernels work on 16 or 32
    /// channels at once; convolutions of fewer are padded cheaply where the others are a multiple
    /// of 8, as the first layer of a network and depthwise ones are.
    pub(super) fn too_small(
        &self,
        node: &NodeProto,
        min_channels: usize,
        inputs: &HashSet<&str>,
    ) -> Option<String> {
        let weights = self.get(node.input.get(1)?)?;
        let extent = |axis: usize| weights.dims.get(axis).and_then(|&n| usize::try_from(n).ok());
        let (first, second) = (extent(0)?, extent(1)?);
        if first.min(second) >= min_channels {
            return None;
        }
        let suits = match node.op_type() {
            // [output channels, input channels of a group, kernel..]
            "Conv" if int_attribute(node, "group", 1) == 1 => {
                (first % 8 == 0 || second % 8 == 0)
                    && (first.max(second) >= min_channels
                        || inputs.contains(node.input[0].as_str()))
            }
            "Conv" => first % 8 == 0 && weights.dims.iter().skip(2).all(|&extent| extent >= 3),
            _ => false,
        };
        (!suits).then(|| {
            format!(
                "{first} by {second} channels are too few to gain from 8 bits, by `min_channels: \
                 {min_channels}`"
            )
        })
    }

    /// Input 0 computed, input 1 constant.
    fn weighted(
        &self,
        node: &NodeProto,
        axis: impl Fn(usize) -> Option<usize>,
    ) -> Result<Vec<Operand>, Refusal> {
        let (data, weights) = (given(node, 0)?, given(node, 1)?);
        if self.get(data).is_some() {
            return Err(Refusal("its input is a constant".into()));
        }
        let Some(weights) = self.get(weights) else {
            return Err(Refusal("its weights are computed".into()));
        };
        is_float32(weights)?;
        let axis = axis(weights.dims.len()).filter(|axis| *axis < weights.dims.len());
        Ok(vec![Operand::Activation { input: 0 }, Operand::Weight { input: 1, axis }])
    }

    /// Two factors, of which at most one is constant.
    fn product(
        &self,
        node: &NodeProto,
        axis: impl Fn(usize, usize) -> Option<usize>,
    ) -> Result<Vec<Operand>, Refusal> {
        let operand = |input| {
            Ok(match self.get(given(node, input)?) {
                None => Operand::Activation { input },
                Some(tensor) => {
                    is_float32(tensor)?;
                    Operand::Weight { input, axis: axis(input, tensor.dims.len()) }
                }
            })
        };
        let operands = vec![operand(0)?, operand(1)?];
        if operands.iter().all(Operand::is_weight) {
            return Err(Refusal("both of its inputs are constants".into()));
        }
        Ok(operands)
    }
}

/// The name of an input that must be there.
fn given(node: &NodeProto, input: usize) -> Result<&str, Refusal> {
    let name = node.input.get(input).map_or("", String::as_str);
    if name.is_empty() { Err(Refusal(format!("it has no input {input}"))) } else { Ok(name) }
}

fn is_float32(weights: &TensorProto) -> Result<(), Refusal> {
    if weights.data_type() == DataType::Float as i32 {
        return Ok(());
    }
    let found = type_name(weights.data_type());
    Err(Refusal(format!("its weights are {found}, not float32")))
}
