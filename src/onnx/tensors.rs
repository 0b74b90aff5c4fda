//! Between the format's tensors and [`Tensor`].

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use crate::tensor::{DType, Shape, Tensor};

use super::error::OnnxError;
use super::external;
use super::model::Model;
use super::proto::TensorProto;
use super::proto::tensor_proto::{DataLocation, DataType};

/// The element type of a format's number; `None` for one that [`Tensor`] does not have (strings,
/// complex numbers, types below 8 bits).
pub fn dtype(data_type: i32) -> Option<DType> {
    Some(match DataType::try_from(data_type).ok()? {
        DataType::Double => DType::Float64,
        DataType::Float => DType::Float32,
        DataType::Float16 => DType::Float16,
        DataType::Bfloat16 => DType::BFloat16,
        DataType::Float8e4m3fn => DType::Float8E4M3,
        DataType::Float8e5m2 => DType::Float8E5M2,
        DataType::Int64 => DType::Int64,
        DataType::Int32 => DType::Int32,
        DataType::Int16 => DType::Int16,
        DataType::Int8 => DType::Int8,
        DataType::Uint64 => DType::UInt64,
        DataType::Uint32 => DType::UInt32,
        DataType::Uint16 => DType::UInt16,
        DataType::Uint8 => DType::UInt8,
        DataType::Bool => DType::Bool,
        _ => return None,
    })
}

/// The format's number of an element type.
pub fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::Float64 => DataType::Double,
        DType::Float32 => DataType::Float,
        DType::Float16 => DataType::Float16,
        DType::BFloat16 => DataType::Bfloat16,
        DType::Float8E4M3 => DataType::Float8e4m3fn,
        DType::Float8E5M2 => DataType::Float8e5m2,
        DType::Int64 => DataType::Int64,
        DType::Int32 => DataType::Int32,
        DType::Int16 => DataType::Int16,
        DType::Int8 => DataType::Int8,
        DType::UInt64 => DataType::Uint64,
        DType::UInt32 => DataType::Uint32,
        DType::UInt16 => DataType::Uint16,
        DType::UInt8 => DataType::Uint8,
        DType::Bool => DataType::Bool,
    }
}

/// What messages call an element type, also one that is not supported.
pub(super) fn type_name(data_type: i32) -> String {
    match dtype(data_type) {
        Some(dtype) => dtype.name().to_owned(),
        None => DataType::try_from(data_type).map_or_else(
            |_| format!("unknown element type {data_type}"),
            |known| known.as_str_name().to_ascii_lowercase(),
        ),
    }
}

/// Bits of one element as stored in bytes; `None` where the standard's packing is not known here.
pub(super) fn bits(data_type: i32) -> Option<u64> {
    Some(match DataType::try_from(data_type).ok()? {
        DataType::Complex128 => 128,
        DataType::Double | DataType::Int64 | DataType::Uint64 | DataType::Complex64 => 64,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 32,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 16,
        DataType::Int8
        | DataType::Uint8
        | DataType::Bool
        | DataType::Float8e4m3fn
        | DataType::Float8e4m3fnuz
        | DataType::Float8e5m2
        | DataType::Float8e5m2fnuz
        | DataType::Float8e8m0 => 8,
        DataType::Int4 | DataType::Uint4 | DataType::Float4e2m1 => 4,
        DataType::Int2 | DataType::Uint2 => 2,
        DataType::Undefined | DataType::String | DataType::Float6e2m3 | DataType::Float6e3m2 => {
            return None;
        }
    })
}

/// Number of elements; `None` for negative extents or on overflow.
pub(super) fn elements(tensor: &TensorProto) -> Option<u64> {
    tensor
        .dims
        .iter()
        .try_fold(1_u64, |product, &extent| product.checked_mul(u64::try_from(extent).ok()?))
}

/// Bytes of a tensor's dense values; `None` where that is not known or overflows.
pub(super) fn byte_size(tensor: &TensorProto) -> Option<u64> {
    Some(elements(tensor)?.checked_mul(bits(tensor.data_type())?)?.div_ceil(8))
}

