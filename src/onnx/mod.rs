//! ONNX models: load, check, rewrite, save.

pub mod operators;
pub mod proto;

/// Why a model is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {}

impl OnnxError {
    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        None
    }
}
