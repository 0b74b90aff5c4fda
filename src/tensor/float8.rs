//! [`Float8`]: the 8-bit floating-point formats, written.

/// An 8-bit floating-point format, by its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Float8 {
    mantissa: u8,
    min_exponent: i8,
    largest: u16,
}

impl Float8 {
    /// 4 exponent and 3 mantissa bits, without infinities, up to 448.
    pub const E4M3: Self = Self { mantissa: 3, min_exponent: -6, largest: 448 };
    /// 5 exponent and 2 mantissa bits, up to 57344.
    pub const E5M2: Self = Self { mantissa: 2, min_exponent: -14, largest: 57_344 };

    /// The value of the format that is nearest to `x`, ties to even, saturated; NaN stays NaN.
    pub fn nearest(self, x: f32) -> f32 {
        let largest = f32::from(self.largest);
        if !x.is_finite() || x == 0.0 {
            return if x.is_infinite() { largest.copysign(x) } else { x };
        }
        // The exponent of a float32 of this magnitude; smaller ones than the format's share its
        // step.
        let exponent =
            ((x.to_bits() >> 23 & 0xff).cast_signed() - 127).max(self.min_exponent.into());
        let step = 2f32.powi(exponent - i32::from(self.mantissa));
        ((x / step).round_ties_even() * step).clamp(-largest, largest)
    }

    /// The byte of the value that is nearest to `x`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the mantissa of a rounded value has few bits"
    )]
    pub fn encode(self, x: f32) -> u8 {
        let sign = u8::from(x.is_sign_negative()) << 7;
        if x.is_nan() {
            return sign | 0x7f;
        }
        let nearest = self.nearest(x).abs();
        let exponent = (nearest.to_bits() >> 23 & 0xff).cast_signed() - 127;
        let lowest = i32::from(self.min_exponent);
        let one = 1 << self.mantissa;
        let steps =
            |exponent: i32| (nearest / 2f32.powi(exponent - i32::from(self.mantissa))) as u8;
        if exponent < lowest {
            return sign | steps(lowest);
        }
        let biased = (exponent - lowest + 1) as u8;
        sign | biased << self.mantissa | (steps(exponent) - one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, to_f64};

    #[test]
    #[expect(clippy::float_cmp, clippy::cast_possible_truncation, reason = "all are exact")]
    fn every_value_of_a_format_is_written_as_its_byte() {
        for (format, dtype) in
            [(Float8::E4M3, DType::Float8E4M3), (Float8::E5M2, DType::Float8E5M2)]
        {
            for byte in 0..=255_u8 {
                let value = to_f64(dtype, &[byte])[0] as f32;
                if value.is_finite() {
                    assert_eq!(format.nearest(value), value);
                    assert_eq!(format.encode(value), byte, "{value}");
                }
            }
            assert!(to_f64(dtype, &[format.encode(f32::NAN)])[0].is_nan());
        }
    }

    #[test]
    #[expect(clippy::float_cmp, clippy::cast_possible_truncation, reason = "all are exact")]
    fn values_between_go_to_the_nearer_neighbour_and_the_middle_to_the_even_one() {
        for (format, dtype, largest) in
            [(Float8::E4M3, DType::Float8E4M3, 448.0), (Float8::E5M2, DType::Float8E5M2, 57_344.0)]
        {
            let all: Vec<u8> = (0..=255).collect();
            let values = to_f64(dtype, &all).into_iter().map(|value| value as f32);
            let mut values: Vec<f32> = values.filter(|value| value.is_finite()).collect();
            values.sort_by(f32::total_cmp);
            values.dedup();
            for pair in values.windows(2) {
                let middle = f32::midpoint(pair[0], pair[1]);
                let got = format.nearest(middle);
                assert!(got == pair[0] || got == pair[1], "{middle} became {got}");
                assert_eq!(format.nearest(middle.next_down()), pair[0], "below {middle}");
                assert_eq!(format.nearest(middle.next_up()), pair[1], "above {middle}");
            }
            assert_eq!(format.nearest(f32::INFINITY), largest);
            assert!(format.nearest(f32::NAN).is_nan());
        }
        assert_eq!(Float8::E4M3.nearest(1.0625), 1.0);
        assert_eq!(Float8::E4M3.nearest(1.1875), 1.25);
    }
}
