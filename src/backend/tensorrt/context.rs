//! [`TensorRtContext`]: one caller's run.
//!
//! A run copies inputs from pinned memory to the GPU, executes, copies outputs back and waits
//! once. All memory is allocated when a profile is first used, at the largest shapes of that
//! profile, and kept; while shapes do not change, a run tells TensorRT nothing but to run.

use std::sync::Arc;

use crate::backend::shapes::{
    accept, agree, misfit, no_profile, no_results, no_such, not_set, takes,
};
use crate::backend::{BackendError, Engine as _, ExecutionContext, RunTimes};
use crate::tensor::Shape;

use super::engine::TensorRtEngine;
use super::error::TrtError;
use super::handle::ContextHandle;
use super::plan;
use super::staging::{Input, Output};
use super::stopwatch::Stopwatch;

/// One run at a time of a [`TensorRtEngine`].
pub(super) struct TensorRtContext {
    handle: ContextHandle,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// The profile that is chosen and has its memory.
    profile: Option<usize>,
    /// Whether TensorRT knows the shapes of all inputs.
    is_told: bool,
    /// Whether the outputs are those of the last run.
    has_results: bool,
    stopwatch: Stopwatch,
    engine: Arc<TensorRtEngine>,
}

impl TensorRtContext {
    pub(super) fn new(engine: Arc<TensorRtEngine>) -> Result<Self, BackendError> {
        let failed = |error: TrtError| running(error, "making an execution context");
        let handle = engine.new_handle().map_err(failed)?;
        let stopwatch = Stopwatch::new(handle.gpu()).map_err(|error| failed(error.into()))?;
        Ok(Self {
            inputs: engine.input_ports().iter().copied().map(Input::new).collect(),
            outputs: engine.output_ports().iter().copied().map(Output::new).collect(),
            profile: None,
            is_told: false,
            has_results: false,
            handle,
            stopwatch,
            engine,
        })
    }

    /// The most bytes of an input in a profile that takes the shape: the chosen one, else the
    /// first. One that TensorRT reads on the host keeps its values when the profile changes: it
    /// has room for those of every profile.
    fn most_bytes(&self, index: usize, shape: &Shape) -> usize {
        let (engine, port) = (&self.engine, self.inputs[index].port);
        let name = &engine.inputs()[index].name;
        let most = |profile: usize| {
            let range = engine.ranges().get(profile)?.get(name)?;
            range.contains(shape).then(|| port.bytes(&range.max))?
        };
        let mut bytes = self.profile.into_iter().chain(0..engine.ranges().len()).filter_map(most);
        let bytes = if port.is_on_host { bytes.max() } else { bytes.next() };
        bytes.unwrap_or(0)
    }

    /// Brings values into the engine's own types.
    fn narrow(&mut self) -> Result<(), BackendError> {
        for (input, spec) in self.inputs.iter_mut().zip(self.engine.inputs()) {
            input.narrow(&mut self.handle).map_err(|value| {
                let reason =
                    format!("{value} does not fit the 32-bit integers that this TensorRT has");
                misfit(spec, input.shape.as_ref().unwrap_or(&Shape::default()), reason)
            })?;
        }
        Ok(())
    }

    /// The profile that takes all inputs: the one that is chosen if it does, else the first.
    fn choose_profile(&self) -> Result<usize, BackendError> {
        let specs = self.engine.inputs();
        let shape = |(spec, input): (_, &Input)| input.shape.clone().ok_or_else(|| not_set(spec));
        let shapes = specs.iter().zip(&self.inputs).map(shape).collect::<Result<Vec<_>, _>>()?;
        let inputs = || specs.iter().zip(&shapes);
        agree(inputs())?;
        let ranges = self.engine.ranges();
        let chosen = self
            .profile
            .into_iter()
            .chain(0..ranges.len())
            .find(|&number| takes(&ranges[number], inputs()) && self.takes_values(number));
        chosen.ok_or_else(|| no_profile(inputs()))
    }

    /// Whether a profile takes the values of the inputs that hold shapes.
    fn takes_values(&self, profile: usize) -> bool {
        let mut ranges = self.engine.values().get(profile).into_iter().flatten();
        ranges.all(|(&index, (low, high))| {
            let values = self.inputs[index].values(&self.handle);
            let mut ends = low.iter().zip(high).zip(&values);
            ends.all(|((low, high), value)| (low..=high).contains(&value))
        })
    }

