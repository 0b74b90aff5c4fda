//! The protocol's names of element types.

use crate::tensor::DType;

/// The name in requests, answers and metadata.
///
/// The protocol knows no FP8: those names are ours, after its manner.
pub fn datatype(dtype: DType) -> &'static str {
    &config_datatype(dtype)["TYPE_".len()..]
}

/// The name in a model's configuration.
pub fn config_datatype(dtype: DType) -> &'static str {
    match dtype {
        DType::Float64 => "TYPE_FP64",
        DType::Float32 => "TYPE_FP32",
        DType::Float16 => "TYPE_FP16",
        DType::BFloat16 => "TYPE_BF16",
        DType::Float8E4M3 => "TYPE_FP8_E4M3FN",
        DType::Float8E5M2 => "TYPE_FP8_E5M2",
        DType::Int64 => "TYPE_INT64",
        DType::Int32 => "TYPE_INT32",
        DType::Int16 => "TYPE_INT16",
        DType::Int8 => "TYPE_INT8",
        DType::UInt64 => "TYPE_UINT64",
        DType::UInt32 => "TYPE_UINT32",
        DType::UInt16 => "TYPE_UINT16",
        DType::UInt8 => "TYPE_UINT8",
        DType::Bool => "TYPE_BOOL",
    }
}

/// The type of that name. `BYTES` is none: no model has texts.
pub fn from_datatype(name: &str) -> Option<DType> {
    DType::ALL.into_iter().find(|dtype| datatype(*dtype) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_name_of_its_own_that_leads_back_to_it() {
        for dtype in DType::ALL {
            assert_eq!(from_datatype(datatype(dtype)), Some(dtype));
        }
        assert_eq!(datatype(DType::Float32), "FP32");
        assert_eq!(datatype(DType::BFloat16), "BF16");
        assert_eq!(config_datatype(DType::UInt8), "TYPE_UINT8");
        for name in ["", "fp32", "FLOAT", "BYTES", "FP32 "] {
            assert_eq!(from_datatype(name), None);
        }
    }
}
