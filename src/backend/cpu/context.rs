//! [`CpuContext`]: one caller's staging memory and execution state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tract_onnx::prelude::{IntoTValue as _, TValue, TVec, TypedSimpleState};

use crate::backend::{BackendError, Engine as _, ExecutionContext, Profile, RunTimes};
use crate::tensor::{AlignedBytes, Dim, Shape, TensorSpec};

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

    /// The shapes of all inputs; fails where one is not set or where two disagree on an axis
    /// that the model names.
    fn shapes(&self) -> Result<Vec<Shape>, BackendError> {
        let mut shapes = Vec::with_capacity(self.inputs.len());
        let mut symbols: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for (spec, staging) in self.engine.inputs().iter().zip(&self.inputs) {
            let Some(staging) = staging else {
                return Err(BackendError::Run {
                    reason: format!("input `{}` is not set", spec.name),
                });
            };
            let axes = spec.dims.iter().flatten().zip(&staging.shape.0);
            for (dim, &extent) in axes {
                let Dim::Symbol(symbol) = dim else { continue };
                let (bound, by) = *symbols.entry(symbol).or_insert((extent, &spec.name));
                if bound != extent {
                    return Err(misfit(
                        spec,
                        &staging.shape,
                        format!("`{symbol}` is {extent} here and {bound} in input `{by}`"),
                    ));
                }
            }
            shapes.push(staging.shape.clone());
        }
        self.one_profile(&shapes).map(|()| shapes)
    }

    /// Fails where no profile takes all shapes together.
    fn one_profile(&self, shapes: &[Shape]) -> Result<(), BackendError> {
        let inputs = || self.engine.inputs().iter().zip(shapes);
        let takes = |profile: &Profile| {
            inputs().all(|(spec, shape)| {
                profile.get(&spec.name).is_none_or(|range| range.contains(shape))
            })
        };
        let profiles = self.engine.profiles();
        if profiles.is_empty() || profiles.iter().any(takes) {
            return Ok(());
        }
        let shapes: Vec<String> =
            inputs().map(|(spec, shape)| format!("{} {shape}", spec.name)).collect();
        Err(BackendError::Run {
            reason: format!("no profile takes these shapes together: {}", shapes.join(", ")),
        })
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

/// Fails where every profile has a range for this input and none of them takes the shape.
fn in_some_profile(
    profiles: &[Profile],
    spec: &TensorSpec,
    shape: &Shape,
) -> Result<(), BackendError> {
    let ranges: Option<Vec<_>> = profiles.iter().map(|profile| profile.get(&spec.name)).collect();
    match ranges {
        Some(ranges) if !ranges.is_empty() && !ranges.iter().any(|r| r.contains(shape)) => {
            let ranges: Vec<String> =
                ranges.iter().map(|range| format!("{} to {}", range.min, range.max)).collect();
            let reason = format!("the engine was built for {}", ranges.join(", or "));
            Err(misfit(spec, shape, reason))
        }
        _ => Ok(()),
    }
}

fn misfit(spec: &TensorSpec, shape: &Shape, reason: impl Into<String>) -> BackendError {
    BackendError::Input { input: spec.name.clone(), shape: shape.clone(), reason: reason.into() }
}

fn no_such(role: &str, index: usize, count: usize) -> BackendError {
    BackendError::Run { reason: format!("there is no {role} {index}: the engine has {count}") }
}

impl ExecutionContext for CpuContext {
    fn input_mut(&mut self, index: usize, shape: &Shape) -> Result<&mut [u8], BackendError> {
        let specs = self.engine.inputs();
        let Some((spec, slot)) = specs.get(index).zip(self.inputs.get_mut(index)) else {
            return Err(no_such("input", index, specs.len()));
        };
        if !spec.accepts(shape) {
            return Err(misfit(spec, shape, format!("the model takes {}", spec.dims_text())));
        }
        in_some_profile(self.engine.profiles(), spec, shape)?;
        let bytes = shape
            .checked_bytes(spec.dtype)
            .filter(|&bytes| {
                isize::try_from(bytes.saturating_add(crate::tensor::ALIGNMENT)).is_ok()
            })
            .ok_or_else(|| misfit(spec, shape, "it does not fit in memory"))?;
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
        let staging = results.get(index).ok_or_else(|| BackendError::Run {
            reason: "there are no results: the last run failed, or there was none".to_owned(),
        })?;
        Ok((&staging.shape, staging.bytes.as_slice()))
    }
}