/// The tensor as the format stores it, with its values in place.
pub fn from_tensor(name: &str, tensor: &Tensor) -> TensorProto {
    // A tensor in memory has extents below isize::MAX.
    let dim = |&extent: &usize| i64::try_from(extent).unwrap_or(i64::MAX);
    TensorProto {
        dims: tensor.shape().0.iter().map(dim).collect(),
        data_type: Some(data_type(tensor.dtype()) as i32),
        name: Some(name.to_owned()),
        raw_data: Some(tensor.bytes().to_vec().into()),
        ..TensorProto::default()
    }
}

impl Model {
    /// The values of a tensor of this model, read from external data where they stand there.
    pub fn values(&self, tensor: &TensorProto) -> Result<Tensor, OnnxError> {
        values(tensor, self.folder(), self.path())
    }

    /// The bytes of a tensor of this model as `raw_data` holds them.
    pub(super) fn dense<'a>(&self, tensor: &'a TensorProto) -> Result<Cow<'a, [u8]>, OnnxError> {
        dense_bytes(tensor, self.folder(), self.path())
    }

    /// The same tensor with its values in the model rather than in external data.
    pub(super) fn embedded(&self, tensor: &TensorProto) -> Result<TensorProto, OnnxError> {
        let bytes = match external::external_ref(tensor) {
            Ok(None) => return Ok(tensor.clone()),
            _ => dense_bytes(tensor, self.folder(), self.path())?.into_owned(),
        };
        Ok(TensorProto {
            raw_data: Some(bytes.into()),
            external_data: Vec::new(),
            data_location: Some(DataLocation::Default as i32),
            ..tensor.clone()
        })
    }
}

fn values(tensor: &TensorProto, folder: &Path, model: &Path) -> Result<Tensor, OnnxError> {
    let refused = |reason: String| OnnxError::Values {
        model: model.to_owned(),
        tensor: tensor.name().to_owned(),
        reason,
    };
    let dtype = dtype(tensor.data_type())
        .ok_or_else(|| refused(format!("{} is not supported", type_name(tensor.data_type()))))?;
    let extents: Option<Vec<usize>> =
        tensor.dims.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = Shape(extents.ok_or_else(|| refused("negative extent".into()))?);
    let bytes = dense_bytes(tensor, folder, model)?;
    Tensor::from_bytes(dtype, shape, &bytes).map_err(|error| refused(error.to_string()))
}

/// The tensor's bytes as `raw_data` would hold them.
fn dense_bytes<'a>(
    tensor: &'a TensorProto,
    folder: &Path,
    model: &Path,
) -> Result<Cow<'a, [u8]>, OnnxError> {
    let (model, name) = (|| model.to_owned(), || tensor.name().to_owned());
    let outside = |problem| OnnxError::ExternalData { model: model(), tensor: name(), problem };
    if let Some(found) = external::external_ref(tensor).map_err(outside)? {
        let size = byte_size(tensor).ok_or_else(|| OnnxError::Values {
            model: model(),
            tensor: name(),
            reason: format!("{} of this shape has no known size", type_name(tensor.data_type())),
        })?;
        let (path, file) = external::open(folder, &found, size).map_err(outside)?;
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes).map_err(OnnxError::io("read", &path))?;
        return Ok(bytes.into());
    }
    if let Some(raw) = &tensor.raw_data {
        return Ok(Cow::Borrowed(raw));
    }
    Ok(typed_bytes(tensor).into())
}

/// The values of the typed fields as little-endian bytes, each as wide as the element type.
pub(super) fn typed_bytes(tensor: &TensorProto) -> Vec<u8> {
    let width = bits(tensor.data_type()).map_or(4, |bits| bits.div_ceil(8));
    let width = usize::try_from(width).unwrap_or(4);
    let narrow = |bytes: &[u8]| bytes[..width.min(bytes.len())].to_vec();
    match DataType::try_from(tensor.data_type()) {
        Ok(DataType::Float | DataType::Complex64) => {
            tensor.float_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        Ok(DataType::Double | DataType::Complex128) => {
            tensor.double_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        Ok(DataType::Int64) => {
            tensor.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        Ok(DataType::Uint64 | DataType::Uint32) => {
            tensor.uint64_data.iter().flat_map(|value| narrow(&value.to_le_bytes())).collect()
        }
        _ => tensor.int32_data.iter().flat_map(|value| narrow(&value.to_le_bytes())).collect(),
    }
}
