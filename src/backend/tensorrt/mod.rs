//! NVIDIA TensorRT and TensorRT-RTX, of whatever version is installed.

pub mod discover;
