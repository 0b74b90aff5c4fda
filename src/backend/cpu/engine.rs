//! [`CpuEngine`]: a program and the specialisations of it that its contexts share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::TypedSimplePlan;

use crate::backend::shapes::batch_in_profiles;
use crate::backend::{BackendError, Engine, ExecutionContext, Profile};
use crate::process::CancelToken;
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
    pub(super) fn plan(
        &self,
        shapes: &[Shape],
        cancel: &CancelToken,
    ) -> Result<Arc<TypedSimplePlan>, BackendError> {
        let slot = self.slot(shapes);
        let mut plan = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = &*plan {
            return Ok(Arc::clone(plan));
        }
        let built = self
            .program
            .specialise(shapes, cancel)
            .map_err(|fault| fault.loading(super::NAME, &self.path))?;
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

/// The smallest of at most `count` sizes that has room for so many samples. The sizes are 1 and
/// `most`, halved again and again: a batch is never more than half surplus, but for the smallest
/// sizes of an engine that can keep only few.
pub(super) fn batch_size(samples: usize, most: usize, count: usize) -> usize {
    if samples <= 1 || samples >= most {
        return samples;
    }
    // `most` and its halves, 1 aside.
    let halves = most.ilog2().min(u32::try_from(count.saturating_sub(2)).unwrap_or(u32::MAX));
    let sizes = (0..=halves).rev().map(|halved| most.div_ceil(1 << halved));
    sizes.into_iter().find(|size| *size >= samples).unwrap_or(most)
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

    fn is_on_host(&self) -> bool {
        true
    }

    fn batch_for(&self, samples: usize, most: usize) -> usize {
        let samples = batch_in_profiles(&self.profiles, samples);
        batch_size(samples, most, self.capacity)
    }

    fn new_context(self: Arc<Self>) -> Result<Box<dyn ExecutionContext>, BackendError> {
        Ok(Box::new(CpuContext::new(self)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn batches_come_in_no_more_sizes_than_are_kept_and_are_at_most_half_surplus() {
        for most in [1, 2, 3, 8, 31, 32, 33, 100, 256, 1000] {
            for count in [2, 3, FEWEST, MOST] {
                let size = |samples| batch_size(samples, most, count);
                let sizes: BTreeSet<usize> = (1..=most).map(size).collect();
                assert!(sizes.len() <= count, "{most}: {sizes:?} of {count}");
                assert!(sizes.contains(&1) && sizes.contains(&most));
                for samples in 1..=most {
                    let size = size(samples);
                    assert!((samples..=most).contains(&size));
                    assert!(size < samples * 2 || sizes.len() == count, "{samples}: {sizes:?}");
                    assert_eq!(batch_size(size, most, count), size);
                }
            }
        }
    }
}
