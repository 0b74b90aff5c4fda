//! [`TensorRtContext`]: one caller's staging memory and run.
//!
//! A run copies inputs from pinned memory to the GPU, executes, copies outputs back and waits
//! once. All memory is allocated when a profile is first used, at the largest shapes of that
//! profile, and kept; while shapes do not change, a run tells TensorRT nothing but to run.

use std::sync::Arc;

use crate::backend::cuda::PinnedBuffer;
use crate::backend::shapes::{accept, agree, no_profile, no_results, no_such, not_set, takes};
use crate::backend::{BackendError, Engine as _, ExecutionContext, RunTimes};
use crate::tensor::{DType, Shape, TensorSpec};

use super::engine::TensorRtEngine;
use super::error::TrtError;
use super::handle::ContextHandle;
use super::plan;
use super::stopwatch::Stopwatch;
use super::sys::Dims;

/// One run at a time of a [`TensorRtEngine`].
pub(super) struct TensorRtContext {
    handle: ContextHandle,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// The profile that is chosen and has its memory.
    profile: Option<usize>,
    /// Whether TensorRT knows the shapes of all inputs.
    is_told: bool,
    /// Whether `outputs` are those of the last run.
    has_results: bool,
    stopwatch: Stopwatch,
    engine: Arc<TensorRtEngine>,
}

struct Input {
    /// Where the handle has it.
    place: usize,
    shape: Option<Shape>,
    /// The shape that TensorRT knows.
    told: Option<Shape>,
    len: usize,
    /// `None` where TensorRT reads it in host memory: that is the handle's.
    staging: Option<PinnedBuffer>,
}

struct Output {
    place: usize,
    shape: Shape,
    len: usize,
    /// `None` where TensorRT writes it in host memory: that is the handle's.
    staging: Option<PinnedBuffer>,
    /// Whether its shape is known only when it was computed.
    is_open: bool,
}

impl TensorRtContext {
    pub(super) fn new(engine: Arc<TensorRtEngine>) -> Result<Self, BackendError> {
        let made = || {
            let handle = engine.handle()?;
            let stopwatch = Stopwatch::new(handle.gpu())?;
            Ok((handle, stopwatch))
        };
        let (handle, stopwatch) =
            made().map_err(|error: TrtError| running(error, "making an execution context"))?;
        let input = |&place| Input { place, shape: None, told: None, len: 0, staging: None };
        let output = |&place| Output {
            place,
            shape: Shape::default(),
            len: 0,
            staging: None,
            is_open: false,
        };
        Ok(Self {
            inputs: engine.input_places().iter().map(input).collect(),
            outputs: engine.output_places().iter().map(output).collect(),
            profile: None,
            is_told: false,
            has_results: false,
            handle,
            stopwatch,
            engine,
        })
    }

    /// Grows the staging memory of an input to the most bytes of the profile that its shape is of.
    fn stage(&mut self, index: usize, shape: &Shape, len: usize) -> Result<(), TrtError> {
        let Self { handle, inputs, engine, profile, .. } = self;
        let (spec, input) = (&engine.inputs()[index], &mut inputs[index]);
        let most = |number: usize| {
            let range = engine.ranges().get(number)?.get(&spec.name)?;
            range.contains(shape).then(|| range.max.checked_bytes(spec.dtype))?
        };
        if engine.is_on_host(input.place) {
            // It keeps its values when the profile changes, so it has room for those of all.
            let all = (0..engine.ranges().len()).filter_map(most).max();
            handle.reserve(input.place, len.max(all.unwrap_or(0)))?;
        } else if input.staging.as_ref().is_none_or(|staging| staging.len() < len) {
            let profiles = profile.iter().copied().chain(0..engine.ranges().len());
            let len = len.max(profiles.filter_map(most).next().unwrap_or(0));
            input.staging = None;
            input.staging = Some(PinnedBuffer::new(handle.gpu(), engine.ledger(), len)?);
        }
        Ok(())
    }

    /// Tells TensorRT the shapes that changed, and sees to memory for all that follows from them.
    fn settle(&mut self) -> Result<(), BackendError> {
        let profile = self.choose_profile()?;
        self.tell(profile).map_err(|error| running(error, "preparing a run"))
    }

