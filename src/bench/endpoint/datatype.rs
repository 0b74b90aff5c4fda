//! Element types under the names of the protocol.

use crate::tensor::DType;

/// The protocol's names; the others of ours have none.
const NAMES: [(&str, DType); 13] = [
    ("BOOL", DType::Bool),
    ("UINT8", DType::UInt8),
    ("UINT16", DType::UInt16),
    ("UINT32", DType::UInt32),
    ("UINT64", DType::UInt64),
    ("INT8", DType::Int8),
    ("INT16", DType::Int16),
    ("INT32", DType::Int32),
    ("INT64", DType::Int64),
    ("FP16", DType::Float16),
    ("FP32", DType::Float32),
    ("FP64", DType::Float64),
    ("BF16", DType::BFloat16),
];

/// The element type of that name.
pub(super) fn from_name(name: &str) -> Option<DType> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, dtype)| *dtype)
}

/// The name of an element type.
pub(super) fn name(dtype: DType) -> Option<&'static str> {
    NAMES.iter().find(|(_, known)| *known == dtype).map(|(name, _)| *name)
}
