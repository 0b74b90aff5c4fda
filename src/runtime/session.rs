//! [`Session`]: an execution context of a model for one caller, who runs it without a queue.
//!
//! It shares the pool with the model's own threads, and what it does is in the same statistics.
//! Nothing is allocated for a run, and no other thread takes part in it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{BackendError, ExecutionContext, RunTimes};
use crate::tensor::{Shape, TensorSpec};

use super::batcher::{Batcher, Worker, panicked};
use super::check::wrong;
use super::context_pool::Lease;
use super::{InferError, PhaseTimes};

/// A context of a model, lent until this is dropped. While all are lent, others wait for one:
/// batches, other sessions, and the next session of the same thread.
pub struct Session<'a> {
    batcher: &'a Batcher,
    lease: Lease<'a>,
    /// From asking for a context to having it; the first run has waited for it.
    waited: Duration,
    /// Time and bytes of what was copied for the next run.
    upload: Duration,
    copied_in: u64,
    // Dropped last: the engine is unloaded once nobody works with it.
    _at_work: Worker,
}

impl<'a> Session<'a> {
    /// Waits for a context of an open model.
    pub(super) fn of(batcher: &'a Arc<Batcher>) -> Result<Self, InferError> {
        let asked = Instant::now();
        let at_work = batcher.worker_if_open().ok_or_else(|| batcher.closed())?;
        let lease = batcher.pool.lease()?;
        Ok(Self {
            batcher,
            lease,
            waited: asked.elapsed(),
            upload: Duration::ZERO,
            copied_in: 0,
            _at_work: at_work,
        })
    }

    fn context(&mut self) -> Result<&mut dyn ExecutionContext, InferError> {
        Ok(self.lease.context_mut()?)
    }

    fn input_spec(&self, index: usize) -> Result<&'a TensorSpec, InferError> {
        let inputs = &self.batcher.interface.inputs;
        inputs.get(index).ok_or_else(|| {
            let reason = format!("there is no input {index}: the model has {}", inputs.len());
            InferError::Request { reason }
        })
    }

    /// Sets the shape of an input and gives its bytes to write: those that the device copies from.
    /// They keep what they held while the shape stays as it was, run after run.
    pub fn input_mut(&mut self, index: usize, shape: &Shape) -> Result<&mut [u8], InferError> {
        let spec = self.input_spec(index)?;
        if let Some(axis) = shape.0.iter().position(|&extent| extent == 0) {
            let what = if axis == 0 { "its batch is empty" } else { "it is empty" };
            return Err(wrong(spec, format!("{what}: its shape is {shape}")));
        }
        Ok(self.context()?.input_mut(index, shape)?)
    }

    /// Sets an input to a shape and bytes, which are row-major and little-endian.
    pub fn set_input(
        &mut self,
        index: usize,
        shape: &Shape,
        bytes: &[u8],
    ) -> Result<(), InferError> {
        let started = Instant::now();
        let spec = self.input_spec(index)?;
        let staging = self.input_mut(index, shape)?;
        if staging.len() != bytes.len() {
            let (found, has) = (bytes.len(), staging.len());
            let reason = format!("it has {found} bytes, a {} {shape} has {has}", spec.dtype);
            return Err(wrong(spec, reason));
        }
        staging.copy_from_slice(bytes);
        self.copied_in += bytes.len() as u64;
        self.upload += started.elapsed();
        Ok(())
    }

    /// Runs on the inputs as they are. After a failure of the engine the session is of no use any
    /// more.
    pub fn run(&mut self) -> Result<PhaseTimes, InferError> {
        self.run_then(|_, _| Ok(())).map(|((), times)| times)
    }

    /// Shape and bytes of an output of the last run: those that the device copied to.
    pub fn output(&self, index: usize) -> Result<(&Shape, &[u8]), InferError> {
        Ok(self.lease.context()?.output(index)?)
    }

    /// Runs, and reads the outputs as part of the same request; `read` adds up the bytes that it
    /// copies.
    pub(crate) fn run_then<R>(
        &mut self,
        read: impl FnOnce(&Self, &mut u64) -> Result<R, InferError>,
    ) -> Result<(R, PhaseTimes), InferError> {
        let statistics = &self.batcher.statistics;
        let started = Instant::now();
        let before = std::mem::take(&mut self.waited);
        let filled = std::mem::take(&mut self.upload);
        let copied_in = std::mem::take(&mut self.copied_in);
        let mut copied_out = 0;
        statistics.taken();
        let outcome = self.contained().map_err(InferError::from).and_then(|ran| {
            let computed = Instant::now();
            let read = read(self, &mut copied_out)?;
            let times = PhaseTimes {
                queue: before,
                upload: filled + ran.upload,
                compute: ran.compute,
                download: ran.download + computed.elapsed(),
            };
            Ok((read, times))
        });
        let took = before + filled + started.elapsed();
        match &outcome {
            Ok((_, times)) => {
                self.lease.count_batch();
                statistics.copied(copied_in, copied_out);
                statistics.executed(1, 1, times);
                statistics.answered(before, took);
            }
            Err(error) => statistics.failed(error.kind(), took),
        }
        statistics.ended();
        outcome
    }

    /// A panic of an engine is an error of its run, after which the context is not used again.
    fn contained(&mut self) -> Result<RunTimes, BackendError> {
        let run = || self.lease.using(|context| context.run());
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            self.lease.discard();
            Err(panicked(&*panic))
        })
    }
}
