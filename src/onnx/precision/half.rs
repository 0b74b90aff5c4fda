//! [`Half`]: the two element types of 16 bits, and how float32 values fare in them.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::tensors::from_tensor;
use crate::tensor::{DType, Tensor};

/// An element type of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Half {
    /// IEEE 754 binary16: 11 significant bits, up to 65504.
    Float16,
    /// bfloat16: 8 significant bits, the range of float32.
    BFloat16,
}

impl Half {
    /// The element type.
    pub fn dtype(self) -> DType {
        match self {
            Self::Float16 => DType::Float16,
            Self::BFloat16 => DType::BFloat16,
        }
    }

    /// The type's name.
    pub fn name(self) -> &'static str {
        self.dtype().name()
    }

    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Float16 => DataType::Float16,
            Self::BFloat16 => DataType::Bfloat16,
        }
    }

    /// The largest finite value.
    pub(super) fn largest(self) -> f64 {
        match self {
            Self::Float16 => f16::MAX.to_f64(),
            Self::BFloat16 => bf16::MAX.to_f64(),
        }
    }

    /// The smallest positive value that has all significant bits.
    pub(super) fn smallest_normal(self) -> f64 {
        match self {
            Self::Float16 => f16::MIN_POSITIVE.to_f64(),
            Self::BFloat16 => bf16::MIN_POSITIVE.to_f64(),
        }
    }

    fn is_finite(self, value: f32) -> bool {
        match self {
            Self::Float16 => f16::from_f32(value).is_finite(),
            Self::BFloat16 => bf16::from_f32(value).is_finite(),
        }
    }

    fn is_zero(self, value: f32) -> bool {
        match self {
            Self::Float16 => f16::from_f32(value) == f16::ZERO,
            Self::BFloat16 => bf16::from_f32(value) == bf16::ZERO,
        }
    }

    /// The values rounded to the nearest, ties to even, as little-endian bytes.
    fn round(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::Float16 => {
                let mut rounded = vec![f16::ZERO; values.len()];
                rounded.convert_from_f32_slice(values);
                rounded.into_iter().flat_map(f16::to_le_bytes).collect()
            }
            Self::BFloat16 => {
                let mut rounded = vec![bf16::ZERO; values.len()];
                rounded.convert_from_f32_slice(values);
                rounded.into_iter().flat_map(bf16::to_le_bytes).collect()
            }
        }
    }

    /// A tensor of one zero.
    pub(super) fn zero(self) -> TensorProto {
        TensorProto {
            dims: vec![1],
            data_type: Some(self.data_type() as i32),
            raw_data: Some(vec![0; 2].into()),
            ..TensorProto::default()
        }
    }

    /// A float32 tensor of the model in this type, under another name.
    pub(super) fn convert(
        self,
        model: &Model,
        tensor: &TensorProto,
        name: &str,
    ) -> Result<TensorProto, OnnxError> {
        let values = model.values(tensor)?;
        let refused = |reason: String| OnnxError::Values {
            model: model.path().to_owned(),
            tensor: tensor.name().to_owned(),
            reason,
        };
        let floats = values
            .as_slice::<f32>()
            .ok_or_else(|| refused(format!("{} is not float32", values.dtype())))?;
        let rounded = Tensor::from_bytes(self.dtype(), values.shape().clone(), &self.round(floats))
            .map_err(|error| refused(error.to_string()))?;
        Ok(from_tensor(name, &rounded))
    }
}

/// How the values of a float32 tensor fare in 16 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Fit {
    /// The finite value of largest magnitude that becomes infinite, if one does.
    pub(super) overflow: Option<f32>,
    /// The part of the values other than zero that lose significant bits, or become zero, because
    /// they are small.
    pub(super) small: f64,
    /// A value other than zero that becomes zero.
    pub(super) vanishes: Option<f32>,
}

impl Fit {
    pub(super) fn of(values: &[f32], half: Half) -> Self {
        let mut fit = Self::default();
        let (mut nonzero, mut small) = (0_u64, 0_u64);
        for &value in values.iter().filter(|value| value.is_finite() && **value != 0.0) {
            nonzero += 1;
            small += u64::from(f64::from(value.abs()) < half.smallest_normal());
            if half.is_zero(value) {
                fit.vanishes.get_or_insert(value);
            }
            let beyond = !half.is_finite(value);
            if beyond && fit.overflow.is_none_or(|largest| value.abs() > largest.abs()) {
                fit.overflow = Some(value);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
        if nonzero > 0 {
            fit.small = small as f64 / nonzero as f64;
        }
        fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_the_nearest_even() {
        let bits = |half: Half, value: f32| {
            let bytes = half.round(&[value]);
            u16::from_le_bytes([bytes[0], bytes[1]])
        };
        // 1 + 2^-11 is half way between 1 and the next number; 1 + 3 * 2^-11 half way after it.
        assert_eq!(bits(Half::Float16, 1.0 + 2f32.powi(-11)), 0x3c00);
        assert_eq!(bits(Half::Float16, 1.0 + 3.0 * 2f32.powi(-11)), 0x3c02);
        assert_eq!(bits(Half::BFloat16, 1.0 + 2f32.powi(-8)), 0x3f80);
        assert_eq!(bits(Half::BFloat16, 1.0 + 3.0 * 2f32.powi(-8)), 0x3f82);
        assert_eq!(bits(Half::Float16, 65_519.0), 0x7bff);
        assert_eq!(bits(Half::Float16, -65_520.0), 0xfc00);
        assert_eq!(bits(Half::Float16, 2f32.powi(-24)), 1);
        assert_eq!(bits(Half::Float16, 2f32.powi(-25)), 0);
    }

    #[test]
    fn what_overflows_is_what_rounds_to_infinity() {
        assert_eq!(Fit::of(&[65_519.0, -1.0], Half::Float16).overflow, None);
        assert_eq!(Fit::of(&[7e4, -8e4, 1.0], Half::Float16).overflow, Some(-8e4));
        assert_eq!(Fit::of(&[-8e4, f32::INFINITY, f32::NAN], Half::BFloat16).overflow, None);
        assert_eq!(Fit::of(&[f32::INFINITY], Half::Float16).overflow, None);
        assert_eq!(Fit::of(&[f32::MAX], Half::BFloat16).overflow, Some(f32::MAX));
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these shares are exact")]
    fn zeros_are_not_small() {
        assert_eq!(Fit::of(&[0.0, 1e-6, 1.0, -1e-9, 2.0], Half::Float16).small, 0.5);
        assert_eq!(Fit::of(&[0.0, 1e-6, 1.0], Half::BFloat16).small, 0.0);
        assert_eq!(Fit::of(&[], Half::Float16), Fit::default());
    }
}
