//! Puts `QuantizeLinear` and `DequantizeLinear` where a placement says.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::calibration::{Grid, Quantizer};
use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::{FreshNames, Uses, int};
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::tensors::{data_type, from_tensor};
use crate::tensor::{Shape, Tensor};

use super::operands::Constants;
use super::weights::{QuantizedWeight, on_grid};
use super::{Placement, Weight};

/// Rewrites the model. `quantizers` has one for every activation of the placement; those that it
/// lacks stay as they are. Gives what became of the weights.
pub fn insert(
    model: &mut Model,
    placement: &Placement,
    quantizers: &BTreeMap<String, Quantizer>,
    grid: Grid,
) -> Result<Vec<QuantizedWeight>, OnnxError> {
    let mut writer = Writer { names: FreshNames::of(&model.graph), constants: Vec::new() };
    // The pair of every quantized activation, and what its readers read instead.
    let mut pairs: HashMap<&str, [NodeProto; 2]> = HashMap::new();
    let mut reads = Vec::new();
    for (tensor, places) in &placement.activations {
        let Some(quantizer) = quantizers.get(tensor) else { continue };
        let (pair, result) = writer.pair(tensor, *quantizer);
        reads.extend(places.iter().map(|place| (*place, result.clone())));
        pairs.insert(tensor, pair);
    }
    let mut first = Vec::new();
    let mut quantized = Vec::new();
    let constants = Constants::of(model);
    for (weight, places) in &placement.weights {
        let (node, result, report) = writer.weight(model, &constants, weight, grid)?;
        reads.extend(places.iter().map(|place| (*place, result.clone())));
        first.push(node);
        quantized.push(report);
    }
    let graph = &mut model.graph;
    for (place, name) in reads {
        if let Some(input) =
            graph.node.get_mut(place.node).and_then(|node| node.input.get_mut(place.input))
        {
            *input = name;
        }
    }
    let inputs = graph.input.iter().filter_map(|input| pairs.remove(input.name()));
    first.extend(inputs.flatten());
    let nodes = std::mem::take(&mut graph.node);
    graph.node = first;
    for node in nodes {
        let outputs = node.output.clone();
        graph.node.push(node);
        let after = outputs.iter().filter_map(|output| pairs.remove(output.as_str()));
        graph.node.extend(after.flatten());
    }
    graph.initializer.extend(writer.constants);
    drop_replaced(model, placement);
    Ok(quantized)
}

/// The float32 constants that nobody reads any more go.
fn drop_replaced(model: &mut Model, placement: &Placement) {
    let replaced: HashSet<String> =
        placement.weights.keys().map(|weight| weight.tensor.clone()).collect();
    let uses = Uses::of(&model.graph);
    let is_unused = |name: &str| {
        let found = uses.get(name);
        replaced.contains(name) && found.reads == 0 && !found.pinned
    };
    let unused: HashSet<String> = replaced.iter().filter(|name| is_unused(name)).cloned().collect();
    let graph = &mut model.graph;
    graph.initializer.retain(|tensor| !unused.contains(tensor.name()));
    graph.input.retain(|input| !unused.contains(input.name()));
    graph.node.retain(|node| {
        node.op_type() != "Constant" || !node.output.iter().any(|name| unused.contains(name))
    });
    graph.value_info.retain(|value| !unused.contains(value.name()));
}

/// Makes nodes and constants under names of their own.
struct Writer {
    names: FreshNames,
    constants: Vec<TensorProto>,
}

impl Writer {
    /// The two nodes after an activation, and the name of what they give.
    fn pair(&mut self, tensor: &str, quantizer: Quantizer) -> ([NodeProto; 2], String) {
        let scale = self.scale(tensor, &[quantizer.scale], Shape(vec![]));
        let zero_point =
            self.zero_point(tensor, quantizer.grid, &[quantizer.zero_point], &Shape(vec![]));
        let stored = self.names.take(&format!("{tensor}/quantized"));
        let result = self.names.take(&format!("{tensor}/dequantized"));
        let inputs = |first: &str| vec![first.to_owned(), scale.clone(), zero_point.clone()];
        let quantize = NodeProto {
            name: Some(self.names.take(&format!("{tensor}/QuantizeLinear"))),
            op_type: Some("QuantizeLinear".into()),
            input: inputs(tensor),
            output: vec![stored.clone()],
            ..NodeProto::default()
        };
        let dequantize = NodeProto {
            name: Some(self.names.take(&format!("{tensor}/DequantizeLinear"))),
            op_type: Some("DequantizeLinear".into()),
            input: inputs(&stored),
            output: vec![result.clone()],
            ..NodeProto::default()
        };
        ([quantize, dequantize], result)
    }

    /// The node that gives a constant back, and the name of what it gives.
    fn weight(
        &mut self,
        model: &Model,
        constants: &Constants<'_>,
        weight: &Weight,
        grid: Grid,
    ) -> Result<(NodeProto, String, QuantizedWeight), OnnxError> {
        let tensor = &weight.tensor;
        let constant = constants.get(tensor).ok_or_else(|| OnnxError::Values {
            model: model.path().to_owned(),
            tensor: tensor.clone(),
            reason: "it is no constant".into(),
        })?;
        let found = on_grid(model, constant, weight, grid)?;
        let count = found.scales.len();
        let shape = || Shape(if weight.axis.is_some() { vec![count] } else { vec![] });
        let stored = self.names.take(&format!("{tensor}/quantized"));
        self.constants.push(TensorProto { name: Some(stored.clone()), ..found.values });
        let scale = self.scale(tensor, &found.scales, shape());
        let zero_point = self.zero_point(tensor, grid, &vec![0; count], &shape());
        let result = self.names.take(&format!("{tensor}/dequantized"));
        let axis = weight.axis.and_then(|axis| i64::try_from(axis).ok());
        let node = NodeProto {
            name: Some(self.names.take(&format!("{tensor}/DequantizeLinear"))),
            op_type: Some("DequantizeLinear".into()),
            input: vec![stored, scale, zero_point],
            output: vec![result.clone()],
            attribute: axis.map(|axis| int("axis", axis)).into_iter().collect(),
            ..NodeProto::default()
        };
        let report = QuantizedWeight {
            tensor: tensor.clone(),
            axis: weight.axis,
            scales: count,
            zero_channels: found.zero_channels,
        };
        Ok((node, result, report))
    }

    fn scale(&mut self, tensor: &str, scales: &[f32], shape: Shape) -> String {
        let name = self.names.take(&format!("{tensor}/scale"));
        if let Ok(scales) = Tensor::from_f32(shape, scales) {
            self.constants.push(from_tensor(&name, &scales));
        }
        name
    }

    /// Also says which type is quantized to. The byte of zero is zero in every grid.
    fn zero_point(&mut self, tensor: &str, grid: Grid, zeros: &[i8], shape: &Shape) -> String {
        let name = self.names.take(&format!("{tensor}/zero_point"));
        let bytes: Vec<u8> = zeros.iter().map(|zero| zero.cast_unsigned()).collect();
        self.constants.push(TensorProto {
            name: Some(name.clone()),
            dims: shape.0.iter().map(|&extent| i64::try_from(extent).unwrap_or(i64::MAX)).collect(),
            data_type: Some(data_type(grid.dtype()) as i32),
            raw_data: Some(bytes.into()),
            ..TensorProto::default()
        });
        name
    }
}
