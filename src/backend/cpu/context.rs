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
use super::states::States;

/// The bytes of one input or output; memory is kept while the next ones are no larger.
struct Staging {
    shape: Shape,
    memory: AlignedBytes,
    len: usize,
}

impl Staging {
    /// Room for so many bytes of this shape, in the memory of what was there before if it is
    /// enough and not far too much.
    fn reusing(before: Option<Self>, shape: Shape, len: usize) -> Self {
        let memory = before.map(|before| before.memory).filter(|memory| {
            let held = memory.as_slice().len();
            len <= held && held / MOST_SURPLUS <= len
        });
        Self { shape, memory: memory.unwrap_or_else(|| AlignedBytes::zeroed(len)), len }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory.as_slice()[..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory.as_mut_slice()[..self.len]
    }
}

/// How many times the bytes in use staging memory may be.
const MOST_SURPLUS: usize = 64;

/// One run at a time of a [`CpuEngine`].
pub(super) struct CpuContext {
    engine: Arc<CpuEngine>,
    inputs: Vec<Option<Staging>>,
    outputs: Vec<Staging>,
    /// Whether `outputs` are those of the last run.
    has_results: bool,
    states: States,
}

impl CpuContext {
    /// A context with nothing staged.
    pub(super) fn new(engine: Arc<CpuEngine>) -> Self {
        let inputs = engine.inputs().iter().map(|_| None).collect();
        Self { engine, inputs, outputs: Vec::new(), has_results: false, states: States::default() }
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

    /// A new state for the shapes of the inputs.
    fn specialised(&self) -> Result<(Vec<Shape>, TypedSimpleState), BackendError> {
        let shapes = self.shapes()?;
        let plan = self.engine.plan(&shapes)?;
        let state = contained(|| plan.spawn().map_err(|e| format!("{e:#}"))).flatten();
        Ok((shapes, state.map_err(|reason| BackendError::Run { reason })?))
    }

    fn stage_inputs(&self) -> Result<TVec<TValue>, BackendError> {
        let specs = self.engine.inputs().iter();
        specs
            .zip(self.inputs.iter().flatten())
            .map(|(spec, staging)| {
                convert::into_tract(spec.dtype, &staging.shape, staging.bytes())
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
            let mut staging = Staging::reusing(previous.next(), shape, bytes.len());
            staging.bytes_mut().copy_from_slice(&bytes);
            outputs.push(staging);
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
        let staging = Staging::reusing(slot.take(), shape.clone(), bytes);
        Ok(slot.insert(staging).bytes_mut())
    }

    fn run(&mut self) -> Result<RunTimes, BackendError> {
        // Whatever happens, the results of an earlier run are no longer there to be read.
        self.has_results = false;
        let started = Instant::now();
        let failed = |reason| BackendError::Run { reason };
        let staged = || self.inputs.iter().flatten().map(|staging| &staging.shape);
        // Shapes that ran before were checked then.
        let (shapes, mut state) = match self.states.take(staged) {
            Some(known) => known,
            None => self.specialised()?,
        };
        let prepared = Instant::now();
        let inputs = self.stage_inputs()?;
        let uploaded = Instant::now();
        let results = contained(|| state.run(inputs).map_err(|e| format!("{e:#}")))
            .flatten()
            .map_err(failed)?;
        let computed = Instant::now();
        contained(|| self.stage_outputs(&results)).map_err(failed).flatten()?;
        self.states.keep(shapes, state);
        self.has_results = true;
        Ok(RunTimes {
            upload: uploaded - prepared,
            compute: computed - uploaded + (prepared - started),
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
        Ok((&staging.shape, staging.bytes()))
    }
}
