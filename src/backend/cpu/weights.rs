//! The values of constant tensors, wherever the model keeps them and however narrow they are.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::onnx::proto::TensorProto;
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::tensor::{DType, to_f64};

use super::fault::Fault;
use super::model::external_path;
use super::signature::{dtype, type_name};

/// Number of elements of a tensor; fails on negative or overflowing extents.
pub(super) fn elements(tensor: &TensorProto) -> Result<usize, Fault> {
    tensor
        .dims
        .iter()
        .try_fold(1_usize, |product, &extent| product.checked_mul(usize::try_from(extent).ok()?))
        .ok_or_else(|| Fault::Model(format!("tensor `{}` has impossible extents", tensor.name())))
}

/// Every element as a float64: exact for all types of at most 32 bits.
pub(super) fn values(tensor: &TensorProto, folder: Option<&Path>) -> Result<Vec<f64>, Fault> {
    let count = elements(tensor)?;
    let kind = DataType::try_from(tensor.data_type()).unwrap_or(DataType::Undefined);
    let values = if tensor.raw_data.is_none() && tensor.data_location() == DataLocation::Default {
        from_fields(tensor, kind, count)
    } else {
        let bytes = raw_bytes(tensor, folder)?;
        from_raw(kind, tensor.data_type(), &bytes, count)
    };
    values.filter(|values| values.len() == count).ok_or_else(|| {
        Fault::Model(format!(
            "the data of tensor `{}` is not {count} elements of type {}",
            tensor.name(),
            type_name(tensor.data_type())
        ))
    })
}

fn from_raw(kind: DataType, number: i32, bytes: &[u8], count: usize) -> Option<Vec<f64>> {
    match kind {
        DataType::Uint4 | DataType::Int4 => {
            Some(nibbles(bytes.iter().copied(), kind == DataType::Int4, count))
        }
        _ => {
            let dtype = dtype(number)?;
            (bytes.len() == count.checked_mul(dtype.size())?).then(|| to_f64(dtype, bytes))
        }
    }
}

/// The typed fields: narrow types share `int32_data`, one element (or one packed byte) an entry.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "entries are the bits of narrower elements; integers past 2^53 round"
)]
fn from_fields(tensor: &TensorProto, kind: DataType, count: usize) -> Option<Vec<f64>> {
    let ints = &tensor.int32_data;
    let bytes = || ints.iter().map(|&entry| entry as u8);
    let halves =
        || ints.iter().flat_map(|&entry| (entry as u16).to_le_bytes()).collect::<Vec<u8>>();
    Some(match kind {
        DataType::Float => tensor.float_data.iter().copied().map(f64::from).collect(),
        DataType::Double => tensor.double_data.clone(),
        DataType::Int64 => tensor.int64_data.iter().map(|&v| v as f64).collect(),
        DataType::Uint64 | DataType::Uint32 => {
            tensor.uint64_data.iter().map(|&v| v as f64).collect()
        }
        DataType::Float16 => to_f64(DType::Float16, &halves()),
        DataType::Bfloat16 => to_f64(DType::BFloat16, &halves()),
        DataType::Float8e4m3fn => to_f64(DType::Float8E4M3, &bytes().collect::<Vec<_>>()),
        DataType::Float8e5m2 => to_f64(DType::Float8E5M2, &bytes().collect::<Vec<_>>()),
        DataType::Uint4 | DataType::Int4 => nibbles(bytes(), kind == DataType::Int4, count),
        DataType::Int32
        | DataType::Int16
        | DataType::Int8
        | DataType::Uint16
        | DataType::Uint8
        | DataType::Bool => ints.iter().map(|&v| f64::from(v)).collect(),
        _ => return None,
    })
}

/// Two 4-bit elements a byte, the first in the low half.
fn nibbles(bytes: impl Iterator<Item = u8>, signed: bool, count: usize) -> Vec<f64> {
    let value = |nibble: u8| {
        if signed && nibble > 7 { f64::from(nibble) - 16.0 } else { f64::from(nibble) }
    };
    let mut values: Vec<f64> =
        bytes.flat_map(|byte| [value(byte & 0x0f), value(byte >> 4)]).collect();
    if values.len() == count + 1 {
        values.pop();
    }
    values
}

/// The bytes of a tensor that keeps them raw, in the model or beside it.
fn raw_bytes<'a>(tensor: &'a TensorProto, folder: Option<&Path>) -> Result<Cow<'a, [u8]>, Fault> {
    if tensor.data_location() == DataLocation::Default {
        return Ok(Cow::Borrowed(tensor.raw_data()));
    }
    let relative = external_path(tensor)?;
    let path = folder.unwrap_or(Path::new("")).join(&relative);
    let number = |key: &str| -> Result<Option<u64>, Fault> {
        let entry = tensor.external_data.iter().find(|entry| entry.key() == key);
        entry.map(|entry| entry.value().parse()).transpose().map_err(|_| {
            Fault::Model(format!("the external {key} of tensor `{}` is no number", tensor.name()))
        })
    };
    let offset = number("offset")?.unwrap_or(0);
    let length = number("length")?;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        match length {
            Some(length) => file.take(length).read_to_end(&mut bytes)?,
            None => file.read_to_end(&mut bytes)?,
        };
        Ok(bytes)
    };
    read().map(Cow::Owned).map_err(|e| {
        Fault::Model(format!(
            "failed to read the data of tensor `{}` from `{}`: {e}",
            tensor.name(),
            path.display()
        ))
    })
}
