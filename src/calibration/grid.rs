//! [`Grid`]: the values that a quantized type has, and [`Quantizer`]: how a tensor is put on them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tensor::{DType, Float8};

use super::Range;

/// A quantized type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Grid {
    /// Integers from -128 to 127.
    #[default]
    #[serde(rename = "int8")]
    Int8,
    /// 8-bit floating point with 4 exponent and 3 mantissa bits, up to 448.
    #[serde(rename = "fp8_e4m3")]
    Fp8E4m3,
}

impl Grid {
    /// Its name in specs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Fp8E4m3 => "fp8_e4m3",
        }
    }

    /// The element type of its tensors.
    pub fn dtype(self) -> DType {
        match self {
            Self::Int8 => DType::Int8,
            Self::Fp8E4m3 => DType::Float8E4M3,
        }
    }

    /// The largest magnitude of symmetric ranges.
    pub fn largest(self) -> f32 {
        match self {
            Self::Int8 => 127.0,
            Self::Fp8E4m3 => 448.0,
        }
    }

    /// Whether the scale of a magnitude would be zero in any arithmetic that flushes subnormal
    /// numbers; of a range on one side of zero, too, which has twice as many steps.
    pub fn vanishes(self, magnitude: f32) -> bool {
        magnitude / (2.0 * self.largest() + 1.0) < f32::MIN_POSITIVE
    }
}

/// Scale and zero point of a tensor or channel: a value is `(q - zero_point) * scale`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantizer {
    /// The grid.
    #[serde(skip)]
    pub grid: Grid,
    /// The value of one step; above 0.
    pub scale: f32,
    /// What stands for zero; 0 where the range is symmetric.
    pub zero_point: i8,
}

impl Quantizer {
    /// For magnitudes up to this one; what vanishes gets scale 1.
    pub fn symmetric(grid: Grid, magnitude: f32) -> Self {
        let scale = if grid.vanishes(magnitude) { 1.0 } else { magnitude / grid.largest() };
        Self { grid, scale, zero_point: 0 }
    }

    /// For a range, of which zero always is a part: with a zero point, all 256 integers are used.
    pub fn asymmetric(range: Range) -> Self {
        let (min, max) = (range.min.min(0.0), range.max.max(0.0));
        // Halved first: the difference of extremes may be no float32.
        let scale = max / 255.0 - min / 255.0;
        if scale < f32::MIN_POSITIVE {
            return Self::symmetric(Grid::Int8, 0.0);
        }
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the type")]
        let zero_point = (-128.0 - min / scale).round_ties_even().clamp(-128.0, 127.0) as i8;
        Self { grid: Grid::Int8, scale, zero_point }
    }

    /// The value that stands for `value`.
    pub fn nearest(&self, value: f32) -> f32 {
        match self.grid {
            Grid::Int8 => {
                (f32::from(self.integer(value)) - f32::from(self.zero_point)) * self.scale
            }
            Grid::Fp8E4m3 => Float8::E4M3.nearest(value / self.scale) * self.scale,
        }
    }

    /// The byte that stands for `value`.
    pub fn encode(&self, value: f32) -> u8 {
        match self.grid {
            Grid::Int8 => self.integer(value).cast_unsigned(),
            Grid::Fp8E4m3 => Float8::E4M3.encode(value / self.scale),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "clamped to the type")]
    fn integer(self, value: f32) -> i8 {
        let steps = (value / self.scale).round_ties_even() + f32::from(self.zero_point);
        steps.clamp(-128.0, 127.0) as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "these values are exact")]
    fn symmetric_integers_round_half_to_even_and_saturate() {
        let quantizer = Quantizer::symmetric(Grid::Int8, 254.0);
        assert_eq!((quantizer.scale, quantizer.zero_point), (2.0, 0));
        for (value, nearest) in [(0.0, 0.0), (1.0, 0.0), (3.0, 4.0), (-3.1, -4.0), (900.0, 254.0)] {
            assert_eq!(quantizer.nearest(value), nearest, "{value}");
        }
        assert_eq!(quantizer.encode(-900.0), 0x80);
        assert_eq!(quantizer.nearest(f32::NAN), 0.0);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "zero is exact")]
    fn an_asymmetric_range_uses_every_integer_and_keeps_zero() {
        let quantizer = Quantizer::asymmetric(Range { min: 0.0, max: 6.0 });
        assert_eq!(quantizer.zero_point, -128);
        assert_eq!(quantizer.nearest(0.0), 0.0);
        assert!((quantizer.nearest(6.0) - 6.0).abs() < 1e-6);
        let quantizer = Quantizer::asymmetric(Range { min: 1.0, max: 3.0 });
        assert_eq!(quantizer.nearest(0.0), 0.0);
        let whole = Quantizer::asymmetric(Range { min: f32::MIN, max: f32::MAX });
        assert!(whole.scale.is_finite());
    }

    #[test]
    fn nothing_but_zeros_has_a_usable_scale() {
        for quantizer in [
            Quantizer::symmetric(Grid::Int8, 0.0),
            Quantizer::symmetric(Grid::Fp8E4m3, 1e-44),
            Quantizer::asymmetric(Range { min: 0.0, max: 0.0 }),
        ] {
            assert_eq!((quantizer.scale, quantizer.zero_point), (1.0, 0));
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these values are exact")]
    fn eight_bit_floats_keep_their_relative_precision() {
        let quantizer = Quantizer::symmetric(Grid::Fp8E4m3, 448.0);
        for value in [448.0, 416.0, 1.0, 0.0625, -0.001_953_125] {
            assert_eq!(quantizer.nearest(value), value);
        }
        assert_eq!(quantizer.nearest(1e9), 448.0);
        assert_eq!(quantizer.encode(448.0), 0x7e);
        assert_eq!(quantizer.encode(-1.0), 0xb8);
    }
}
