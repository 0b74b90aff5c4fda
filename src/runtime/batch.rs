//! [`Runner`]: one batch on a leased context: requests into its staging, a run, answers out of it.
//!
//! Each input is copied once, from the request's bytes into its rows of the staging; each output
//! once, from its rows there into the answer's bytes. Rows past those of the requests are zero,
//! and nobody gets theirs.

use std::time::Instant;

use crate::backend::{BackendError, ExecutionContext};
use crate::tensor::{Shape, TensorSpec};

use super::check::Interface;
use super::copies::{copy_all, copy_box, copy_out};
use super::{InferRequest, OutputTensor, PhaseTimes};

/// The requests of a batch, with the samples of each.
pub(super) type Requests<'a> = [(&'a InferRequest, usize)];

/// What came of a batch.
pub(super) struct Ran {
    /// By request: the outputs it wants.
    pub(super) outputs: Vec<Vec<OutputTensor>>,
    /// Samples of all of them.
    pub(super) samples: usize,
    /// Where the time went; `queue` is zero.
    pub(super) times: PhaseTimes,
    /// Bytes copied from requests and into answers.
    pub(super) copied: (u64, u64),
}

/// Runs batches of a model.
pub(super) struct Runner<'a> {
    pub(super) interface: &'a Interface,
    /// Extent of the batch axis to run: no less than the samples of the requests together.
    pub(super) size: usize,
}

impl Runner<'_> {
    /// Runs the requests together; they were checked and may share a batch.
    pub(super) fn run(
        &self,
        context: &mut dyn ExecutionContext,
        requests: &Requests<'_>,
    ) -> Result<Ran, BackendError> {
        let started = Instant::now();
        let mut copied = (0, 0);
        for index in 0..self.interface.inputs.len() {
            self.gather(context, index, requests, &mut copied.0)?;
        }
        let gathered = Instant::now();
        let ran = context.run()?;
        let computed = Instant::now();
        let outputs = self.scatter(context, requests, &mut copied.1)?;
        let times = PhaseTimes {
            upload: gathered - started + ran.upload,
            compute: ran.compute,
            download: ran.download + computed.elapsed(),
            ..PhaseTimes::default()
        };
        let samples = requests.iter().map(|(_, samples)| samples).sum();
        Ok(Ran { outputs, samples, times, copied })
    }

    /// The shape in which input `index` of all requests runs.
    fn joint_shape(&self, index: usize, requests: &Requests<'_>) -> Shape {
        let mut shapes = requests.iter().map(|(request, _)| &request.inputs[index].shape);
        let mut joint = shapes.next().cloned().unwrap_or_default();
        if self.interface.max_batch.is_none() {
            return joint;
        }
        if self.interface.pad {
            for shape in shapes {
                for (extent, other) in joint.0.iter_mut().zip(&shape.0) {
                    *extent = (*extent).max(*other);
                }
            }
        }
        if let Some(batch) = joint.0.first_mut() {
            *batch = self.size;
        }
        joint
    }

    fn gather(
        &self,
        context: &mut dyn ExecutionContext,
        index: usize,
        requests: &Requests<'_>,
        copied: &mut u64,
    ) -> Result<(), BackendError> {
        let spec = &self.interface.inputs[index];
        let joint = self.joint_shape(index, requests);
        let staging = context.input_mut(index, &joint)?;
        if joint.checked_bytes(spec.dtype) != Some(staging.len()) {
            return Err(misfit(spec, &joint, staging.len()));
        }
        if self.interface.max_batch.is_none() {
            // It is one.
            let request = requests.first();
            let bytes = request.map(|(request, _)| &*request.inputs[index].bytes);
            copy_all(bytes.map(|bytes| (bytes, staging)).into_iter().collect(), copied);
            return Ok(());
        }
        let row = staging.len().checked_div(self.size).unwrap_or(0);
        let mut rest = staging;
        let mut whole = Vec::with_capacity(requests.len());
        for (request, samples) in requests {
            let input = &request.inputs[index];
            let (rows, after) = rest.split_at_mut(samples * row);
            if input.bytes.len() == rows.len() {
                whole.push((&*input.bytes, rows));
            } else {
                rows.fill(0);
                let extents = &input.shape.0;
                let target = (rows, &*joint.0);
                copy_box((&input.bytes, extents), target, extents, spec.dtype.size(), copied);
            }
            rest = after;
        }
        copy_all(whole, copied);
        rest.fill(0);
        Ok(())
    }

    fn scatter(
        &self,
        context: &dyn ExecutionContext,
        requests: &Requests<'_>,
        copied: &mut u64,
    ) -> Result<Vec<Vec<OutputTensor>>, BackendError> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut before = 0;
        for &(request, samples) in requests {
            let rows = (before, samples);
            let output = |&index: &usize| self.output(context, index, request, rows, copied);
            answers.push(request.outputs.iter().map(output).collect::<Result<Vec<_>, _>>()?);
            before += samples;
        }
        Ok(answers)
    }

    /// The rows of an output that belong to a request: `count` of them, after those `before`.
    fn output(
        &self,
        context: &dyn ExecutionContext,
        index: usize,
        request: &InferRequest,
        (before, count): (usize, usize),
        copied: &mut u64,
    ) -> Result<OutputTensor, BackendError> {
        let (shape, bytes) = context.output(index)?;
        let spec = &self.interface.outputs[index];
        if shape.checked_bytes(spec.dtype) != Some(bytes.len()) {
            return Err(misfit(spec, shape, bytes.len()));
        }
        if self.interface.max_batch.is_none() {
            let bytes = copy_out(bytes, copied);
            return Ok(OutputTensor { index, shape: shape.clone(), bytes });
        }
        // An engine that reduces or reorders the batch axis would give one request's answer to
        // another.
        if shape.0.first() != Some(&self.size) {
            let reason = format!(
                "output `{}` has shape {shape} for a batch of {}: axis 0 is not the batch, so the \
                 model cannot be batched; leave out `batching`",
                spec.name, self.size
            );
            return Err(BackendError::Run { reason });
        }
        let row = bytes.len().checked_div(self.size).unwrap_or(0);
        let rows = &bytes[before * row..(before + count) * row];
        let mut own = shape.clone();
        own.0[0] = count;
        if self.interface.pad {
            for (extent, follows) in own.0.iter_mut().zip(&self.interface.follows[index]) {
                if let Some((input, axis)) = *follows {
                    *extent = request.inputs[input].shape.0[axis].min(*extent);
                }
            }
        }
        if own.0[1..] == shape.0[1..] {
            return Ok(OutputTensor { index, shape: own, bytes: copy_out(rows, copied) });
        }
        let mut cropped = vec![0; own.checked_bytes(spec.dtype).unwrap_or(0)];
        let target = (&mut *cropped, &*own.0);
        copy_box((rows, &shape.0), target, &own.0, spec.dtype.size(), copied);
        Ok(OutputTensor { index, shape: own, bytes: cropped.into() })
    }
}

fn misfit(spec: &TensorSpec, shape: &Shape, bytes: usize) -> BackendError {
    let reason = format!("the engine has {bytes} bytes for `{}` of shape {shape}", spec.name);
    BackendError::Run { reason }
}
