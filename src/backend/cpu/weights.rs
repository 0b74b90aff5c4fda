//! The values of constant tensors, however narrow they are.

use crate::backend::fault::Fault;
use crate::onnx::Model;
use crate::onnx::proto::TensorProto;
use crate::onnx::proto::tensor_proto::DataType;

/// Number of elements of a tensor; fails on negative or overflowing extents.
pub(super) fn elements(tensor: &TensorProto) -> Result<usize, Fault> {
    tensor
        .dims
        .iter()
        .try_fold(1_usize, |product, &extent| product.checked_mul(usize::try_from(extent).ok()?))
        .ok_or_else(|| Fault::Model(format!("tensor `{}` has impossible extents", tensor.name())))
}

/// Every element as a float64: exact for all types of at most 32 bits.
pub(super) fn values(model: &Model, tensor: &TensorProto) -> Result<Vec<f64>, Fault> {
    let signed = tensor.data_type() == DataType::Int4 as i32;
    if !signed && tensor.data_type() != DataType::Uint4 as i32 {
        return Ok(model.values(tensor)?.to_f64());
    }
    let count = elements(tensor)?;
    let packed = TensorProto {
        data_type: Some(DataType::Uint8 as i32),
        dims: vec![i64::try_from(count.div_ceil(2)).unwrap_or(i64::MAX)],
        ..tensor.clone()
    };
    Ok(nibbles(model.values(&packed)?.bytes(), signed, count))
}

/// Two 4-bit elements a byte, the first in the low half.
fn nibbles(bytes: &[u8], signed: bool, count: usize) -> Vec<f64> {
    let value = |nibble: u8| {
        if signed && nibble > 7 { f64::from(nibble) - 16.0 } else { f64::from(nibble) }
    };
    bytes.iter().flat_map(|byte| [value(byte & 0x0f), value(byte >> 4)]).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bit_elements_are_unpacked_low_half_first() {
        assert_eq!(nibbles(&[0x8f, 0x07], true, 3), [-1.0, -8.0, 7.0]);
        assert_eq!(nibbles(&[0x8f], false, 2), [15.0, 8.0]);
    }
}
