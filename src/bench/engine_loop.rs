//! [`EngineLoop`]: an engine on its devices, with contexts that are ready to run turn after turn.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{self, Backend, Engine, EngineManifest, ExecutionContext, LoadOptions};
use crate::deployment::CudaGraphs;
use crate::process::CancelToken;
use crate::progress::Progress;

use super::clocks::{ClockReport, ClockWatch};
use super::drive::{self, Driven, Load};
use super::feed::Feed;
use super::{BenchError, InputChoice, Run};

/// Which devices an engine runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Devices {
    /// The first, or where the backend has no numbered ones, the only one.
    #[default]
    First,
    /// These, by their numbers.
    Numbered(Vec<usize>),
    /// Every one there is.
    All,
}

impl Devices {
    /// The devices of a backend that are meant.
    pub(super) fn of(&self, backend: &dyn Backend) -> Result<Vec<Option<usize>>, BenchError> {
        match self {
            Self::First => Ok(vec![None]),
            Self::Numbered(_) if !backend.has_devices() => {
                Err(BenchError::NoDevices { backend: backend.name().to_owned() })
            }
            Self::Numbered(numbers) => Ok(numbers.iter().copied().map(Some).collect()),
            Self::All => Ok(backend.devices()?),
        }
    }
}

/// How an engine is made ready.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// Which inputs to run.
    pub inputs: InputChoice<'a>,
    /// How many contexts run at the same time on each device, each with a stream of its own where
    /// the backend has such.
    pub contexts: NonZeroUsize,
    /// The devices to load the engine on.
    pub devices: &'a Devices,
    /// Which runs are submitted as one CUDA graph.
    pub cuda_graphs: &'a CudaGraphs,
}

/// An engine on one device.
pub(super) struct Place {
    pub(super) device: Option<usize>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) load: Duration,
}

/// An engine on its devices, with its contexts.
pub struct EngineLoop {
    pub(super) backend: &'static dyn Backend,
    pub(super) places: Vec<Place>,
    pub(super) feed: Feed,
    /// As many for each place, in the order of the places.
    pub(super) contexts: Vec<Box<dyn ExecutionContext>>,
    /// Of the first context.
    pub(super) first_run: Duration,
}

/// What one turn came to.
pub(super) struct Turn {
    /// By context.
    pub(super) runs: Vec<Vec<Run>>,
    /// Runs that were due and had not begun at the end.
    pub(super) unstarted: u64,
    /// What the clocks of each place did, where something tells.
    pub(super) clocks: Vec<Option<ClockReport>>,
}

impl EngineLoop {
    /// Loads an engine from its folder and runs each of its contexts once.
    pub fn new(
        folder: &Path,
        manifest: &EngineManifest,
        setup: Setup<'_>,
        progress: &dyn Progress,
        cancel: &CancelToken,
    ) -> Result<Self, BenchError> {
        let backend = backend::by_name(&manifest.backend)?;
        if *setup.cuda_graphs == CudaGraphs::On && !backend.has_devices() {
            return Err(BenchError::NoGraphs { backend: manifest.backend.clone() });
        }
        let devices = setup.devices.of(backend)?;
        progress.report("loading", 0, None);
        let load = |device| {
            let options = LoadOptions { device, cuda_graphs: setup.cuda_graphs.clone() };
            let started = Instant::now();
            let engine = backend.load(folder, manifest, &options)?;
            Ok(Place { device, engine, load: started.elapsed() })
        };
        let places = devices.into_iter().map(load).collect::<Result<Vec<_>, BenchError>>()?;
        let Some(first) = places.first() else {
            return Err(BenchError::NoDevices { backend: manifest.backend.clone() });
        };
        let feed = Feed::new(first.engine.as_ref(), manifest, setup.inputs)?;
        let of_place = |place: &Place| {
            let contexts = (0..setup.contexts.get()).map(|_| feed.context(&place.engine));
            contexts.collect::<Result<Vec<_>, _>>()
        };
        let contexts = places.iter().map(of_place).collect::<Result<Vec<_>, _>>()?;
        let mut contexts: Vec<_> = contexts.into_iter().flatten().collect();
        progress.report("first run", 0, None);
        let first_run = first_runs(&mut contexts, cancel)?;
        Ok(Self { backend, places, feed, contexts, first_run })
    }

    /// The engine itself, as loaded on its first device.
    pub(super) fn engine(&self) -> &dyn Engine {
        self.places[0].engine.as_ref()
    }

    /// Runs all contexts at the same time.
    pub(super) fn turn(
        &mut self,
        load: Load,
        progress: &dyn Progress,
        cancel: &CancelToken,
    ) -> Result<Turn, BenchError> {
        let monitor = |place: &Place| self.backend.monitor(place.device);
        let monitors: Vec<_> = self.places.iter().map(monitor).collect();
        let watched = monitors.iter().copied().flatten();
        let mut watches: Vec<ClockWatch> = watched.map(ClockWatch::start).collect();
        let Driven { runs, unstarted } =
            drive::drive(&mut self.contexts, load, &mut watches, progress, cancel)?;
        let mut reports = watches.iter().map(ClockWatch::report);
        let clocks = monitors.iter().map(|monitor| monitor.and_then(|_| reports.next())).collect();
        Ok(Turn { runs, unstarted, clocks })
    }
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
