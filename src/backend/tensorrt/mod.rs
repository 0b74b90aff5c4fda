//! The TensorRT backend: engines for NVIDIA GPUs, through whatever TensorRT is installed.

mod compatible;
mod context;
mod engine;
mod error;
mod facts;
mod generation;
mod handle;
mod options;
mod plan;
mod stopwatch;
mod sys;

pub use facts::{BuildFacts, EngineFacts, Flavor};
pub use generation::{Generation, InvalidVersion, LibraryVersion, UnknownGeneration};
pub use options::{
    ByteSize, Calibration, Calibrator, ComputeCapability, Files, HardwareCompatibility,
    InvalidByteSize, LayerPrecision, MessageLevel, Options, Precision, PrecisionConstraints,
    PreviewFeatures, ProfilingVerbosity, Refit, SettingError, Settings, TacticSource, Tiling,
};
