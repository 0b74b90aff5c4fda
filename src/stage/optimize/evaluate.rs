//! The CPU backend as the evaluator of passes: its reference execution computes every value in the
//! model's own precision, the same on every machine for what passes ask.

use std::fs;
use std::path::{Path, PathBuf};

use crate::backend::{self, BackendError};
use crate::onnx::Model;
use crate::onnx::passes::Evaluator;
use crate::stage::CancelToken;
use crate::tensor::Tensor;

/// Computes constants with the embedded CPU backend.
pub(super) struct CpuEvaluator<'a> {
    file: PathBuf,
    cancel: &'a CancelToken,
}

impl<'a> CpuEvaluator<'a> {
    /// Works in an empty folder that somebody else deletes.
    pub(super) fn new(scratch: &Path, cancel: &'a CancelToken) -> Self {
        Self { file: scratch.join("constant.onnx"), cancel }
    }

    fn run(&self) -> Result<Vec<Tensor>, BackendError> {
        let engine = backend::by_name("cpu")?.reference(&self.file, &[])?;
        let dtypes: Vec<_> = engine.outputs().iter().map(|output| output.dtype).collect();
        let mut context = engine.new_context()?;
        context.run()?;
        dtypes
            .into_iter()
            .enumerate()
            .map(|(index, dtype)| {
                let (shape, bytes) = context.output(index)?;
                Tensor::from_bytes(dtype, shape.clone(), bytes)
                    .map_err(|error| BackendError::Run { reason: error.to_string() })
            })
            .collect()
    }
}

impl Evaluator for CpuEvaluator<'_> {
    fn evaluate(&self, model: &Model) -> Result<Vec<Tensor>, String> {
        if self.cancel.is_cancelled() {
            return Err("cancelled".into());
        }
        fs::write(&self.file, model.encode()).map_err(|error| error.to_string())?;
        self.run().map_err(|error| error.to_string())
    }
}