    /// Tells TensorRT the shapes that changed, and sees to memory for all that follows from them.
    fn settle(&mut self, profile: usize) -> Result<(), TrtError> {
        if self.profile != Some(profile) {
            self.profile = None;
            if self.engine.is_dynamic() && self.handle.profile() != Some(profile) {
                self.handle.set_profile(profile)?;
            }
            self.reserve_most(profile)?;
            self.profile = Some(profile);
        }
        for input in &mut self.inputs {
            input.settle(&mut self.handle)?;
        }
        self.handle.settle()?;
        for output in &mut self.outputs {
            output.settle(&self.handle, self.engine.ledger())?;
        }
        self.is_told = true;
        self.stopwatch.measure_next();
        Ok(())
    }

    /// Sees to memory for the largest shapes of a profile, so that none is allocated later.
    fn reserve_most(&mut self, profile: usize) -> Result<(), TrtError> {
        let Self { handle, inputs, outputs, engine, .. } = self;
        for (input, spec) in inputs.iter_mut().zip(engine.inputs()) {
            let Some(range) = engine.ranges()[profile].get(&spec.name) else { continue };
            handle.reserve(input.port.place, input.port.bytes(&range.max).unwrap_or(usize::MAX))?;
            input.tell(handle, &range.max)?;
        }
        let follows_from_values = engine.values().get(profile).is_some_and(|v| !v.is_empty());
        // Where the largest shapes do not go together either, outputs grow as they need.
        if follows_from_values || handle.infer_shapes().is_err() {
            return Ok(());
        }
        for output in outputs {
            let most = handle.extents(output.port.place).as_deref().and_then(plan::shape);
            if let Some(bytes) = most.and_then(|shape| output.port.bytes(&shape)) {
                output.reserve(handle, engine.ledger(), bytes)?;
            }
        }
        Ok(())
    }

    fn execute(&mut self) -> Result<RunTimes, TrtError> {
        let Self { handle, inputs, outputs, stopwatch, engine, .. } = self;
        let (used, watch) = (&*handle, stopwatch.start());
        used.stream().scope(|work| -> Result<(), TrtError> {
            watch.mark(work, 0)?;
            for input in &*inputs {
                input.upload(used, work)?;
            }
            watch.mark(work, 1)?;
            used.enqueue(work)?;
            watch.mark(work, 2)?;
            for output in &mut *outputs {
                output.download(used, work)?;
            }
            Ok(watch.mark(work, 3)?)
        })?;
        for output in outputs {
            output.finish(handle, engine.ledger())?;
        }
        Ok(stopwatch.read()?)
    }
}

impl ExecutionContext for TensorRtContext {
    fn input_mut(&mut self, index: usize, shape: &Shape) -> Result<&mut [u8], BackendError> {
        let specs = self.engine.inputs();
        let Some(spec) = specs.get(index) else {
            return Err(no_such("input", index, specs.len()));
        };
        if self.inputs[index].shape.as_ref() != Some(shape) {
            accept(self.engine.ranges(), spec, shape)?;
            self.is_told = false;
            let most = self.most_bytes(index, shape);
            let Self { handle, inputs, engine, .. } = self;
            inputs[index]
                .set_shape(handle, engine.ledger(), shape, most)
                .map_err(|error| running(error, "staging an input"))?;
        }
        let bytes = self.inputs[index].bytes_mut(&mut self.handle);
        bytes.ok_or_else(|| not_set(&self.engine.inputs()[index]))
    }

    fn run(&mut self) -> Result<RunTimes, BackendError> {
        // Whatever happens, the results of an earlier run are no longer there to be read.
        self.has_results = false;
        self.narrow()?;
        if !self.is_told || !self.handle.is_settled() {
            let profile = self.choose_profile()?;
            self.settle(profile).map_err(|error| running(error, "preparing a run"))?;
        }
        let times = self.execute().map_err(|error| running(error, "running the engine"))?;
        self.has_results = true;
        Ok(times)
    }

    fn output(&self, index: usize) -> Result<(&Shape, &[u8]), BackendError> {
        let Some(output) = self.outputs.get(index) else {
            return Err(no_such("output", index, self.outputs.len()));
        };
        let result = self.has_results.then(|| output.result()).flatten();
        result.ok_or_else(no_results)
    }
}

fn running(error: TrtError, doing: &'static str) -> BackendError {
    error.into_error(doing, |reason| BackendError::Run { reason })
}
