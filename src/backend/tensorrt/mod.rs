//! The TensorRT backend: engines for NVIDIA GPUs, through whatever TensorRT is installed.

mod facts;
mod generation;
mod options;

pub use facts::{BuildFacts, EngineFacts, Flavor};
pub use generation::{Generation, InvalidVersion, LibraryVersion, UnknownGeneration};
pub use options::{
    ByteSize, Calibration, Calibrator, ComputeCapability, Files, HardwareCompatibility,
    InvalidByteSize, LayerPrecision, MessageLevel, Options, Precision, PrecisionConstraints,
    PreviewFeatures, ProfilingVerbosity, Refit, SettingError, Settings, TacticSource, Tiling,
};
