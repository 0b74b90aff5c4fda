//! Tensors in a model: as many values as their shape has, wherever they stand.

use std::path::Path;

use crate::onnx::error::ExternalProblem;
use crate::onnx::external;
use crate::onnx::proto::TensorProto;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::tensors::{self, type_name};

use super::Defect;

/// What is wrong with a tensor of a model in `folder`.
pub(super) fn defect(tensor: &TensorProto, folder: &Path) -> Option<Defect> {
    let name = || tensor.name().to_owned();
    let kind = DataType::try_from(tensor.data_type()).unwrap_or(DataType::Undefined);
    if kind == DataType::Undefined {
        let found = type_name(tensor.data_type());
        return Some(Defect::TensorType { tensor: name(), found });
    }
    let Some(elements) = tensors::elements(tensor) else {
        return Some(Defect::TensorShape { tensor: name(), dims: tensor.dims.clone() });
    };
    let bytes = tensors::byte_size(tensor);
    if external::is_external(tensor) {
        let problem = external_problem(tensor, folder, bytes)?;
        return Some(Defect::External { tensor: name(), problem });
    }
    let (expected, found, unit) = match (&tensor.raw_data, bytes) {
        (Some(raw), Some(bytes)) => (bytes, raw.len() as u64, "bytes"),
        (Some(_), None) if kind != DataType::String => return None,
        _ => (typed_values(kind, elements)?, stored_values(tensor, kind), "values"),
    };
    (expected != found).then(|| Defect::TensorSize {
        tensor: name(),
        dims: tensor.dims.clone(),
        expected,
        found,
        unit,
    })
}

fn external_problem(
    tensor: &TensorProto,
    folder: &Path,
    bytes: Option<u64>,
) -> Option<ExternalProblem> {
    let found = match external::external_ref(tensor) {
        Ok(found) => found?,
        Err(problem) => return Some(problem),
    };
    let (_, size) = match external::resolve(folder, &found.location) {
        Ok(found) => found,
        Err(problem) => return Some(problem),
    };
    found.check(bytes, size).err()
}

/// How many entries the typed field of an element type has for so many elements; `None` where the
/// packing is not known here.
fn typed_values(kind: DataType, elements: u64) -> Option<u64> {
    Some(match kind {
        DataType::Complex64 | DataType::Complex128 => elements.checked_mul(2)?,
        DataType::Int4 | DataType::Uint4 | DataType::Float4e2m1 => elements.div_ceil(2),
        DataType::Int2 | DataType::Uint2 => elements.div_ceil(4),
        DataType::Float6e2m3 | DataType::Float6e3m2 => return None,
        _ => elements,
    })
}

fn stored_values(tensor: &TensorProto, kind: DataType) -> u64 {
    let count = match kind {
        DataType::Float | DataType::Complex64 => tensor.float_data.len(),
        DataType::Double | DataType::Complex128 => tensor.double_data.len(),
        DataType::Int64 => tensor.int64_data.len(),
        DataType::Uint32 | DataType::Uint64 => tensor.uint64_data.len(),
        DataType::String => tensor.string_data.len(),
        _ => tensor.int32_data.len(),
    };
    count as u64
}
