//! [`CpuContext`]: one caller's staging memory and execution state.

use std::sync::Arc;
use std::time::Instant;

use tract_onnx::prelude::{IntoTValue as _, TValue, TVec, TractError, TypedSimpleState};
use tract_onnx::tract_core::plan;

use crate::backend::host::{HostStaging, Staging};
use crate::backend::shapes::misfit;
use crate::backend::{BackendError, Engine as _, ExecutionContext, RunTimes};
use crate::process::CancelToken;
use crate::tensor::Shape;

use super::contained;
use super::convert;
use super::engine::CpuEngine;
use super::states::States;

/// One run at a time of a [`CpuEngine`].
pub(super) struct CpuContext {
    engine: Arc<CpuEngine>,
    staging: HostStaging,
    states: States,
    cancel: CancelToken,
}

impl CpuContext {
    /// A context with nothing staged.
    pub(super) fn new(engine: Arc<CpuEngine>) -> Self {
        let staging = HostStaging::new(engine.inputs().len());
        Self { engine, staging, states: States::default(), cancel: CancelToken::default() }
    }

    /// A new state for the shapes of the inputs.
    fn specialised(&self) -> Result<(Vec<Shape>, TypedSimpleState), BackendError> {
        self.staging.check(self.engine.as_ref())?;
        let shapes: Vec<Shape> = self.staging.staged().map(Staging::shape).cloned().collect();
        let plan = self.engine.plan(&shapes, &self.cancel)?;
        let state = contained(|| plan.spawn().map_err(|e| format!("{e:#}"))).flatten();
        Ok((shapes, state.map_err(|reason| BackendError::Run { reason })?))
    }

    fn stage_inputs(&self) -> Result<TVec<TValue>, BackendError> {
        let specs = self.engine.inputs().iter();
        specs
            .zip(self.staging.staged())
            .map(|(spec, staging)| {
                convert::into_tract(spec.dtype, staging.shape(), staging.bytes())
                    .map(tract_onnx::prelude::Tensor::into_tvalue)
                    .map_err(|reason| misfit(spec, staging.shape(), reason))
            })
            .collect()
    }

    fn stage_outputs(&mut self, results: &[TValue]) -> Result<(), BackendError> {
        self.staging.keep_results(self.engine.outputs(), results, |spec, result| {
            Ok((Shape::from(result.shape()), convert::from_tract(spec.dtype, result)?))
        })
    }
}

impl ExecutionContext for CpuContext {
    fn input_mut(&mut self, index: usize, shape: &Shape) -> Result<&mut [u8], BackendError> {
        self.staging.input_mut(self.engine.as_ref(), index, shape)
    }

    fn run(&mut self) -> Result<RunTimes, BackendError> {
        self.staging.forget_results();
        let started = Instant::now();
        let cancel = &self.cancel;
        let failed = |reason| BackendError::Run { reason };
        // Shapes that ran before were checked then.
        let (shapes, mut state) =
            match self.states.take(|| self.staging.staged().map(Staging::shape)) {
                Some(known) => known,
                None => self.specialised()?,
            };
        let prepared = Instant::now();
        let inputs = self.stage_inputs()?;
        let uploaded = Instant::now();
        // A node that has begun is finished: no kernel looks up.
        let results = contained(|| {
            let results = state.run_plan_with_eval(inputs, |context, state, node, inputs| {
                if cancel.is_cancelled() {
                    return Err(TractError::msg("stopped"));
                }
                plan::eval(context, state, node, inputs)
            });
            results.map_err(|e| format!("{e:#}"))
        });
        let results = results.flatten().map_err(|reason| {
            if cancel.is_cancelled() { BackendError::Cancelled } else { failed(reason) }
        })?;
        let computed = Instant::now();
        contained(|| self.stage_outputs(&results)).map_err(failed).flatten()?;
        self.states.keep(shapes, state);
        Ok(RunTimes {
            upload: uploaded - prepared,
            compute: computed - uploaded + (prepared - started),
            download: computed.elapsed(),
        })
    }

    fn stop_at(&mut self, cancel: &CancelToken) {
        self.cancel = cancel.clone();
    }

    fn output(&self, index: usize) -> Result<(&Shape, &[u8]), BackendError> {
        self.staging.output(self.engine.as_ref(), index)
    }
}
