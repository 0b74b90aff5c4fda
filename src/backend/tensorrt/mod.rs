//! The TensorRT backend: engines for NVIDIA GPUs, through whatever TensorRT is installed.

pub mod discover;
mod error;
mod facts;
pub mod generation;
mod handle;
mod options;
mod sys;

pub use facts::{BuildFacts, EngineFacts, Flavor};
pub use options::Options;
