//! [`CpuContext`]: one caller's staging memory and execution state.

use std::sync::Arc;
use std::time::Instant;

use tract_onnx::prelude::{IntoTValue as _, TValue, TVec, TypedSimpleState};

use crate::backend::shapes::{
    accept, agree, misfit, no_profile, no_results, no_such, not_set, takes,
};
use crate::backend::{BackendError, Engine as _, ExecutionContext, RunTimes};
use crate::tensor::{AlignedBytes, Shape};

use super::contain::contained;
use super::convert;
use super::engine::CpuEngine;

/// The bytes of one input or output.
struct Staging {
    shape: Shape,
    bytes: AlignedBytes,
}

/// One run at a time of a [`CpuEngine`].
pub(super) struct CpuContext {
    engine: Arc<CpuEngine>,
    inputs: Vec<Option<Staging>>,
    outputs: Vec<Staging>,
    /// Whether `outputs` are those of the last run.
    has_results: bool,
    /// State for the shapes of the last run.
    state: Option<(Vec<Shape>, TypedSimpleState)>,
}

impl CpuContext {
    /// A context with nothing staged.
    pub(super) fn new(engine: Arc<CpuEngine>) -> Self {
        let inputs = engine.inputs().iter().map(|_| None).collect();
        Self { engine, inputs, outputs: Vec::new(), has_results: false, state: None }
    }

    /// The shapes of all inputs; fails where one is not set, where two disagree on an axis that
    /// the model names, and where no profile takes them together.
    fn shapes(&self) -> Result<Vec<Shape>, BackendError> {
        let specs = self.engine.inputs();
        let shape = |(spec, staging): (_, &Option<Staging>)| {
            staging.as_ref().map(|staging| staging.shape.clone()).ok_or_else(|| not_set(spec))
        };
        let shapes: Vec<Shape> =
            specs.iter().zip(&self.inputs).map(shape).collect::<Result<_, _>>()?;
        let inputs = || specs.iter().zip(&shapes);
        agree(inputs())?;
        let profiles = self.engine.profiles();
        if !profiles.is_empty() && !profiles.iter().any(|profile| takes(profile, inputs())) {
            return Err(no_profile(inputs()));
        }
        Ok(shapes)
    }

    fn stage_inputs(&self) -> Result<TVec<TValue>, BackendError> {
        let specs = self.engine.inputs().iter();
        specs
            .zip(self.inputs.iter().flatten())
            .map(|(spec, staging)| {
                convert::into_tract(spec.dtype, &staging.shape, staging.bytes.as_slice())
                    .map(tract_onnx::prelude::Tensor::into_tvalue)
                    .map_err(|reason| misfit(spec, &staging.shape, reason))
            })
            .collect()
    }

    fn stage_outputs(&mut self, results: &[TValue]) -> Result<(), BackendError> {
        let specs = self.engine.outputs();
        let mut previous = std::mem::take(&mut self.outputs).into_iter();
        if results.len() != specs.len() {
            return Err(BackendError::Run {
                reason: format!("{} results for {} outputs", results.len(), specs.len()),
            });
        }
        let mut outputs = Vec::with_capacity(specs.len());
        for (spec, result) in specs.iter().zip(results) {
            let wrong =
                |reason| BackendError::Run { reason: format!("output `{}`: {reason}", spec.name) };
            let shape = Shape::from(result.shape());
            if !spec.accepts(&shape) {
                return Err(wrong(format!(
                    "the model declares shape {}, the result has {shape}",
                    spec.dims_text()
                )));
            }
            let bytes = convert::from_tract(spec.dtype, result).map_err(wrong)?;
            let mut target = previous
                .next()
                .map(|staging| staging.bytes)
                .filter(|reused| reused.as_slice().len() == bytes.len())
                .unwrap_or_else(|| AlignedBytes::zeroed(bytes.len()));
            target.as_mut_slice().copy_from_slice(&bytes);
            outputs.push(Staging { shape, bytes: target });
        }
        self.outputs = outputs;
        Ok(())
    }
}

impl ExecutionContext for CpuContext {
    fn input_mut(&mut self, index: usize, shape: &Shape) -> Result<&mut [u8], BackendError> {
        let specs = self.engine.inputs();
        let Some((spec, slot)) = specs.get(index).zip(self.inputs.get_mut(index)) else {
            return Err(no_such("input", index, specs.len()));
        };
        let bytes = accept(self.engine.profiles(), spec, shape)?;
        let reused = slot.take().map(|staging| staging.bytes);
        let bytes = reused
            .filter(|reused| reused.as_slice().len() == bytes)
            .unwrap_or_else(|| AlignedBytes::zeroed(bytes));
        let staging = slot.insert(Staging { shape: shape.clone(), bytes });
        Ok(staging.bytes.as_mut_slice())
    }

    fn run(&mut self) -> Result<RunTimes, BackendError> {
        // Whatever happens, the results of an earlier run are no longer there to be read.
        self.has_results = false;
        let shapes = self.shapes()?;
        let started = Instant::now();
        let inputs = self.stage_inputs()?;
        let uploaded = Instant::now();
        let failed = |reason| BackendError::Run { reason };
        let mut state = if let Some((_, state)) = self.state.take_if(|(key, _)| *key == shapes) {
            state
        } else {
            let plan = self.engine.plan(&shapes)?;
            contained(|| plan.spawn().map_err(|e| format!("{e:#}"))).flatten().map_err(failed)?
        };
        let results = contained(|| state.run(inputs).map_err(|e| format!("{e:#}")))
            .flatten()
            .map_err(failed)?;
        let computed = Instant::now();
        contained(|| self.stage_outputs(&results)).map_err(failed).flatten()?;
        self.state = Some((shapes, state));
        self.has_results = true;
        Ok(RunTimes {
            upload: uploaded - started,
            compute: computed - uploaded,
            download: computed.elapsed(),
        })
    }

    fn output(&self, index: usize) -> Result<(&Shape, &[u8]), BackendError> {
        let count = self.engine.outputs().len();
        if index >= count {
            return Err(no_such("output", index, count));
        }
        let results = if self.has_results { self.outputs.as_slice() } else { &[] };
        let staging = results.get(index).ok_or_else(no_results)?;
        Ok((&staging.shape, staging.bytes.as_slice()))
    }
}
