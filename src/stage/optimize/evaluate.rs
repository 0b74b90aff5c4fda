//! The embedded CPU backend as the evaluator of passes.

use std::collections::BTreeMap;

use crate::backend::cpu;
use crate::onnx::Model;
use crate::onnx::passes::{Evaluator, TensorFacts};
use crate::process::CancelToken;
use crate::tensor::Tensor;

/// Computes constants and shapes with the embedded CPU backend, until told to stop.
pub(super) struct CpuEvaluator<'a> {
    pub(super) cancel: &'a CancelToken,
}

impl Evaluator for CpuEvaluator<'_> {
    fn evaluate(&self, model: &Model) -> Result<Vec<Tensor>, String> {
        if self.cancel.is_cancelled() {
            return Err("cancelled".into());
        }
        cpu::evaluate(&model.encode()).map_err(|error| error.to_string())
    }

    fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn infer_shapes(&self, model: &Model) -> BTreeMap<String, TensorFacts> {
        if self.cancel.is_cancelled() {
            BTreeMap::new()
        } else {
            cpu::infer_shapes(&model.encode())
        }
    }
}
