//! [`DType`]: element types, and their values as float64.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of a tensor's elements, under the names NumPy uses.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE 754 binary64.
    Float64,
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary16.
    Float16,
    /// bfloat16: the upper half of a binary32.
    BFloat16,
    /// FP8 with 4 exponent and 3 mantissa bits, no infinities.
    #[serde(rename = "float8_e4m3fn")]
    Float8E4M3,
    /// FP8 with 5 exponent and 2 mantissa bits.
    #[serde(rename = "float8_e5m2")]
    Float8E5M2,
    /// Signed 64-bit integer.
    Int64,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 16-bit integer.
    Int16,
    /// Signed 8-bit integer.
    Int8,
    /// Unsigned 64-bit integer.
    UInt64,
    /// Unsigned 32-bit integer.
    UInt32,
    /// Unsigned 16-bit integer.
    UInt16,
    /// Unsigned 8-bit integer.
    UInt8,
    /// One byte per element, 0 or 1.
    Bool,
}

impl DType {
    /// Every type, in declaration order.
    pub const ALL: [Self; 15] = [
        Self::Float64,
        Self::Float32,
        Self::Float16,
        Self::BFloat16,
        Self::Float8E4M3,
        Self::Float8E5M2,
        Self::Int64,
        Self::Int32,
        Self::Int16,
        Self::Int8,
        Self::UInt64,
        Self::UInt32,
        Self::UInt16,
        Self::UInt8,
        Self::Bool,
    ];

    /// The name used in specs, reports and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float64 => "float64",
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
            Self::Float8E4M3 => "float8_e4m3fn",
            Self::Float8E5M2 => "float8_e5m2",
            Self::Int64 => "int64",
            Self::Int32 => "int32",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
            Self::UInt64 => "uint64",
            Self::UInt32 => "uint32",
            Self::UInt16 => "uint16",
            Self::UInt8 => "uint8",
            Self::Bool => "bool",
        }
    }

    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::Float64 | Self::Int64 | Self::UInt64 => 8,
            Self::Float32 | Self::Int32 | Self::UInt32 => 4,
            Self::Float16 | Self::BFloat16 | Self::Int16 | Self::UInt16 => 2,
            Self::Float8E4M3 | Self::Float8E5M2 | Self::Int8 | Self::UInt8 | Self::Bool => 1,
        }
    }

    /// Whether the type has a fraction.
    pub fn is_float(self) -> bool {
        matches!(
            self,
            Self::Float64
                | Self::Float32
                | Self::Float16
                | Self::BFloat16
                | Self::Float8E4M3
                | Self::Float8E5M2
        )
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no element type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown element type `{0}`")]
pub struct UnknownDType(pub String);

impl FromStr for DType {
    type Err = UnknownDType;
    fn from_str(text: &str) -> Result<Self, UnknownDType> {
        Self::ALL
            .into_iter()
            .find(|dtype| dtype.name() == text)
            .ok_or_else(|| UnknownDType(text.to_owned()))
    }
}

/// Decodes little-endian elements as float64.
#[expect(clippy::cast_precision_loss, reason = "64-bit integers past 2^53 round, as documented")]
pub fn to_f64(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    macro_rules! decode {
        ($ty:ty, $n:literal, $convert:expr) => {
            bytes
                .as_chunks::<$n>()
                .0
                .iter()
                .map(|chunk| $convert(<$ty>::from_le_bytes(*chunk)))
                .collect()
        };
    }
    match dtype {
        DType::Float64 => decode!(f64, 8, |v| v),
        DType::Float32 => decode!(f32, 4, f64::from),
        DType::Float16 => decode!(half::f16, 2, f64::from),
        DType::BFloat16 => decode!(half::bf16, 2, f64::from),
        DType::Float8E4M3 => bytes.iter().map(|&byte| float8_e4m3(byte)).collect(),
        DType::Float8E5M2 => bytes.iter().map(|&byte| float8_e5m2(byte)).collect(),
        DType::Int64 => decode!(i64, 8, |v| v as f64),
        DType::Int32 => decode!(i32, 4, f64::from),
        DType::Int16 => decode!(i16, 2, f64::from),
        DType::Int8 => decode!(i8, 1, f64::from),
        DType::UInt64 => decode!(u64, 8, |v| v as f64),
        DType::UInt32 => decode!(u32, 4, f64::from),
        DType::UInt16 => decode!(u16, 2, f64::from),
        DType::UInt8 | DType::Bool => bytes.iter().map(|&byte| f64::from(byte)).collect(),
    }
}

/// FP8 E4M3 "FN" (ONNX, OCP): bias 7, no infinities, S.1111.111 is NaN.
fn float8_e4m3(bits: u8) -> f64 {
    let sign = if bits & 0x80 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 3 & 0x0f);
    let mantissa = f64::from(bits & 0x07);
    match (exponent, bits & 0x07) {
        (15, 7) => f64::NAN,
        (0, _) => sign * mantissa / 8.0 * 2f64.powi(-6),
        _ => sign * (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
    }
}

/// FP8 E5M2: the upper byte of a binary16.
fn float8_e5m2(bits: u8) -> f64 {
    f64::from(half::f16::from_bits(u16::from(bits) << 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_name_parses_back() {
        for dtype in DType::ALL {
            assert_eq!(dtype.name().parse(), Ok(dtype));
            assert_eq!(serde_json::to_value(dtype).unwrap(), dtype.name());
        }
        assert!("float".parse::<DType>().is_err());
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these values are exact")]
    fn float8_decodes_its_published_corner_values() {
        assert_eq!(float8_e4m3(0x7e), 448.0);
        assert_eq!(float8_e4m3(0x01), 2f64.powi(-9));
        assert!(float8_e4m3(0x7f).is_nan());
        assert_eq!(float8_e5m2(0x7b), 57344.0);
        assert!(float8_e5m2(0x7c).is_infinite());
    }
}
