//! [`Report`]: what was measured, for people and programs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::backend::{EngineManifest, EngineMemory, tensorrt};
use crate::deployment::CudaGraphs;
use crate::tensor::{DType, Shape};
use crate::times::{NOISY, Times};

use super::clocks::ClockReport;
use super::drive::{Load, Warmup};
use super::engine_loop::{EngineLoop, Place, Setup, Turn};
use super::{Run, tools};

/// What was measured, and on what.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The backend that ran it.
    pub backend: String,
    /// The device that was named.
    pub device: Option<usize>,
    /// The library that made a TensorRT engine, and the GPU it was made on.
    pub made_by: Option<String>,
    /// Versions of what ran it, and the machine.
    pub tools: BTreeMap<String, String>,
    /// What went in.
    pub inputs: Vec<InputReport>,
    /// The data file; `None` where the inputs are random.
    pub data: Option<String>,
    /// The profile that shapes come from.
    pub profile: Option<usize>,
    /// Open axes that were taken as 1.
    pub assumed: Vec<String>,
    /// Contexts on all devices. In a closed loop each starts its next run when its last one ended.
    pub contexts: usize,
    /// Which runs were to be submitted as one CUDA graph.
    pub cuda_graphs: CudaGraphs,
    /// Runs a second that were due, in an open loop.
    pub rate: Option<f64>,
    /// How far apart they were due.
    pub arrivals: Option<&'static str>,
    /// About how many runs were due and had not begun when time was up.
    pub unstarted: u64,
    /// Runs of each context that do not count, after its first; `null` where it was a time.
    pub warmup: Option<usize>,
    /// How long each context ran before that which counts.
    pub warmup_seconds: Option<f64>,
    /// Whether it was told to stop early.
    pub interrupted: bool,
    /// Reading the engine and making it ready, on all devices.
    pub load_ms: f64,
    /// The first run of the first context.
    pub first_run_ms: f64,
    /// Samples of all contexts a second, where axis 0 of every input counts the same.
    pub samples_per_second: Option<f64>,
    /// What engine and contexts hold on all devices, where the backend counts it.
    pub memory: Option<EngineMemory>,
    /// Whether it computes on this machine's own processor: copies are then those in memory, and
    /// all times this machine's.
    pub on_host: bool,
    /// Each device by itself.
    pub devices: Vec<DeviceReport>,
    /// What the runs say all together.
    #[serde(flatten)]
    pub totals: Totals,
}

impl Report {
    pub(super) fn new(
        engine: &EngineLoop,
        manifest: &EngineManifest,
        setup: Setup<'_>,
        load: Load,
        turn: &Turn,
        interrupted: bool,
    ) -> Self {
        let (feed, totals) = (&engine.feed, Totals::of(&turn.runs));
        let devices = DeviceReport::each(engine, setup, turn);
        let (warmup, warmup_seconds) = match load.warmup {
            Warmup::Runs(runs) => (Some(runs), None),
            Warmup::Time(time) => (None, Some(time.as_secs_f64())),
        };
        Self {
            backend: manifest.backend.clone(),
            device: match engine.places.as_slice() {
                [only] => only.device,
                _ => None,
            },
            made_by: manifest.tensorrt.as_ref().map(tensorrt::EngineFacts::maker),
            tools: tools(engine.backend),
            inputs: feed.describe(engine.engine().inputs()),
            data: setup.inputs.data.map(|data| data.path().display().to_string()),
            profile: feed.chosen.profile,
            assumed: feed.chosen.assumed.clone(),
            contexts: engine.contexts.len(),
            cuda_graphs: setup.cuda_graphs.clone(),
            rate: load.schedule.map(|schedule| schedule.rate),
            arrivals: load.schedule.map(|schedule| schedule.gaps.name()),
            unstarted: turn.unstarted,
            warmup,
            warmup_seconds,
            interrupted,
            load_ms: devices.iter().map(|device| device.load_ms).sum(),
            first_run_ms: engine.first_run.as_secs_f64() * 1e3,
            samples_per_second: feed.samples().map(|samples| totals.samples_per_second(samples)),
            memory: devices
                .iter()
                .filter_map(|device| device.memory)
                .reduce(|sum, more| sum + more),
            on_host: engine.engine().is_on_host(),
            devices,
            totals,
        }
    }
}

/// What was measured on one device.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceReport {
    /// Its number, where it was named.
    pub device: Option<usize>,
    /// Contexts on it.
    pub contexts: usize,
    /// Reading the engine and making it ready.
    pub load_ms: f64,
    /// Samples of its contexts a second.
    pub samples_per_second: Option<f64>,
    /// What engine and contexts hold on it.
    pub memory: Option<EngineMemory>,
    /// What its clocks did, where it is a GPU that tells.
    pub clocks: Option<ClockReport>,
    /// What its runs say.
    #[serde(flatten)]
    pub totals: Totals,
}

