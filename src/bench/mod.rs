//! How fast an engine runs in this process ([`measure`]), and how fast it is served
//! ([`traffic::Session`]), in this process or behind an endpoint.
//!
//! Each context of an engine runs in a thread of its own. In a closed loop it starts its next run
//! when its last one ended: the times are those of runs alone, and how long requests would wait for
//! a free context cannot be told from them. In an open loop runs are due at moments of their own,
//! and their times count from those. Served models are measured in both kinds of loops, too.
//!
//! Owns the choice of inputs, the loops and their arithmetic, and the client's side of the protocol.
//! Knows nothing of pipelines, of how a backend computes, or of terminals.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::backend::{Backend, Engine, EngineManifest, ExecutionContext, cpu, tensorrt};
use crate::onnx::{self, FileType, Model, OnnxError};
use crate::process::CancelToken;
use crate::progress::Progress;
use crate::tensor::Tensor;

mod clocks;
mod compare;
mod drive;
pub mod endpoint;
mod engine_loop;
mod error;
mod feed;
mod overhead;
mod reload;
mod report;
mod schedule;
mod shapes;
#[cfg(test)]
mod tests;
pub mod traffic;

pub use clocks::{ClockReport, ClocksSeen};
pub use compare::{
    Compared, ComparedEngine, Comparison, Contender, DeviceClocks, Metrics, Verdict, compare,
};
pub use drive::{Load, Warmup};
pub use engine_loop::{Devices, EngineLoop, Setup};
pub use error::{BenchError, Found};
pub use feed::InputChoice;
pub use overhead::{Overhead, Spread};
pub use reload::{Cycle, reload};
pub use report::{DeviceReport, Distribution, InputReport, LatencyReport, Report, Totals};
pub use schedule::Schedule;

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
    /// How long after it was due it started; 0 where runs follow each other.
    pub late: u64,
}

impl Run {
    /// From when it was due to its end.
    pub fn end_to_end(&self) -> u64 {
        self.late.saturating_add(self.took)
    }
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
    setup: Setup<'_>,
    load: Load,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Measurement, BenchError> {
    let mut engine = EngineLoop::new(folder, manifest, setup, progress, cancel)?;
    let outputs = outputs(engine.engine(), engine.contexts[0].as_ref())?;
    let turn = engine.turn(load, progress, cancel)?;
    if turn.runs.iter().all(Vec::is_empty) {
        return Err(match load.schedule {
            Some(_) if !cancel.is_cancelled() => BenchError::NothingDue { duration: load.duration },
            _ => BenchError::Interrupted,
        });
    }
    let report = Report::new(&engine, manifest, setup, load, &turn, cancel.is_cancelled());
    Ok(Measurement { report, runs: turn.runs, outputs })
}

/// What ran it: versions of the backend's libraries, and the machine.
fn tools(backend: &dyn Backend) -> BTreeMap<String, String> {
    let mut tools = backend.tools(&tensorrt::Options::default()).unwrap_or_else(|error| {
        tracing::warn!("what ran the engine is not known: {error}");
        BTreeMap::new()
    });
    tools.insert("processor".to_owned(), cpu::processor());
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
