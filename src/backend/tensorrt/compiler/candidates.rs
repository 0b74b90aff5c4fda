//! Several builds of one model: which engine to keep.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{BackendError, Engine, EngineManifest, LoadOptions, Profile};
use crate::data;
use crate::tensor::{Dim, Shape, TensorSpec};

use super::super::engine::{Plan, TensorRtEngine};
use super::super::fastest::{Fastest, fastest};
use super::super::handle::{HostMemory, Library};
use super::job::CompileJob;

/// Runs before those that are measured, and those, each time a candidate has its turn.
const WARMUP: usize = 5;
const RUNS: usize = 25;

/// Measures every plan with the shapes that its first profile is fastest at, and random values.
pub(super) fn choose(
    library: &'static Library,
    plans: &[HostMemory],
    manifest: &EngineManifest,
    job: &CompileJob,
) -> Result<Fastest, BackendError> {
    let latencies = |at: usize| {
        let (bytes, path, folder) = (plans[at].bytes(), job.model.as_path(), job.out.as_path());
        let plan = Plan { bytes, path, folder, found: &job.found };
        measure(TensorRtEngine::load(library, plan, manifest, &LoadOptions::default())?)
    };
    let chosen = fastest(plans.len(), latencies)?;
    chosen.ok_or_else(|| BackendError::Compile {
        model: job.model.display().to_string(),
        reason: "none of the engines that were built could be measured".to_owned(),
    })
}

fn measure(engine: Arc<TensorRtEngine>) -> Result<Vec<Duration>, BackendError> {
    let inputs: Vec<TensorSpec> = engine.inputs().to_vec();
    let profile = engine.profiles().first().cloned().unwrap_or_default();
    let mut context = Engine::new_context(engine)?;
    for (index, input) in inputs.iter().enumerate() {
        let shape = shape(input, &profile);
        let run_error =
            |error: crate::tensor::TensorError| BackendError::Run { reason: error.to_string() };
        let values = data::random(&input.name, input.dtype, shape.clone()).map_err(run_error)?;
        context.input_mut(index, &shape)?.copy_from_slice(values.bytes());
    }
    for _ in 0..WARMUP {
        context.run()?;
    }
    (0..RUNS).map(|_| Ok(context.run()?.compute)).collect()
}

/// The shape that a profile is fastest at; an input that it does not name is of fixed shape.
fn shape(input: &TensorSpec, profile: &Profile) -> Shape {
    if let Some(range) = profile.get(&input.name) {
        return range.opt.clone();
    }
    let dims = input.dims.iter().flatten();
    Shape(dims.map(|dim| if let Dim::Fixed(extent) = dim { *extent } else { 1 }).collect())
}
