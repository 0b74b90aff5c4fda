//! The TensorRT backend: engines for NVIDIA GPUs, through whatever TensorRT is installed.

mod facts;
mod options;

pub use facts::{BuildFacts, EngineFacts, Flavor};
pub use options::Options;
