//! The weights of a node that also scales and shifts its output's channels.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::{FreshNames, float_attribute, int_attribute};
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::shapes::Shapes;
use crate::onnx::tensors::elements;

use super::affine::{Affine, epsilon, is_inference};

/// Where the channels of a node's output are in its weight.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) channels: usize,
    /// The same, as the format writes it.
    pub(super) extent: i64,
    /// Axes of the node's output; the channels are the second.
    pub(super) rank: usize,
    /// The format's number of the weight's element type.
    pub(super) data_type: i32,
    pub(super) is_normalization: bool,
    /// Elements that stand together and belong to one channel.
    block: usize,
    /// Channels that one row of the weight has.
    per_row: usize,
    /// Rows of the weight that give the same channels.
    rows: usize,
}

impl Layout {
    /// The layout of a node that can take part; its constants are all there.
    pub(super) fn of(
        model: &Model,
        node: &NodeProto,
        constants: &HashMap<&str, &TensorProto>,
        shapes: &Shapes<'_>,
    ) -> Option<Self> {
        let op = node.op_type();
        let is_normalization = op == "BatchNormalization";
        let is_known = is_normalization || matches!(op, "Conv" | "ConvTranspose" | "Gemm");
        if !is_known || !model.is_standard_operator(node) || node.output.first()?.is_empty() {
            return None;
        }
        let constant = |index: usize| {
            let name = node.input.get(index).filter(|name| !name.is_empty());
            name.map(|name| constants.get(name.as_str()).copied())
        };
        let weight = constant(1)??;
        // Rounding weights to 16 bits a second time would change results visibly.
        let data_type = weight.data_type();
        if data_type != DataType::Float as i32 && data_type != DataType::Double as i32 {
            return None;
        }
        let dims: Option<Vec<usize>> =
            weight.dims.iter().map(|&extent| usize::try_from(extent).ok()).collect();
        let dims = dims.filter(|dims| !dims.contains(&0))?;
        let rank = dims.len();
        let (channels, rank, block, per_row, rows) = match (op, dims.as_slice()) {
            ("Conv", [channels, rest @ ..]) if rank > 2 => {
                (*channels, rank, rest.iter().product(), *channels, 1)
            }
            // [input channels, output channels of a group, kernel..]
            ("ConvTranspose", [inputs, per_group, kernel @ ..]) if rank > 2 => {
                let groups = int_attribute(node, "group", 1);
                let groups = usize::try_from(groups).ok().filter(|groups| *groups > 0)?;
                let rows = (inputs % groups == 0).then_some(inputs / groups)?;
                let channels = per_group.checked_mul(groups)?;
                (channels, rank, kernel.iter().product(), *per_group, rows)
            }
            ("Gemm", [rows, columns]) => {
                let plain = |name| float_attribute(node, name, 1.0).to_bits() == 1_f32.to_bits();
                if !plain("alpha") || !plain("beta") {
                    return None;
                }
                if int_attribute(node, "transB", 0) == 0 {
                    (*columns, 2, 1, *columns, *rows)
                } else {
                    (*rows, 2, *columns, *rows, 1)
                }
            }
            ("BatchNormalization", [channels]) if is_inference(node) => {
                (*channels, shapes.dims(node.input.first()?)?.len(), 1, *channels, 1)
            }
            _ => return None,
        };
        let extent = i64::try_from(channels).ok()?;
        let is_vector =
            |tensor: &TensorProto| tensor.data_type() == data_type && *tensor.dims == [extent];
        let others_fit = if is_normalization {
            (2..5).all(|index| constant(index).flatten().is_some_and(is_vector))
        } else {
            constant(2).is_none_or(|bias| bias.is_some_and(is_vector))
        };
        others_fit.then_some(Self {
            channels,
            extent,
            rank,
            data_type,
            is_normalization,
            block,
            per_row,
            rows,
        })
    }

    /// What tells the node's weights from others.
    pub(super) fn key(&self, node: &NodeProto) -> Vec<String> {
        let shape = [self.block, self.per_row, self.rows, self.channels];
        let mut words = vec![format!("{} {shape:?} {:?}", node.op_type(), epsilon(node).to_bits())];
        words.extend(node.input.iter().skip(1).cloned());
        words.push(";".into());
        words
    }

    /// The channel of a block of the weight.
    fn channel(&self, block: usize) -> usize {
        let (row, column) = (block / self.per_row, block % self.per_row);
        // Several rows give the same channels only where groups have channels of their own.
        if self.per_row == self.channels { column } else { row / self.rows * self.per_row + column }
    }
}

/// A constant of a node, as it is or made anew with the name that it wants.
pub(super) enum Part {
    Kept(String),
    Made(Box<TensorProto>),
}

