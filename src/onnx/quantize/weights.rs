//! Constants on the grid of a quantized type.

use prost::bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::calibration::{Grid, Quantizer};
use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensors::data_type;

use super::Weight;

/// What became of a constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizedWeight {
    /// Its name.
    pub tensor: String,
    /// The axis with a scale for each index; `None` where one scale is for all.
    pub axis: Option<usize>,
    /// How many scales it has.
    pub scales: usize,
    /// Channels in which all values are zero, or too small for a scale.
    pub zero_channels: usize,
}

/// A constant's quantized values and their scales, largest magnitude of each channel exact.
pub(super) struct OnGrid {
    pub(super) values: TensorProto,
    pub(super) scales: Vec<f32>,
    pub(super) zero_channels: usize,
}

/// Quantizes a float32 constant.
pub(super) fn on_grid(
    model: &Model,
    tensor: &TensorProto,
    weight: &Weight,
    grid: Grid,
) -> Result<OnGrid, OnnxError> {
    let refused = |reason: String| OnnxError::Values {
        model: model.path().to_owned(),
        tensor: weight.tensor.clone(),
        reason,
    };
    let values = model.values(tensor)?;
    let shape = values.shape().0.clone();
    let values: &[f32] =
        values.as_slice().ok_or_else(|| refused("the weights are not float32".into()))?;
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(refused(format!("value {at} is {}, which no scale can represent", values[at])));
    }
    let (channels, inner) = match weight.axis {
        Some(axis) if axis < shape.len() => (shape[axis], shape[axis + 1..].iter().product()),
        _ => (1, values.len()),
    };
    let channel = |at: usize| at.checked_div(inner).unwrap_or(0) % channels.max(1);
    let mut magnitudes = vec![0f32; channels];
    for (at, value) in values.iter().enumerate() {
        let magnitude = &mut magnitudes[channel(at)];
        *magnitude = magnitude.max(value.abs());
    }
    let quantizers: Vec<Quantizer> =
        magnitudes.iter().map(|&magnitude| Quantizer::symmetric(grid, magnitude)).collect();
    let bytes: Vec<u8> = values
        .iter()
        .enumerate()
        .map(|(at, value)| quantizers[channel(at)].encode(*value))
        .collect();
    Ok(OnGrid {
        values: TensorProto {
            dims: tensor.dims.clone(),
            data_type: Some(data_type(grid.dtype()) as i32),
            raw_data: Some(Bytes::from(bytes)),
            ..TensorProto::default()
        },
        scales: quantizers.iter().map(|quantizer| quantizer.scale).collect(),
        zero_channels: magnitudes.iter().filter(|magnitude| grid.vanishes(**magnitude)).count(),
    })
}