    fn tell(&mut self, profile: usize) -> Result<(), TrtError> {
        if self.profile != Some(profile) {
            self.profile = None;
            if self.handle.profile() != Some(profile) {
                self.handle.set_profile(profile)?;
            }
            self.reserve_most(profile)?;
            self.profile = Some(profile);
        }
        let Self { handle, inputs, outputs, engine, .. } = self;
        for input in inputs {
            if input.told != input.shape {
                input.told = None;
                input.tell(handle, input.shape.as_ref())?;
                input.told.clone_from(&input.shape);
            }
        }
        handle.settle()?;
        for (output, spec) in outputs.iter_mut().zip(engine.outputs()) {
            let shape = handle.extents(output.place).as_deref().and_then(plan::shape);
            output.is_open = shape.is_none();
            output.set_shape(shape.unwrap_or_default(), spec.dtype);
            output.reserve(handle, engine, output.len)?;
        }
        self.is_told = true;
        self.stopwatch.measure_next();
        Ok(())
    }

    /// Sees to memory for the largest shapes of a profile, so that none is allocated later.
    fn reserve_most(&mut self, profile: usize) -> Result<(), TrtError> {
        let Self { handle, inputs, outputs, engine, .. } = self;
        let ranges = engine.ranges().get(profile);
        for (input, spec) in inputs.iter_mut().zip(engine.inputs()) {
            input.told = None;
            let most = ranges.and_then(|ranges| ranges.get(&spec.name)).map(|range| &range.max);
            let bytes = most.and_then(|shape| shape.checked_bytes(spec.dtype));
            handle.reserve(input.place, bytes.unwrap_or(0))?;
            input.tell(handle, most)?;
        }
        let follows_from_values = engine.values().get(profile).is_some_and(|v| !v.is_empty());
        // Where the largest shapes do not go together either, outputs grow as they need.
        if follows_from_values || handle.infer_shapes().is_err() {
            return Ok(());
        }
        for (output, spec) in outputs.iter_mut().zip(engine.outputs()) {
            let most = handle.extents(output.place).as_deref().and_then(plan::shape);
            if let Some(bytes) = most.and_then(|shape| shape.checked_bytes(spec.dtype)) {
                handle.reserve(output.place, bytes)?;
                output.reserve(handle, engine, bytes)?;
            }
        }
        Ok(())
    }

    /// The profile that takes all inputs: the one that is chosen if it does, else the first.
    fn choose_profile(&self) -> Result<usize, BackendError> {
        let specs = self.engine.inputs();
        let shape =
            |(spec, input): (_, &'_ Input)| input.shape.clone().ok_or_else(|| not_set(spec));
        let shapes: Vec<Shape> =
            specs.iter().zip(&self.inputs).map(shape).collect::<Result<_, _>>()?;
        let inputs = || specs.iter().zip(&shapes);
        agree(inputs())?;
        let ranges = self.engine.ranges();
        let chosen = self.profile.into_iter().chain(0..ranges.len()).find(|&number| {
            ranges.get(number).is_some_and(|profile| takes(profile, inputs()))
                && self.takes_values(number)
        });
        chosen.ok_or_else(|| no_profile(inputs()))
    }

    /// Whether a profile takes the values of the inputs that hold shapes.
    fn takes_values(&self, profile: usize) -> bool {
        let ranges = self.engine.values().get(profile).into_iter().flatten();
        let mut checks = ranges.map(|(&index, (low, high))| {
            let (input, spec) = (&self.inputs[index], &self.engine.inputs()[index]);
            let bytes = self.handle.host(input.place).and_then(|bytes| bytes.get(..input.len));
            let values = integers(spec.dtype, bytes.unwrap_or(&[]));
            let mut ends = low.iter().zip(high).zip(&values);
            ends.all(|((low, high), value)| (low..=high).contains(&value))
        });
        checks.all(|takes| takes)
    }

    fn execute(&mut self) -> Result<RunTimes, TrtError> {
        let Self { handle, inputs, outputs, stopwatch, engine, .. } = self;
        let handle = &*handle;
        let watch = stopwatch.start();
        handle.stream().scope(|work| -> Result<(), TrtError> {
            watch.mark(work, 0)?;
            for input in &*inputs {
                if let (Some(staging), Some(device)) = (&input.staging, handle.device(input.place))
                {
                    work.upload(&staging[..input.len], device)?;
                }
            }
            watch.mark(work, 1)?;
            handle.enqueue(work)?;
            watch.mark(work, 2)?;
            for output in &mut *outputs {
                let (len, device) = (output.len, handle.device(output.place));
                if let (Some(staging), Some(device)) = (&mut output.staging, device) {
                    work.download(device, &mut staging[..len])?;
                }
            }
            Ok(watch.mark(work, 3)?)
        })?;
        for (output, spec) in outputs.iter_mut().zip(engine.outputs()) {
            if output.is_open {
                output.fetch(handle, engine, spec)?;
            }
        }
        Ok(stopwatch.read()?)
    }
}

impl Input {
    fn tell(&self, handle: &mut ContextHandle, shape: Option<&Shape>) -> Result<(), TrtError> {
        let extents = shape.into_iter().flat_map(|shape| &shape.0);
        let extents: Vec<i64> =
            extents.map(|&extent| i64::try_from(extent).unwrap_or(i64::MAX)).collect();
        // A tensor of TensorRT has no more axes than this can hold.
        handle.set_shape(self.place, &Dims::new(&extents).unwrap_or_default())
    }
}

impl Output {
    fn set_shape(&mut self, shape: Shape, dtype: DType) {
        // The handle has memory for it, so its size is no overflow.
        self.len = shape.checked_bytes(dtype).unwrap_or(0);
        self.shape = shape;
    }

