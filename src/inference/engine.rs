//! [`Engine`]: a loaded engine that infers.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::backend::{EngineMemory, Profile};
use crate::runtime::{
    self, InferError, InferRequest, InputTensor, Model, OutputTensor, Pending, Snapshot,
};
use crate::tensor::TensorSpec;

use super::builder::EngineBuilder;
use super::input::{self, Inputs};
use super::output::{Inference, Latency};
use super::pending::PendingInference;
use super::session::Session;

/// An engine, loaded on one device or several, for any number of threads.
///
/// As many requests run at once as there are instances on its devices; more wait. Dropping it
/// waits for nothing: what was submitted is still answered. [`Engine::shutdown`] waits.
pub struct Engine {
    model: Model,
    outputs: Arc<[TensorSpec]>,
}

impl Engine {
    /// Loads an engine with the settings of [`Engine::builder`].
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, InferError> {
        Self::builder(path).load()
    }

    /// The way to load an engine with settings of one's own. `path` is the folder that a `build`
    /// stage or [`super::compile`] made, or a file in it.
    pub fn builder(path: impl Into<PathBuf>) -> EngineBuilder {
        EngineBuilder::new(path.into())
    }

    pub(super) fn of(model: Model) -> Self {
        let outputs = model.outputs().into();
        Self { model, outputs }
    }

    /// Infers on this thread, and returns when the outputs are there. Without a batcher no other
    /// thread takes part in it; with one, it waits for the batch.
    ///
    /// The shapes are those of the inputs. What is wrong with an input is said of that input; an
    /// engine that fails or panics fails this request alone.
    pub fn infer(&self, inputs: impl Inputs) -> Result<Inference, InferError> {
        if self.model.config().batching.is_some() {
            return self.infer_async(inputs).wait();
        }
        let since = Instant::now();
        let mut session = self.model.session()?;
        let set = input::for_each(self.inputs(), &inputs, |index, input| {
            session.set_input(index, input.shape, input.bytes)
        });
        set.inspect_err(|error| self.refused(error, since))?;
        let (outputs, times) =
            session.run_then(|session, copied| self.copied_outputs(session, copied))?;
        drop(session);
        let latency = Latency::new(times, since.elapsed());
        Ok(Inference::new(&self.outputs, outputs, latency, 1))
    }

    /// Submits a request now, to be awaited later or never; the inputs are copied. Being refused is
    /// told by the future as well.
    pub fn infer_async(&self, inputs: impl Inputs) -> PendingInference {
        let since = Instant::now();
        PendingInference::new(self.submit(&inputs, since), &self.outputs, since)
    }

    fn submit(&self, inputs: &dyn Inputs, since: Instant) -> Result<Pending, InferError> {
        let mut tensors = Vec::with_capacity(self.inputs().len());
        let taken = input::for_each(self.inputs(), inputs, |_, input| {
            let bytes = Bytes::copy_from_slice(input.bytes);
            tensors.push(InputTensor { shape: input.shape.clone(), bytes });
            Ok(())
        });
        taken.inspect_err(|error| self.refused(error, since))?;
        self.model.submit(InferRequest {
            inputs: tensors,
            outputs: (0..self.outputs.len()).collect(),
            priority: None,
            deadline: None,
        })
    }

    /// Counts a request that was wrong before the runtime saw it.
    fn refused(&self, error: &InferError, since: Instant) {
        self.model.statistics().failed(error.kind(), since.elapsed());
    }

    fn copied_outputs(
        &self,
        session: &runtime::Session<'_>,
        copied: &mut u64,
    ) -> Result<Vec<OutputTensor>, InferError> {
        let copy = |index| {
            let (shape, bytes) = session.output(index)?;
            *copied += bytes.len() as u64;
            let bytes = Bytes::copy_from_slice(bytes);
            Ok(OutputTensor { index, shape: shape.clone(), bytes })
        };
        (0..self.outputs.len()).map(copy).collect()
    }

    /// Lends an execution context; waits where none is free.
    pub fn session(&self) -> Result<Session<'_>, InferError> {
        Ok(Session::new(self.model.session()?, self.inputs(), &self.outputs))
    }

    /// Runs every instance so many times, with each batch size it may be asked for, so that no
    /// request waits for what an engine prepares at its first runs. [`EngineBuilder::warmup`] does
    /// so while loading. It waits until all instances are free, so no session may be kept
    /// meanwhile; where shapes are open and no profile names usual ones, nothing is run.
    pub fn warmup(&self, iterations: usize) -> Result<(), InferError> {
        self.model.warm_up(iterations)
    }

    /// Inputs in the model's order.
    pub fn inputs(&self) -> &[TensorSpec] {
        self.model.inputs()
    }

    /// Outputs in the model's order.
    pub fn outputs(&self) -> &[TensorSpec] {
        self.model.outputs()
    }

    /// The optimization profiles that it was built for; none where any shape the model allows will
    /// do.
    pub fn profiles(&self) -> &[Profile] {
        self.model.profiles()
    }

    /// Device memory and pinned host memory that it holds on all devices: now, at most, and ever;
    /// `None` where the backend does not count it.
    pub fn memory(&self) -> Option<EngineMemory> {
        self.model.memory()
    }

    /// What happened to its requests until now: counts, and distributions of the durations of each
    /// phase. The difference of two is what happened in between.
    pub fn statistics(&self) -> Snapshot {
        self.model.statistics().snapshot()
    }

    /// Requests that wait for a batch or an instance; those of [`Engine::infer`] without a batcher
    /// wait elsewhere and are not among them.
    pub fn queue_depth(&self) -> usize {
        self.model.queue_depth()
    }

    /// Takes no more requests and waits until those that were taken are answered and the engine is
    /// unloaded; `false` where that takes longer than `patience`.
    pub fn shutdown(&self, patience: Duration) -> bool {
        self.model.drain(patience)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Engine");
        debug.field("inputs", &self.inputs()).field("outputs", &self.outputs()).finish()
    }
}
