//! [`OrtContext`]: one caller's staging memory.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ort::session::RunOptions;

use crate::backend::contain::contained;
use crate::backend::host::{HostStaging, Staging};
use crate::backend::{BackendError, Engine as _, ExecutionContext, RunTimes};
use crate::process::CancelToken;
use crate::tensor::{DType, Shape, TensorSpec};

use super::engine::OrtEngine;
use super::raw::{self, View};
use super::session;

/// One run at a time of an [`OrtEngine`].
pub(super) struct OrtContext {
    engine: Arc<OrtEngine>,
    staging: HostStaging,
    cancel: Option<CancelToken>,
}

impl OrtContext {
    /// A context with nothing staged.
    pub(super) fn new(engine: Arc<OrtEngine>) -> Self {
        let staging = HostStaging::new(engine.inputs().len());
        Self { engine, staging, cancel: None }
    }

    /// Runs the session on the staged inputs where they stand.
    fn compute(&self) -> Result<Vec<raw::Value>, String> {
        let specs = self.engine.inputs();
        let inputs: Vec<(&TensorSpec, &Shape, Cow<'_, [u8]>)> = specs
            .iter()
            .zip(self.staging.staged())
            .map(|(spec, staging)| (spec, staging.shape(), elements(spec, staging)))
            .collect();
        let views: Vec<View<'_>> = inputs
            .iter()
            .map(|(spec, shape, bytes)| View::new(session::element_type(spec.dtype), shape, bytes))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let engine = &self.engine;
        let run = |options: Option<&RunOptions>| {
            let (session, inputs) = (engine.session(), engine.input_names());
            raw::run(session, options, inputs, &views, engine.output_names())
                .map_err(|error| error.message().trim_end().to_owned())
        };
        let Some(cancel) = &self.cancel else { return run(None) };
        // Of this run alone: the library looks at it between nodes, and forgets nothing.
        let options = Arc::new(RunOptions::new().map_err(|error| error.to_string())?);
        let terminated = Arc::clone(&options);
        let _terminating = cancel.on_cancel(move || {
            if let Err(error) = terminated.terminate() {
                tracing::debug!("the run goes on although it should stop: {error}");
            }
        });
        run(Some(&options))
    }
}

/// The bytes of an input as the library may see them: it takes on trust that a boolean is 0 or 1.
fn elements<'a>(spec: &TensorSpec, staging: &'a Staging) -> Cow<'a, [u8]> {
    let bytes = staging.bytes();
    if spec.dtype == DType::Bool && bytes.iter().any(|byte| *byte > 1) {
        return bytes.iter().map(|byte| u8::from(*byte != 0)).collect();
    }
    Cow::Borrowed(bytes)
}

/// Shape and bytes of a result, which must be of the type that the model declares.
fn read<'a>(spec: &TensorSpec, value: &'a raw::Value) -> Result<(Shape, Cow<'a, [u8]>), String> {
    let tensor = value.contents()?;
    if session::dtype(tensor.element) != Some(spec.dtype) {
        return Err(format!("the model declares {}, the result is {}", spec.dtype, tensor.element));
    }
    if tensor.shape.checked_bytes(spec.dtype) != Some(tensor.bytes.len()) {
        let (shape, bytes) = (&tensor.shape, tensor.bytes.len());
        return Err(format!("a result of shape {shape} has {bytes} bytes"));
    }
    Ok((tensor.shape, Cow::Borrowed(tensor.bytes)))
}

impl ExecutionContext for OrtContext {
    fn input_mut(&mut self, index: usize, shape: &Shape) -> Result<&mut [u8], BackendError> {
        self.staging.input_mut(self.engine.as_ref(), index, shape)
    }

    fn run(&mut self) -> Result<RunTimes, BackendError> {
        self.staging.forget_results();
        let started = Instant::now();
        self.staging.check(self.engine.as_ref())?;
        let failed = |reason| BackendError::Run { reason };
        let results = contained(super::NAME, || self.compute()).flatten().map_err(|reason| {
            let is_stopped = self.cancel.as_ref().is_some_and(CancelToken::is_cancelled);
            if is_stopped { BackendError::Cancelled } else { failed(reason) }
        })?;
        let computed = Instant::now();
        contained(super::NAME, || self.staging.keep_results(self.engine.outputs(), &results, read))
            .map_err(failed)
            .flatten()?;
        Ok(RunTimes {
            upload: Duration::ZERO,
            compute: computed - started,
            download: computed.elapsed(),
        })
    }

    fn stop_at(&mut self, cancel: &CancelToken) {
        self.cancel = Some(cancel.clone());
    }

    fn output(&self, index: usize) -> Result<(&Shape, &[u8]), BackendError> {
        self.staging.output(self.engine.as_ref(), index)
    }
}
