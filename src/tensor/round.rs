//! float32 values in 16 bits.

use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};

use super::{DType, Tensor};

impl Tensor {
    /// A float32 tensor in float16 or bfloat16: each value rounded to the nearest, ties to even,
    /// and what is beyond the range to infinity. `None` of other types, and to others.
    pub fn rounded(&self, dtype: DType) -> Option<Self> {
        let values = self.as_slice::<f32>().filter(|_| self.dtype == DType::Float32)?;
        let bytes: Vec<u8> = match dtype {
            DType::Float16 => {
                let mut rounded = vec![f16::ZERO; values.len()];
                rounded.convert_from_f32_slice(values);
                rounded.into_iter().flat_map(f16::to_le_bytes).collect()
            }
            DType::BFloat16 => {
                let mut rounded = vec![bf16::ZERO; values.len()];
                rounded.convert_from_f32_slice(values);
                rounded.into_iter().flat_map(bf16::to_le_bytes).collect()
            }
            _ => return None,
        };
        Self::from_bytes(dtype, self.shape.clone(), &bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_the_nearest_even() {
        let bits = |dtype: DType, value: f32| {
            let tensor =
                Tensor::from_f32(vec![1].into(), &[value]).unwrap().rounded(dtype).unwrap();
            assert_eq!((tensor.dtype(), &tensor.shape().0), (dtype, &vec![1]));
            u16::from_le_bytes([tensor.bytes()[0], tensor.bytes()[1]])
        };
        // 1 + 2^-11 is half way between 1 and the next number; 1 + 3 * 2^-11 half way after it.
        assert_eq!(bits(DType::Float16, 1.0 + 2f32.powi(-11)), 0x3c00);
        assert_eq!(bits(DType::Float16, 1.0 + 3.0 * 2f32.powi(-11)), 0x3c02);
        assert_eq!(bits(DType::BFloat16, 1.0 + 2f32.powi(-8)), 0x3f80);
        assert_eq!(bits(DType::BFloat16, 1.0 + 3.0 * 2f32.powi(-8)), 0x3f82);
        assert_eq!(bits(DType::Float16, 65_519.0), 0x7bff);
        assert_eq!(bits(DType::Float16, -65_520.0), 0xfc00);
        assert_eq!(bits(DType::Float16, 2f32.powi(-24)), 1);
        assert_eq!(bits(DType::Float16, 2f32.powi(-25)), 0);
    }

    #[test]
    fn other_types_are_not_rounded() {
        let floats = Tensor::from_f32(vec![1].into(), &[1.0]).unwrap();
        assert!(floats.rounded(DType::Float32).is_none());
        assert!(floats.rounded(DType::Int32).is_none());
        let integers = Tensor::zeros(DType::Int32, vec![1].into()).unwrap();
        assert!(integers.rounded(DType::Float16).is_none());
    }
}
