//! [`Affine`]: channels multiplied by factors and shifted.

use std::collections::HashMap;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::{float_attribute, int_attribute};
use crate::onnx::proto::{NodeProto, TensorProto};

use super::weights::Layout;

type Constants<'a> = HashMap<&'a str, &'a TensorProto>;

/// What happens to each channel: `factor * x + shift`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Affine {
    pub(super) factors: Vec<f64>,
    pub(super) shifts: Vec<f64>,
}

impl Affine {
    pub(super) fn nothing(channels: usize) -> Self {
        Self { factors: vec![1.0; channels], shifts: vec![0.0; channels] }
    }

    /// One after the other.
    pub(super) fn then(&self, next: &Self) -> Self {
        let factors = self.factors.iter().zip(&next.factors).map(|(a, b)| a * b);
        let shifts = self.shifts.iter().zip(&next.factors).zip(&next.shifts);
        Self {
            factors: factors.collect(),
            shifts: shifts.map(|((shift, factor), next)| shift * factor + next).collect(),
        }
    }

    /// What a node does to the channels of `from`, where that is all it does.
    pub(super) fn of(
        model: &Model,
        node: &NodeProto,
        from: &str,
        layout: &Layout,
        constants: &Constants<'_>,
    ) -> Result<Option<Self>, OnnxError> {
        if !model.is_standard_operator(node) || node.output.first().is_none_or(String::is_empty) {
            return Ok(None);
        }
        if node.op_type() == "BatchNormalization" {
            return Self::of_normalization(model, node, from, layout, constants);
        }
        let [left, right] = node.input.as_slice() else { return Ok(None) };
        let other = match (left == from, right == from) {
            (true, false) => right,
            (false, true) if matches!(node.op_type(), "Add" | "Mul") => left,
            _ => return Ok(None),
        };
        let Some(values) = per_channel(model, constants, other, layout)? else { return Ok(None) };
        let nothing = Self::nothing(layout.channels);
        Ok(match node.op_type() {
            "Mul" => Some(Self { factors: values, ..nothing }),
            "Add" => Some(Self { shifts: values, ..nothing }),
            "Sub" => {
                let shifts = values.into_iter().map(|value| -value).collect();
                Some(Self { shifts, ..nothing })
            }
            _ => None,
        })
    }

    fn of_normalization(
        model: &Model,
        node: &NodeProto,
        from: &str,
        layout: &Layout,
        constants: &Constants<'_>,
    ) -> Result<Option<Self>, OnnxError> {
        let [input, parameters @ ..] = node.input.as_slice() else { return Ok(None) };
        // A normalization does not fold into another one: that one's statistics are its own.
        if input != from || !is_inference(node) || layout.is_normalization {
            return Ok(None);
        }
        let mut parts = Vec::with_capacity(4);
        for name in parameters {
            let Some(tensor) = constants.get(name.as_str()) else { return Ok(None) };
            if tensor.data_type() != layout.data_type || *tensor.dims != [layout.extent] {
                return Ok(None);
            }
            parts.push(model.values(tensor)?.to_f64());
        }
        let Ok([scale, shift, mean, variance]) = <[Vec<f64>; 4]>::try_from(parts) else {
            return Ok(None);
        };
        let epsilon = f64::from(epsilon(node));
        let factors: Vec<f64> = scale
            .iter()
            .zip(&variance)
            .map(|(scale, var)| scale / (var + epsilon).sqrt())
            .collect();
        let shifts = shift.iter().zip(&mean).zip(&factors);
        let shifts = shifts.map(|((shift, mean), factor)| shift - mean * factor).collect();
        Ok(Some(Self { factors, shifts }))
    }
}

pub(super) fn epsilon(node: &NodeProto) -> f32 {
    float_attribute(node, "epsilon", 1e-5)
}

/// Whether a normalization uses its stored statistics, one per channel.
pub(super) fn is_inference(node: &NodeProto) -> bool {
    int_attribute(node, "training_mode", 0) == 0
        && int_attribute(node, "spatial", 1) == 1
        && node.output.iter().skip(1).all(String::is_empty)
}

/// A constant as one number per channel, where it is broadcast to channels.
fn per_channel(
    model: &Model,
    constants: &Constants<'_>,
    name: &str,
    layout: &Layout,
) -> Result<Option<Vec<f64>>, OnnxError> {
    let Some(tensor) = constants.get(name) else { return Ok(None) };
    let Some(offset) = layout.rank.checked_sub(tensor.dims.len()) else { return Ok(None) };
    let fits = tensor.data_type() == layout.data_type
        && tensor.dims.iter().enumerate().all(|(index, extent)| {
            *extent == 1 || (offset + index == 1 && *extent == layout.extent)
        });
    if !fits {
        return Ok(None);
    }
    let values = model.values(tensor)?.to_f64();
    Ok(match values.as_slice() {
        [only] => Some(vec![*only; layout.channels]),
        all if all.len() == layout.channels => Some(values),
        _ => None,
    })
}
