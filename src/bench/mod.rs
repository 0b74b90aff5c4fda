//! How fast an engine runs in this process ([`measure`]), and how fast it is served
//! ([`traffic::Session`]), in this process or behind an endpoint.
//!
//! An engine is measured in a closed loop: each context runs in a thread of its own and starts its
//! next run when its last one ended. So the times are those of runs alone; how long requests would
//! wait for a free context is not in them and cannot be told from them. Served models are measured
//! in a closed loop of requests, or in an open one.
//!
//! Owns the choice of inputs, the loops and their arithmetic, and the client's side of the protocol.
//! Knows nothing of pipelines, of how a backend computes, or of terminals.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::backend::{
    self, Backend, Engine, EngineManifest, ExecutionContext, LoadOptions, tensorrt,
};
use crate::onnx::{self, FileType, Model, OnnxError};
use crate::process::CancelToken;
use crate::progress::Progress;
use crate::tensor::Tensor;

mod closed_loop;
mod compare;
pub mod endpoint;
mod error;
mod feed;
mod reload;
mod report;
mod shapes;
#[cfg(test)]
mod tests;
pub mod traffic;

pub use closed_loop::{Load, Warmup};
pub use compare::{EngineLoop, Overhead, Spread};
pub use error::{BenchError, Found};
pub use feed::InputChoice;
pub use reload::{Cycle, reload};
pub use report::{Distribution, InputReport, LatencyReport, Report, Totals};

use feed::Feed;

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Which inputs to run.
    pub inputs: InputChoice<'a>,
    /// How many contexts run at the same time.
    pub contexts: NonZeroUsize,
    /// How much each of them runs.
    pub load: Load,
    /// The device to load the engine on, for backends that have several.
    pub device: Option<usize>,
}

/// One run, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// When it started, from the moment at which all contexts started.
    pub started: u64,
    /// How long its caller waited for it.
    pub took: u64,
    /// Its host to device copies.
    pub upload: u64,
    /// Its execution.
    pub compute: u64,
    /// Its device to host copies.
    pub download: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Measurement {
    /// The numbers.
    pub report: Report,
    /// Every run that counts, by context, in the order of running.
    pub runs: Vec<Vec<Run>>,
    /// The outputs of the first run, by name.
    pub outputs: Vec<(String, Tensor)>,
}

/// Finds the engine that a path names: its folder, or the `engine.json` in it.
pub fn find(path: &Path) -> Result<(PathBuf, EngineManifest), BenchError> {
    let not = |found| Err(BenchError::NotAnEngine { path: path.to_owned(), found });
    if !path.exists() {
        return Err(BenchError::Missing { path: path.to_owned() });
    }
    let folder = match path.parent() {
        Some(parent) if path.ends_with(EngineManifest::FILE) => parent,
        _ => path,
    };
    if folder.join(EngineManifest::FILE).exists() {
        return Ok((folder.to_owned(), EngineManifest::read(folder)?));
    }
    match onnx::locate(path).and_then(|file| Model::load(&file)) {
        Ok(_) => not(Found::Model),
        Err(_) if path.is_dir() => not(Found::Folder),
        Err(OnnxError::OtherFile { found: FileType::Engine, .. }) => not(Found::BareEngine),
        Err(OnnxError::OtherFile { found, .. }) => not(Found::File(Some(found))),
        Err(_) => not(Found::File(None)),
    }
}

/// Loads an engine from its folder and measures it. `cancel` ends it with what was measured until
/// then.
pub fn measure(
    folder: &Path,
    manifest: &EngineManifest,
    request: &Request<'_>,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Measurement, BenchError> {
    let backend = backend::by_name(&manifest.backend)?;
    if request.device.is_some() && !backend.has_devices() {
        return Err(BenchError::NoDevices { backend: manifest.backend.clone() });
    }
    progress.report("loading", 0, None);
    let started = Instant::now();
    let engine = backend.load(folder, manifest, &LoadOptions::on(request.device))?;
    let load = started.elapsed();

    let feed = Feed::new(engine.as_ref(), manifest, request.inputs)?;
    let mut contexts = Vec::with_capacity(request.contexts.get());
    for _ in 0..request.contexts.get() {
        contexts.push(feed.context(&engine)?);
    }
    progress.report("first run", 0, None);
    let first_run = first_runs(&mut contexts, cancel)?;
    let outputs = outputs(engine.as_ref(), contexts[0].as_ref())?;

    let runs = closed_loop::drive(&mut contexts, request.load, progress, cancel)?;
    if runs.iter().all(Vec::is_empty) {
        return Err(BenchError::Interrupted);
    }
    let totals = Totals::of(&runs);
    let report = Report {
        backend: manifest.backend.clone(),
        device: request.device,
        made_by: manifest.tensorrt.as_ref().map(tensorrt::EngineFacts::maker),
        tools: tools(backend),
        inputs: feed.describe(engine.inputs()),
        data: request.inputs.data.map(|data| data.path().display().to_string()),
        profile: feed.chosen.profile,
        assumed: feed.chosen.assumed.clone(),
        contexts: contexts.len(),
        warmup: match request.load.warmup {
            Warmup::Runs(runs) => Some(runs),
            Warmup::Time(_) => None,
        },
        warmup_seconds: match request.load.warmup {
            Warmup::Runs(_) => None,
            Warmup::Time(time) => Some(time.as_secs_f64()),
        },
        interrupted: cancel.is_cancelled(),
        load_ms: load.as_secs_f64() * 1e3,
        first_run_ms: first_run.as_secs_f64() * 1e3,
        samples_per_second: feed.samples().map(|samples| totals.samples_per_second(samples)),
        memory: engine.memory(),
        totals,
    };
    Ok(Measurement { report, runs, outputs })
}

/// Runs each context once, one after the other; how long the first took.
fn first_runs(
    contexts: &mut [Box<dyn ExecutionContext>],
    cancel: &CancelToken,
) -> Result<Duration, BenchError> {
    let mut first = None;
    for context in contexts {
        if cancel.is_cancelled() {
            return Err(BenchError::Interrupted);
        }
        let started = Instant::now();
        context.run()?;
        first.get_or_insert(started.elapsed());
    }
    Ok(first.unwrap_or_default())
}

/// What ran it: versions of the backend's libraries, and the machine.
fn tools(backend: &dyn Backend) -> BTreeMap<String, String> {
    let mut tools = backend.tools(&tensorrt::Options::default()).unwrap_or_else(|error| {
        tracing::warn!("what ran the engine is not known: {error}");
        BTreeMap::new()
    });
    tools.insert("processor".to_owned(), backend::cpu::processor());
    tools
}

fn outputs(
    engine: &dyn Engine,
    context: &dyn ExecutionContext,
) -> Result<Vec<(String, Tensor)>, BenchError> {
    let specs = engine.outputs().iter().enumerate();
    specs
        .map(|(index, spec)| {
            let (shape, bytes) = context.output(index)?;
            let tensor = Tensor::from_bytes(spec.dtype, shape.clone(), bytes)?;
            Ok((spec.name.clone(), tensor))
        })
        .collect()
}
