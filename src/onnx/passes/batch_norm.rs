//! Folds `BatchNormalization` into the `Conv` or `ConvTranspose` before it.

use std::collections::HashMap;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::tensors::from_tensor;
use crate::tensor::{DType, Shape, Tensor};

use super::{Evaluator, Pass};
use crate::onnx::names::{FreshNames, Uses, float_attribute, int_attribute};

pub(super) struct FoldBatchNorm;

impl Pass for FoldBatchNorm {
    fn name(&self) -> &'static str {
        "fold-batch-norm"
    }

    fn run(&self, model: &mut Model, _evaluator: &dyn Evaluator) -> Result<usize, OnnxError> {
        let mut fresh = FreshNames::of(&model.graph);
        let folds = find(model)?;
        let mut removed = vec![false; model.graph.node.len()];
        for fold in &folds {
            let output = model.graph.node[fold.norm].output[0].clone();
            let conv = &mut model.graph.node[fold.conv];
            let weight = fresh.take(&format!("{}_normalized", conv.input[1]));
            let bias = fresh.take(&format!("{output}_bias"));
            model.graph.initializer.push(from_tensor(&weight, &fold.weight));
            model.graph.initializer.push(from_tensor(&bias, &fold.bias));
            conv.input.truncate(1);
            conv.input.extend([weight, bias]);
            conv.output = vec![output];
            removed[fold.norm] = true;
        }
        let mut gone = removed.into_iter();
        model.graph.node.retain(|_| !gone.next().unwrap_or(false));
        Ok(folds.len())
    }
}

/// A convolution and a normalization that become one node, and its weights.
struct Fold {
    conv: usize,
    norm: usize,
    weight: Tensor,
    bias: Tensor,
}

fn find(model: &Model) -> Result<Vec<Fold>, OnnxError> {
    let graph = &model.graph;
    let uses = Uses::of(graph);
    let constants = model.constants();
    let mut convolutions: HashMap<&str, usize> = HashMap::new();
    let mut folds = Vec::new();
    for (index, node) in graph.node.iter().enumerate() {
        if model.is_standard(node, "Conv") || model.is_standard(node, "ConvTranspose") {
            convolutions.extend(node.output.first().map(|output| (output.as_str(), index)));
        }
        if !model.is_standard(node, "BatchNormalization") || !is_inference(node) {
            continue;
        }
        let ([input, ..], [_, ..]) = (node.input.as_slice(), node.output.as_slice()) else {
            continue;
        };
        let Some(&conv) = convolutions.get(input.as_str()) else { continue };
        let found = uses.get(input);
        if found.reads == 1
            && !found.pinned
            && let Some((weight, bias)) =
                folded_weights(model, &graph.node[conv], node, &constants)?
        {
            folds.push(Fold { conv, norm: index, weight, bias });
        }
    }
    Ok(folds)
}

/// Whether a normalization uses its stored statistics, one per channel.
fn is_inference(node: &NodeProto) -> bool {
    int_attribute(node, "training_mode", 0) == 0
        && int_attribute(node, "spatial", 1) == 1
        && node.output.iter().skip(1).all(String::is_empty)
}

