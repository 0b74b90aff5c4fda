//! [`CpuEngine`]: a program and the specialisations of it that its contexts share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::TypedSimplePlan;

use crate::backend::{BackendError, Engine, ExecutionContext, Profile};
use crate::tensor::{Shape, TensorSpec};

use super::context::CpuContext;
use super::program::Program;

/// Fewest and most specialisations an engine keeps, and the weights they may hold together: each
/// may carry a copy of the weights in its own layout.
const FEWEST: usize = 8;
pub(super) const MOST: usize = 64;
const WEIGHT_BUDGET: usize = 256 << 20;

type Slot = Arc<Mutex<Option<Arc<TypedSimplePlan>>>>;

/// A loaded model.
pub(super) struct CpuEngine {
    program: Program,
    path: PathBuf,
    profiles: Vec<Profile>,
    /// Most recently used last.
    plans: Mutex<Vec<(Vec<Shape>, Slot)>>,
    capacity: usize,
}

impl CpuEngine {
    /// Wraps a program; `path` is for messages.
    pub(super) fn new(program: Program, path: PathBuf, profiles: Vec<Profile>) -> Self {
        let capacity = (WEIGHT_BUDGET / program.weight_bytes.max(1)).clamp(FEWEST, MOST);
        Self { program, path, profiles, plans: Mutex::default(), capacity }
    }

    /// What runs inputs of exactly these shapes, built at the first call for them. Callers with
    /// other shapes do not wait for a build.
    pub(super) fn plan(&self, shapes: &[Shape]) -> Result<Arc<TypedSimplePlan>, BackendError> {
        let slot = self.slot(shapes);
        let mut plan = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = &*plan {
            return Ok(Arc::clone(plan));
        }
        let built = self.program.specialise(shapes).map_err(|fault| fault.loading(&self.path))?;
        *plan = Some(Arc::clone(&built));
        Ok(built)
    }

    fn slot(&self, shapes: &[Shape]) -> Slot {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match plans.iter().position(|(key, _)| key == shapes) {
            Some(at) => plans.remove(at).1,
            None => Slot::default(),
        };
        if plans.len() >= self.capacity {
            plans.remove(0);
        }
        plans.push((shapes.to_vec(), Arc::clone(&slot)));
        slot
    }

    #[cfg(test)]
    pub(super) fn held_plans(&self) -> usize {
        self.plans.lock().unwrap().len()
    }
}

impl Engine for CpuEngine {
    fn inputs(&self) -> &[TensorSpec] {
        &self.program.signature.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.program.signature.outputs
    }

    fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    fn new_context(self: Arc<Self>) -> Result<Box<dyn ExecutionContext>, BackendError> {
        Ok(Box::new(CpuContext::new(self)))
    }
}
