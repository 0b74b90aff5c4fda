//! Which values made-up samples of an element type can have.

use crate::tensor::DType;

/// The lowest and the highest value that a sample can have; `None` for types that no samples are
/// made of.
pub(super) fn bounds(dtype: DType) -> Option<[f64; 2]> {
    Some(match dtype {
        DType::Float64 => [f64::MIN, f64::MAX],
        DType::Float32 => [f64::from(f32::MIN), f64::from(f32::MAX)],
        DType::Float16 => [-65504.0, 65504.0],
        // The next float64 is one too many.
        DType::Int64 => [-9_223_372_036_854_775_808.0, 9_223_372_036_854_774_784.0],
        DType::UInt64 => [0.0, 18_446_744_073_709_549_568.0],
        DType::Int32 => [f64::from(i32::MIN), f64::from(i32::MAX)],
        DType::Int16 => [f64::from(i16::MIN), f64::from(i16::MAX)],
        DType::Int8 => [f64::from(i8::MIN), f64::from(i8::MAX)],
        DType::UInt32 => [0.0, f64::from(u32::MAX)],
        DType::UInt16 => [0.0, f64::from(u16::MAX)],
        DType::UInt8 => [0.0, f64::from(u8::MAX)],
        DType::Bool => [0.0, 1.0],
        DType::BFloat16 | DType::Float8E4M3 | DType::Float8E5M2 => return None,
    })
}

/// Why no sample can be drawn from a range.
pub(super) fn fits(range: [f64; 2], dtype: DType, bounds: [f64; 2]) -> Result<(), String> {
    let [low, high] = range;
    if !(low.is_finite() && high.is_finite() && low <= high) {
        return Err("expected two numbers, the lower first".to_owned());
    }
    if low < bounds[0] || high > bounds[1] {
        return Err(format!("beyond what {dtype} holds"));
    }
    if !(high - low).is_finite() {
        return Err("too wide to draw from".to_owned());
    }
    let is_float = matches!(dtype, DType::Float64 | DType::Float32 | DType::Float16);
    if !is_float && low.ceil() > high.floor() {
        return Err(format!("with no {dtype} in it"));
    }
    Ok(())
}