/// Weights and bias of the convolution that does the work of both nodes, if there is one.
fn folded_weights(
    model: &Model,
    conv: &NodeProto,
    norm: &NodeProto,
    constants: &HashMap<&str, &TensorProto>,
) -> Result<Option<(Tensor, Tensor)>, OnnxError> {
    let constant = |node: &NodeProto, index: usize| {
        let name = node.input.get(index).filter(|name| !name.is_empty())?;
        constants.get(name.as_str()).copied()
    };
    let has_bias = conv.input.get(2).is_some_and(|name| !name.is_empty());
    let parts = [
        constant(conv, 1),
        constant(norm, 1),
        constant(norm, 2),
        constant(norm, 3),
        constant(norm, 4),
    ];
    let (parts, bias) = match (parts, constant(conv, 2)) {
        ([Some(weight), Some(a), Some(b), Some(c), Some(d)], bias)
            if bias.is_some() == has_bias =>
        {
            ([weight, a, b, c, d], bias)
        }
        _ => return Ok(None),
    };
    // Rounding weights to 16 bits a second time would change results visibly.
    let dtype = crate::onnx::dtype(parts[0].data_type())
        .filter(|dtype| matches!(dtype, DType::Float32 | DType::Float64));
    let same = parts.iter().chain(&bias).all(|part| part.data_type() == parts[0].data_type());
    let (Some(dtype), true) = (dtype, same) else { return Ok(None) };

    let weight = model.values(parts[0])?;
    if weight.elements() == 0 {
        return Ok(None);
    }
    let read = |part: &TensorProto| model.values(part).map(|tensor| tensor.to_f64());
    let [scale, shift, mean, variance] =
        [read(parts[1])?, read(parts[2])?, read(parts[3])?, read(parts[4])?];
    let channels = scale.len();
    let bias = bias.map(read).transpose()?.unwrap_or_else(|| vec![0.0; channels]);
    let Some(channel_of) = output_channels(conv, weight.shape(), channels) else {
        return Ok(None);
    };
    if [shift.len(), mean.len(), variance.len(), bias.len()] != [channels; 4] {
        return Ok(None);
    }
    let epsilon = f64::from(float_attribute(norm, "epsilon", 1e-5));
    let factors: Vec<f64> =
        scale.iter().zip(&variance).map(|(scale, var)| scale / (var + epsilon).sqrt()).collect();
    let values: Vec<f64> = weight
        .to_f64()
        .iter()
        .zip(channel_of)
        .map(|(value, channel)| value * factors[channel])
        .collect();
    let biases: Vec<f64> = (0..channels)
        .map(|channel| (bias[channel] - mean[channel]) * factors[channel] + shift[channel])
        .collect();
    let weight = rounded(dtype, weight.shape().clone(), &values);
    let bias = rounded(dtype, Shape(vec![channels]), &biases);
    Ok(weight.zip(bias))
}

/// The output channel of each weight in storage order; `None` where the shape does not fit.
fn output_channels(
    conv: &NodeProto,
    shape: &Shape,
    channels: usize,
) -> Option<Box<dyn Iterator<Item = usize>>> {
    let [first, second, kernel @ ..] = shape.0.as_slice() else { return None };
    let (first, second) = (*first, *second);
    let kernel: usize = kernel.iter().product();
    if conv.op_type() == "Conv" {
        let per_channel = second * kernel;
        return (first == channels).then(|| -> Box<dyn Iterator<Item = usize>> {
            Box::new((0..first * per_channel).map(move |index| index / per_channel))
        });
    }
    // [input channels, output channels of a group, kernel..]
    let groups = usize::try_from(int_attribute(conv, "group", 1)).ok().filter(|&n| n > 0)?;
    let per_group = first / groups;
    (first % groups == 0 && second.checked_mul(groups) == Some(channels)).then(
        || -> Box<dyn Iterator<Item = usize>> {
            Box::new((0..first * second * kernel).map(move |index| {
                let (row, column) = (index / (second * kernel), index / kernel % second);
                row / per_group * second + column
            }))
        },
    )
}

/// The values in a floating-point type; `None` where one of them is not finite there.
#[expect(clippy::cast_possible_truncation, reason = "rounding to the weights' own type")]
fn rounded(dtype: DType, shape: Shape, values: &[f64]) -> Option<Tensor> {
    let bytes: Vec<u8> = match dtype {
        DType::Float32 => {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            if !values.iter().all(|value| value.is_finite()) {
                return None;
            }
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        _ if values.iter().all(|value| value.is_finite()) => {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        _ => return None,
    };
    Tensor::from_bytes(dtype, shape, &bytes).ok()
}
