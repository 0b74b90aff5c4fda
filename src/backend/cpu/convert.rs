//! Between the bytes that callers exchange and tract's tensors. Half-precision tensors are float32
//! inside (see `widen`), so they are converted here, at the edge.

use std::borrow::Cow;

use half::{bf16, f16};
use tract_onnx::prelude::{DatumType, Tensor as TractTensor};

use crate::tensor::{DType, Shape};

/// tract's name of an element type, float32 for half precision; `None` for FP8, which cannot be
/// exchanged.
pub(super) fn datum_type(dtype: DType) -> Option<DatumType> {
    Some(match dtype {
        DType::Float64 => DatumType::F64,
        DType::Float32 | DType::Float16 | DType::BFloat16 => DatumType::F32,
        DType::Float8E4M3 | DType::Float8E5M2 => return None,
        DType::Int64 => DatumType::I64,
        DType::Int32 => DatumType::I32,
        DType::Int16 => DatumType::I16,
        DType::Int8 => DatumType::I8,
        DType::UInt64 => DatumType::U64,
        DType::UInt32 => DatumType::U32,
        DType::UInt16 => DatumType::U16,
        DType::UInt8 => DatumType::U8,
        DType::Bool => DatumType::Bool,
    })
}

/// The element type of a tensor of tract's, where it has one here.
pub(super) fn dtype(datum_type: DatumType) -> Option<DType> {
    Some(match datum_type.unquantized() {
        DatumType::F64 => DType::Float64,
        DatumType::F32 => DType::Float32,
        DatumType::F16 => DType::Float16,
        DatumType::I64 | DatumType::TDim => DType::Int64,
        DatumType::I32 => DType::Int32,
        DatumType::I16 => DType::Int16,
        DatumType::I8 => DType::Int8,
        DatumType::U64 => DType::UInt64,
        DatumType::U32 => DType::UInt32,
        DatumType::U16 => DType::UInt16,
        DatumType::U8 => DType::UInt8,
        DatumType::Bool => DType::Bool,
        _ => return None,
    })
}

/// Copies a caller's bytes into a tensor of tract's.
pub(super) fn into_tract(dtype: DType, shape: &Shape, bytes: &[u8]) -> Result<TractTensor, String> {
    let datum_type =
        datum_type(dtype).ok_or_else(|| format!("{dtype} tensors cannot be exchanged"))?;
    let mut tensor = TractTensor::zero_dt(datum_type, &shape.0).map_err(|e| format!("{e:#}"))?;
    let target = tensor.as_bytes_mut();
    match dtype {
        DType::Float16 => widen(bytes, target, |bits| f16::from_bits(bits).to_f32()),
        DType::BFloat16 => widen(bytes, target, |bits| bf16::from_bits(bits).to_f32()),
        // Any other byte is not a value of Rust's `bool`, which is how tract reads them.
        DType::Bool => {
            for (target, byte) in target.iter_mut().zip(bytes) {
                *target = u8::from(*byte != 0);
            }
        }
        _ if target.len() == bytes.len() => target.copy_from_slice(bytes),
        _ => return Err(format!("{} bytes do not make a {dtype} tensor {shape}", bytes.len())),
    }
    Ok(tensor)
}

fn widen(bytes: &[u8], target: &mut [u8], to_f32: impl Fn(u16) -> f32) {
    let values = bytes.as_chunks::<2>().0.iter().map(|chunk| to_f32(u16::from_le_bytes(*chunk)));
    for (slot, value) in target.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *slot = value.to_le_bytes();
    }
}

/// The bytes of a result of tract's as elements of the type the model declares.
pub(super) fn from_tract(dtype: DType, tensor: &TractTensor) -> Result<Cow<'_, [u8]>, String> {
    let found = tensor.datum_type().unquantized();
    let wrong = || format!("the model declares {dtype}, the result is {found:?}");
    let declared = datum_type(dtype).ok_or_else(wrong)?;
    let widened = matches!(dtype, DType::Float16 | DType::BFloat16);
    if found == declared && !widened {
        return Ok(Cow::Borrowed(tensor.as_bytes()));
    }
    let view = || tensor.try_as_plain_ram().map_err(|e| format!("{e:#}"));
    match (dtype, found) {
        (DType::Float16, DatumType::F32) => {
            let view = view()?;
            let values = view.as_slice::<f32>().map_err(|e| format!("{e:#}"))?;
            Ok(Cow::Owned(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()))
        }
        (DType::BFloat16, DatumType::F32) => {
            let view = view()?;
            let values = view.as_slice::<f32>().map_err(|e| format!("{e:#}"))?;
            Ok(Cow::Owned(values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect()))
        }
        // Values that depend on shapes stay symbolic expressions inside tract.
        (DType::Int64 | DType::Int32, DatumType::TDim) => {
            let cast = tensor.cast_to_dt(declared).map_err(|e| format!("{}: {e:#}", wrong()))?;
            Ok(Cow::Owned(cast.as_bytes().to_vec()))
        }
        _ => Err(wrong()),
    }
}
