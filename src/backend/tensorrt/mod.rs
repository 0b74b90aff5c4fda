//! The TensorRT backend: engines for NVIDIA GPUs, through whatever TensorRT is installed.

mod facts;
mod layers;
mod options;

pub use facts::{BuildFacts, EngineFacts, Flavor};
pub use layers::Layer;
pub use options::Options;