impl DeviceReport {
    fn each(engine: &EngineLoop, setup: Setup<'_>, turn: &Turn) -> Vec<Self> {
        let runs = turn.runs.chunks(setup.contexts.get());
        let parts = engine.places.iter().zip(runs).zip(&turn.clocks);
        let samples = engine.feed.samples();
        let report = |((place, runs), clocks): ((&Place, &[Vec<Run>]), &Option<ClockReport>)| {
            let totals = Totals::of(runs);
            Self {
                device: place.device,
                contexts: runs.len(),
                load_ms: place.load.as_secs_f64() * 1e3,
                samples_per_second: samples.map(|samples| totals.samples_per_second(samples)),
                memory: place.engine.memory(),
                clocks: clocks.clone(),
                totals,
            }
        };
        parts.map(report).collect()
    }
}

/// One input.
#[derive(Debug, Clone, Serialize)]
pub struct InputReport {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// The shape that was run.
    pub shape: Shape,
    /// What it held, where it holds a shape and the profile said which.
    pub values: Option<Shape>,
}

/// How long runs and their parts took.
#[derive(Debug, Clone, Serialize)]
pub struct LatencyReport {
    /// From the moment a run was due to its end; in a closed loop the same as `run`.
    pub end_to_end: Distribution,
    /// The whole run, as its caller sees it.
    pub run: Distribution,
    /// Host to device copies.
    pub upload: Distribution,
    /// Execution.
    pub compute: Distribution,
    /// Device to host copies.
    pub download: Distribution,
}

/// What the times of many runs look like, in milliseconds. Percentiles are nearest-rank: the
/// smallest time that so many percent of all runs do not exceed.
#[derive(Debug, Clone, Copy, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Distribution {
    pub min_ms: f64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// The interquartile range: how far the middle half of the runs spreads.
    pub iqr_ms: f64,
    /// The same as a fraction of the median.
    pub spread: f64,
}

impl Distribution {
    fn of(runs: &[Vec<Run>], part: impl Fn(&Run) -> u64) -> Self {
        let times = Times::new(runs.iter().flatten().map(|run| Duration::from_nanos(part(run))));
        Self {
            min_ms: times.min(),
            mean_ms: times.mean(),
            p50_ms: times.percentile(50.0),
            p90_ms: times.percentile(90.0),
            p95_ms: times.percentile(95.0),
            p99_ms: times.percentile(99.0),
            max_ms: times.max(),
            iqr_ms: times.middle_half(),
            spread: times.spread(),
        }
    }
}

/// What the runs that count say all together.
#[derive(Debug, Clone, Serialize)]
pub struct Totals {
    /// Runs of all contexts.
    pub runs: usize,
    /// From the start of the first run to the end of the last.
    pub seconds: f64,
    /// Runs of all contexts a second.
    pub runs_per_second: f64,
    /// How long they took.
    pub latency: LatencyReport,
    /// Whether the middle half of the runs spreads so far that something else must have been
    /// running.
    pub noisy: bool,
}

impl Totals {
    /// How many samples a second that is.
    #[expect(clippy::cast_precision_loss, reason = "a batch size, far below 2^53")]
    pub(super) fn samples_per_second(&self, samples: usize) -> f64 {
        self.runs_per_second * samples as f64
    }

    /// Of the runs of every context.
    #[expect(clippy::cast_precision_loss, reason = "a count of runs, far below 2^53")]
    pub(super) fn of(runs: &[Vec<Run>]) -> Self {
        let all = || runs.iter().flatten();
        let started = all().map(|run| run.started).min().unwrap_or(0);
        let ended = all().map(|run| run.started.saturating_add(run.took)).max().unwrap_or(0);
        let seconds = Duration::from_nanos(ended - started).as_secs_f64();
        let count = all().count();
        let run = Distribution::of(runs, |run| run.took);
        Self {
            runs: count,
            seconds,
            runs_per_second: if seconds > 0.0 { count as f64 / seconds } else { 0.0 },
            noisy: run.spread > NOISY,
            latency: LatencyReport {
                end_to_end: Distribution::of(runs, Run::end_to_end),
                run,
                upload: Distribution::of(runs, |run| run.upload),
                compute: Distribution::of(runs, |run| run.compute),
                download: Distribution::of(runs, |run| run.download),
            },
        }
    }
}
