//! The TensorRT backend: engines for NVIDIA GPUs, through whatever TensorRT is installed.

mod facts;
pub mod generation;
mod options;
mod sys;

pub use facts::{BuildFacts, EngineFacts, Flavor};
pub use options::Options;
