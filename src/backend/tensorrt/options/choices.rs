//! The words that settings of TensorRT choose between.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A precision that TensorRT may lower a layer to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 16-bit floating point.
    Fp16,
    /// 16-bit floating point with the range of 32-bit. Available in TensorRT 10.
    Bf16,
    /// 8-bit integers; needs `int8`, or a model with Q/DQ nodes.
    Int8,
}

/// The precision of single layers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LayerPrecision {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point.
    Fp16,
    /// 16-bit floating point with the range of 32-bit. Available in TensorRT 10.
    Bf16,
    /// 8-bit integers.
    Int8,
}

impl LayerPrecision {
    /// What `precision` must list for it; `None` where nothing is needed.
    pub fn needs(self) -> Option<Precision> {
        match self {
            Self::Fp32 => None,
            Self::Fp16 => Some(Precision::Fp16),
            Self::Bf16 => Some(Precision::Bf16),
            Self::Int8 => Some(Precision::Int8),
        }
    }
}

/// How strictly `layer_precisions` is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionConstraints {
    /// The build fails where a layer cannot run in its precision.
    #[default]
    Obey,
    /// Such a layer runs in another precision, with a warning.
    Prefer,
}

/// How INT8 ranges are found from samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Calibrator {
    /// Ranges that lose the least information; best for convolutional networks.
    #[default]
    Entropy,
    /// Ranges that hold every value seen; often better for transformers.
    Minmax,
}

/// A GPU architecture to build for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ComputeCapability {
    /// Turing: RTX 20 series.
    #[serde(rename = "7.5")]
    Sm75,
    /// Ampere: A100.
    #[serde(rename = "8.0")]
    Sm80,
    /// Ampere: RTX 30 series.
    #[serde(rename = "8.6")]
    Sm86,
    /// Ada Lovelace: RTX 40 series.
    #[serde(rename = "8.9")]
    Sm89,
    /// Blackwell: RTX 50 series.
    #[serde(rename = "12.0")]
    Sm120,
    /// Blackwell: GB10. Available in TensorRT-RTX 1.5 or newer.
    #[serde(rename = "12.1")]
    Sm121,
}

impl ComputeCapability {
    /// The number TensorRT-RTX has for it: 89 for 8.9.
    pub fn number(self) -> i32 {
        match self {
            Self::Sm75 => 75,
            Self::Sm80 => 80,
            Self::Sm86 => 86,
            Self::Sm89 => 89,
            Self::Sm120 => 120,
            Self::Sm121 => 121,
        }
    }
}

/// Which weights of a built engine can be exchanged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Refit {
    /// None; the engine is as fast as it can be.
    #[default]
    None,
    /// All, but only for the same values, as after `strip_weights`; costs no speed. Available in
    /// TensorRT 10 or newer and TensorRT-RTX.
    Identical,
    /// All, for any values of the same shape.
    All,
}

/// The GPUs an engine runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HardwareCompatibility {
    /// GPUs like the one it was built on.
    #[default]
    None,
    /// All GPUs from Ampere on.
    AmperePlus,
    /// All GPUs of the same compute capability. Available in TensorRT 10.9 or newer.
    SameComputeCapability,
}

/// Where TensorRT takes implementations of layers from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TacticSource {
    /// The cuBLAS library. Available in TensorRT 8.6 and 10, TensorRT-RTX 1.3 and 1.4.
    Cublas,
    /// The cuBLASLt library. Available in TensorRT 8.6 and 10, TensorRT-RTX 1.3 and 1.4.
    CublasLt,
    /// The cuDNN library. Available in TensorRT 8.6 and 10, TensorRT-RTX 1.3 and 1.4.
    Cudnn,
    /// Convolutions with edge mask tables, which use more memory.
    EdgeMaskConvolutions,
    /// Convolutions compiled while building, which take more time to build.
    JitConvolutions,
}

/// How hard TensorRT tries to keep intermediate values in on-chip memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tiling {
    /// Not at all.
    #[default]
    None,
    /// With a fast search.
    Fast,
    /// With a longer search.
    Moderate,
    /// With the longest search.
    Full,
}

/// What an engine says about its layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProfilingVerbosity {
    /// Their names.
    #[default]
    LayerNamesOnly,
    /// Nothing.
    None,
    /// Names, precisions, shapes and implementations.
    Detailed,
}

/// The least important messages of TensorRT that are passed on.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MessageLevel {
    /// Defects of TensorRT itself.
    InternalError,
    /// Errors.
    Error,
    /// Warnings.
    Warning,
    /// What it does, step by step.
    #[default]
    Info,
    /// Everything, for every layer.
    Verbose,
}