impl Part {
    /// Adds the constant to the model, unless it is there; gives its name.
    pub(super) fn store(self, model: &mut Model, fresh: &mut FreshNames) -> String {
        match self {
            Self::Kept(name) => name,
            Self::Made(mut tensor) => {
                let name = fresh.take(tensor.name());
                tensor.name = Some(name.clone());
                model.graph.initializer.push(*tensor);
                name
            }
        }
    }
}

/// The constants after its input that a node needs to scale and shift its output too; `None` where
/// one of them is not finite. `places` has where the initializers stand.
pub(super) fn scaled(
    model: &Model,
    node: &NodeProto,
    layout: &Layout,
    affine: &Affine,
    places: &HashMap<String, usize>,
) -> Result<Option<Vec<Part>>, OnnxError> {
    let find = |name: &str| model.graph.initializer.get(*places.get(name)?);
    let Some(weight) = find(&node.input[1]) else { return Ok(None) };
    let changes = affine.factors.iter().any(|factor| factor.to_bits() != 1_f64.to_bits());
    let weight = if changes {
        let Some(bytes) = multiplied(model, weight, layout, &affine.factors)? else {
            return Ok(None);
        };
        made(format!("{}_scaled", node.input[1]), layout, weight.dims.clone(), bytes)
    } else {
        Part::Kept(node.input[1].clone())
    };
    let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
        None => vec![0.0; layout.channels],
        Some(name) => match find(name) {
            Some(bias) => model.values(bias)?.to_f64(),
            None => return Ok(None),
        },
    };
    let values: Vec<f64> = bias
        .iter()
        .zip(&affine.factors)
        .zip(&affine.shifts)
        .map(|((bias, factor), shift)| bias * factor + shift)
        .collect();
    let Some(bytes) = rounded(layout.data_type, &values) else { return Ok(None) };
    let bias = made(format!("{}_bias", node.output[0]), layout, vec![layout.extent], bytes);
    Ok(Some(vec![weight, bias]))
}

fn made(name: String, layout: &Layout, dims: Vec<i64>, bytes: Vec<u8>) -> Part {
    Part::Made(Box::new(TensorProto {
        name: Some(name),
        dims,
        data_type: Some(layout.data_type),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    }))
}

/// Blocks are handed to threads in pieces of about so many bytes.
const PIECE: usize = 1 << 18;

/// The bytes of a weight with each channel multiplied; `None` where a product is not finite.
fn multiplied(
    model: &Model,
    weight: &TensorProto,
    layout: &Layout,
    factors: &[f64],
) -> Result<Option<Vec<u8>>, OnnxError> {
    let source = model.dense(weight)?;
    let width = if layout.data_type == DataType::Float as i32 { 4 } else { 8 };
    let block = layout.block * width;
    if elements(weight).and_then(|count| count.checked_mul(width as u64))
        != Some(source.len() as u64)
    {
        return Ok(None);
    }
    let mut scaled = vec![0; source.len()];
    let is_finite = scaled
        .par_chunks_exact_mut(block)
        .zip(source.par_chunks_exact(block))
        .with_min_len((PIECE / block).max(1))
        .enumerate()
        .map(|(index, (to, from))| {
            let factor = factors[layout.channel(index)];
            if width == 4 { multiply_f32(to, from, factor) } else { multiply_f64(to, from, factor) }
        })
        .reduce(|| true, |a, b| a & b);
    Ok(is_finite.then_some(scaled))
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to the weights' own type")]
fn multiply_f32(to: &mut [u8], from: &[u8], factor: f64) -> bool {
    let mut is_finite = true;
    let (to, from) = (to.as_chunks_mut::<4>().0, from.as_chunks::<4>().0);
    for (to, from) in to.iter_mut().zip(from) {
        let product = (f64::from(f32::from_le_bytes(*from)) * factor) as f32;
        is_finite &= product.is_finite();
        *to = product.to_le_bytes();
    }
    is_finite
}

fn multiply_f64(to: &mut [u8], from: &[u8], factor: f64) -> bool {
    let mut is_finite = true;
    let (to, from) = (to.as_chunks_mut::<8>().0, from.as_chunks::<8>().0);
    for (to, from) in to.iter_mut().zip(from) {
        let product = f64::from_le_bytes(*from) * factor;
        is_finite &= product.is_finite();
        *to = product.to_le_bytes();
    }
    is_finite
}

/// Values in a floating-point type; `None` where one of them is not finite there.
#[expect(clippy::cast_possible_truncation, reason = "rounding to the weights' own type")]
fn rounded(data_type: i32, values: &[f64]) -> Option<Vec<u8>> {
    if data_type == DataType::Float as i32 {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let is_finite = values.iter().all(|value| value.is_finite());
        return is_finite.then(|| values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }
    let is_finite = values.iter().all(|value| value.is_finite());
    is_finite.then(|| values.iter().flat_map(|value| value.to_le_bytes()).collect())
}
