//! How large the values of a model's tensors get on samples.

use std::collections::BTreeSet;

use crate::backend;
use crate::data::Dataset;
use crate::onnx::Model;
use crate::onnx::precision::{Observed, float32_tensors};
use crate::source::Span;
use crate::stage::observe::{Observation, Visitor};
use crate::stage::{StageContext, StageError};
use crate::tensor::{DType, TensorSpec, to_f64};

use super::Optimize;

/// Runs the model over the samples of `data`, which `span` names, and tells the largest finite
/// magnitude in each of its float32 tensors.
pub(super) fn observe(
    settings: &Optimize,
    span: Span,
    model: &Model,
    cx: &StageContext<'_>,
) -> Result<Observed, StageError> {
    let folder = cx.scratch.join("observed");
    std::fs::create_dir(&folder).map_err(StageError::io("create", &folder))?;
    model.save(&folder)?;
    let tensors = float32_tensors(model);
    let tensors: Vec<String> = tensors.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let data = Dataset::open(&cx.input("data")?.path, &settings.raw)?;
    let observation = Observation {
        backend: backend::by_name(settings.backend.name())?,
        model: &folder.join("model.onnx"),
        tensors: &tensors,
        data: &data,
        most_samples: None,
        batch: None,
        span,
        progress: cx.progress,
        cancel: cx.cancel,
    };
    let (all, _) = observation.run(Magnitudes::new)?;
    let mut observed = Observed::new();
    for (name, magnitude) in all.iter().flat_map(|one| tensors.iter().zip(&one.found)) {
        let Some(magnitude) = *magnitude else { continue };
        let most = observed.entry(name.clone()).or_insert(magnitude);
        *most = most.max(magnitude);
    }
    Ok(observed)
}

/// The largest finite magnitude in each tensor; `None` where there was no float32 value.
struct Magnitudes {
    is_float: Vec<bool>,
    found: Vec<Option<f64>>,
}

impl Magnitudes {
    fn new(tensors: &[TensorSpec]) -> Self {
        let is_float = tensors.iter().map(|tensor| tensor.dtype == DType::Float32).collect();
        Self { is_float, found: vec![None; tensors.len()] }
    }
}

impl Visitor for Magnitudes {
    fn see(&mut self, tensor: usize, _first: usize, bytes: &[u8]) -> Result<(), StageError> {
        let (Some(true), Some(found)) = (self.is_float.get(tensor), self.found.get_mut(tensor))
        else {
            return Ok(());
        };
        let largest = match bytemuck::try_cast_slice::<u8, f32>(bytes) {
            Ok(values) => largest(values.iter().map(|&value| f64::from(value))),
            Err(_) => largest(to_f64(DType::Float32, bytes).into_iter()),
        };
        // NaN and infinities are the same in 16 bits.
        *found = largest.into_iter().chain(*found).reduce(f64::max);
        Ok(())
    }
}

fn largest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.filter(|value| value.is_finite()).map(f64::abs).reduce(f64::max)
}
