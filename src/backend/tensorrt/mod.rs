//! The TensorRT backend: engines for NVIDIA GPUs, through whatever TensorRT is installed.

pub mod discover;
mod error;
mod facts;
#[cfg(test)]
mod fake_library;
pub mod generation;
mod handle;
pub mod install;
mod options;
mod sys;

pub use facts::{BuildFacts, EngineFacts, Flavor};
pub use options::Options;
