//! The trial that a CUDA graph must pass before it is used: inputs A, B and A again give bit for
//! bit what plain runs give.
//!
//! A graph that keeps something of an earlier run, or skips work, answers with an earlier request's
//! outputs. B shows the first; that outputs are overwritten before each run shows the second.

use crate::tensor::DType;

use super::staging::{Input, Output};

/// The contents of all inputs or outputs, in the engine's types.
pub(super) type Contents = Vec<Vec<u8>>;

/// What outputs hold before a run of a trial: no result of one.
pub(super) const POISON: u8 = 0xa5;

/// What the inputs hold.
pub(super) fn read_inputs(inputs: &[Input]) -> Contents {
    inputs.iter().map(|input| input.staged().to_vec()).collect()
}

/// What the outputs hold.
pub(super) fn read_outputs(outputs: &[Output]) -> Contents {
    outputs.iter().map(|output| output.staged().to_vec()).collect()
}

/// Inputs that the engine takes as well as these, and that are not the same: the same values in
/// the opposite order, so that none is out of a range that only the model knows. `None` where
/// there are none, since all values are the same.
pub(super) fn others(inputs: &[Input], contents: &Contents) -> Option<Contents> {
    let pairs = inputs.iter().zip(contents);
    let other: Contents = pairs.map(|(input, bytes)| opposite(input.port.dtype, bytes)).collect();
    (other != *contents).then_some(other)
}

fn opposite(dtype: DType, bytes: &[u8]) -> Vec<u8> {
    let reversed: Vec<u8> = bytes.chunks(dtype.size().max(1)).rev().flatten().copied().collect();
    // Any number will do where numbers are measured, not counted: zero in place of the first.
    match dtype {
        DType::Float64 | DType::Float32 | DType::Float16 | DType::BFloat16 if reversed == bytes => {
            let mut other = reversed;
            let first = other.iter_mut().take(dtype.size());
            first.for_each(|byte| *byte = 0);
            other
        }
        _ => reversed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opposite_has_the_same_values_and_is_another() {
        assert_eq!(opposite(DType::Int32, &[1, 0, 0, 0, 2, 0, 0, 0]), [2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(opposite(DType::UInt8, &[1, 2, 3]), [3, 2, 1]);
    }

    #[test]
    fn equal_measures_get_a_zero_and_equal_counts_stay() {
        let ones = [1.0_f32, 1.0].map(f32::to_le_bytes).concat();
        let other = [0.0_f32, 1.0].map(f32::to_le_bytes).concat();
        assert_eq!(opposite(DType::Float32, &ones), other);
        assert_eq!(opposite(DType::Int64, &[7; 16]), [7; 16]);
    }
}