    fn reserve(
        &mut self,
        handle: &ContextHandle,
        engine: &TensorRtEngine,
        len: usize,
    ) -> Result<(), TrtError> {
        let is_on_host = engine.is_on_host(self.place);
        if !is_on_host && self.staging.as_ref().is_none_or(|staging| staging.len() < len) {
            self.staging = None;
            self.staging = Some(PinnedBuffer::new(handle.gpu(), engine.ledger(), len)?);
        }
        Ok(())
    }

    /// Copies an output whose shape became known in the run.
    fn fetch(
        &mut self,
        handle: &ContextHandle,
        engine: &TensorRtEngine,
        spec: &TensorSpec,
    ) -> Result<(), TrtError> {
        let failed = || TrtError::Failed { call: "notifyShape", reported: Vec::new() };
        let (extents, memory) = handle.allocated(self.place).ok_or_else(failed)?;
        self.set_shape(plan::shape(&extents).ok_or_else(failed)?, spec.dtype);
        let len = self.len;
        self.reserve(handle, engine, len)?;
        let Some(staging) = &mut self.staging else { return Ok(()) };
        Ok(handle.stream().scope(|work| work.download(&memory, &mut staging[..len]))?)
    }
}

impl ExecutionContext for TensorRtContext {
    fn input_mut(&mut self, index: usize, shape: &Shape) -> Result<&mut [u8], BackendError> {
        let specs = self.engine.inputs();
        let Some(spec) = specs.get(index) else {
            return Err(no_such("input", index, specs.len()));
        };
        if self.inputs[index].shape.as_ref() != Some(shape) {
            let len = accept(self.engine.ranges(), spec, shape)?;
            self.inputs[index].shape = None;
            self.is_told = false;
            self.stage(index, shape, len).map_err(|error| running(error, "staging an input"))?;
            (self.inputs[index].shape, self.inputs[index].len) = (Some(shape.clone()), len);
        }
        let Input { place, len, staging, .. } = &mut self.inputs[index];
        let bytes = match staging {
            Some(staging) => Some(&mut staging[..]),
            None => self.handle.host_mut(*place),
        };
        bytes
            .and_then(|bytes| bytes.get_mut(..*len))
            .ok_or_else(|| not_set(&self.engine.inputs()[index]))
    }

    fn run(&mut self) -> Result<RunTimes, BackendError> {
        // Whatever happens, the results of an earlier run are no longer there to be read.
        self.has_results = false;
        if !self.is_told || !self.handle.is_settled() {
            self.settle()?;
        }
        let times = self.execute().map_err(|error| running(error, "running the engine"))?;
        self.has_results = true;
        Ok(times)
    }

    fn output(&self, index: usize) -> Result<(&Shape, &[u8]), BackendError> {
        let Some(output) = self.outputs.get(index) else {
            return Err(no_such("output", index, self.outputs.len()));
        };
        if !self.has_results {
            return Err(no_results());
        }
        let bytes = match &output.staging {
            Some(staging) => Some(&staging[..]),
            None => self.handle.host(output.place),
        };
        let bytes = bytes.and_then(|bytes| bytes.get(..output.len)).ok_or_else(no_results)?;
        Ok((&output.shape, bytes))
    }
}

fn running(error: TrtError, doing: &'static str) -> BackendError {
    error.into_error(doing, |reason| BackendError::Run { reason })
}

/// The values of an input that holds shapes, which TensorRT has in 32 or 64 bits.
fn integers(dtype: DType, bytes: &[u8]) -> Vec<i64> {
    match dtype {
        DType::Int64 => bytes.as_chunks().0.iter().copied().map(i64::from_le_bytes).collect(),
        DType::Int32 => {
            let values = bytes.as_chunks().0.iter().copied().map(i32::from_le_bytes);
            values.map(i64::from).collect()
        }
        _ => Vec::new(),
    }
}
