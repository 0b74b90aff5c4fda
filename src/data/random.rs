//! [`random`]: numbers that stand in for samples where only types and shapes matter.

use crate::tensor::{DType, Shape, Tensor, TensorError, to_f64};

/// A tensor of numbers that are the same for the same `name` on every machine: fractions from 0
/// to 1 as near as the element type has them; integers and booleans are 0 or 1, which are good
/// indices, tokens and masks for most models.
pub fn random(name: &str, dtype: DType, shape: Shape) -> Result<Tensor, TensorError> {
    let mut tensor = Tensor::zeros(dtype, shape)?;
    let float8 = float8_up_to_1(dtype);
    let mut state = seed(name);
    for element in tensor.bytes_mut().chunks_exact_mut(dtype.size()) {
        let bits = split_mix(&mut state);
        let fraction = fraction(bits);
        let encoded = match dtype {
            DType::Float64 => f64::from(fraction).to_bits(),
            DType::Float32 => fraction.to_bits().into(),
            DType::Float16 => half::f16::from_f32(fraction).to_bits().into(),
            DType::BFloat16 => half::bf16::from_f32(fraction).to_bits().into(),
            DType::Float8E4M3 | DType::Float8E5M2 => {
                let above = float8.partition_point(|value| *value <= f64::from(fraction));
                above.saturating_sub(1) as u64
            }
            _ => bits >> 63,
        };
        element.copy_from_slice(&encoded.to_le_bytes()[..dtype.size()]);
    }
    Ok(tensor)
}

/// The values of the codes from 0 to that of 1.0, ascending as the codes do.
fn float8_up_to_1(dtype: DType) -> Vec<f64> {
    let codes = match dtype {
        DType::Float8E4M3 => 0..=0x38,
        DType::Float8E5M2 => 0..=0x3c,
        _ => return Vec::new(),
    };
    to_f64(dtype, &codes.collect::<Vec<u8>>())
}

/// The upper 24 bits as a fraction of 2^24, which is exact.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit the 24 of a float32's mantissa")]
fn fraction(bits: u64) -> f32 {
    (bits >> 40) as f32 / 16_777_216.0
}

/// A name as a number: FNV-1a.
fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The next of a sequence of well-mixed numbers: `SplitMix64`.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(name: &str, dtype: DType) -> Vec<f64> {
        random(name, dtype, vec![4, 250].into()).unwrap().to_f64()
    }

    #[test]
    fn every_type_has_numbers_from_0_to_1_that_are_not_all_the_same() {
        for dtype in DType::ALL {
            let numbers = numbers("x", dtype);
            assert!(numbers.iter().all(|number| (0.0..=1.0).contains(number)), "{dtype}");
            let mean = numbers.iter().sum::<f64>() / 1000.0;
            assert!((0.4..0.6).contains(&mean), "{dtype}: {mean}");
            let whole = numbers.iter().all(|number| number.fract() == 0.0);
            assert_eq!(whole, !dtype.is_float(), "{dtype}");
        }
    }

    #[test]
    fn the_same_name_gives_the_same_numbers_in_every_type_and_another_name_others() {
        let wide = numbers("x", DType::Float32);
        assert_eq!(wide, numbers("x", DType::Float32));
        assert_ne!(wide, numbers("y", DType::Float32));
        for (dtype, step) in [(DType::Float16, 1e-3), (DType::Float8E4M3, 0.07)] {
            let narrow = numbers("x", dtype);
            assert!(wide.iter().zip(narrow).all(|(a, b)| (a - b).abs() < step), "{dtype}");
        }
        insta::assert_snapshot!(
            format!("{:?}", &wide[..3]),
            @"[0.201208233833313, 0.8085267543792725, 0.6433236002922058]"
        );
    }
}
