//! What serving costs: the same engine in this process, measured in turns with its server.

use std::time::Duration;

use serde::Serialize;

use crate::process::CancelToken;
use crate::progress::NoProgress;

use super::drive::{Load, Warmup};
use super::engine_loop::EngineLoop;
use super::traffic::Percentiles;
use super::{BenchError, Totals};

/// What one round of the engine came to.
pub(super) struct EngineRound {
    totals: Totals,
    samples: Option<usize>,
}

impl EngineLoop {
    pub(super) fn round(
        &mut self,
        duration: Duration,
        cancel: &CancelToken,
    ) -> Result<EngineRound, BenchError> {
        let warmup = Warmup::Runs(10);
        let load = Load { warmup, runs: usize::MAX, duration, schedule: None };
        let turn = self.turn(load, &NoProgress, cancel)?;
        Ok(EngineRound { totals: Totals::of(&turn.runs), samples: self.feed.samples() })
    }
}

/// The middle of some rounds, and how far they spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = values[values.len() / 2];
        let lower = values[(values.len() - 1) / 2];
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }

    /// How far apart the rounds are, as a fraction of their median.
    pub fn relative(&self) -> f64 {
        if self.median > 0.0 { (self.max - self.min) / self.median } else { 0.0 }
    }
}

/// What serving costs over the engine in this process. Of each value, the rounds' median with the
/// smallest and the largest; times in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Overhead {
    /// Contexts of the engine that ran at the same time.
    pub contexts: usize,
    /// Median latency of the served.
    pub served_p50_ms: Spread,
    /// Median latency of the engine alone.
    pub engine_p50_ms: Spread,
    /// The difference, round by round.
    pub overhead_p50_ms: Spread,
    /// Samples a second of the served, or requests where samples cannot be counted.
    pub served_per_second: Spread,
    /// Those of the engine alone.
    pub engine_per_second: Spread,
    /// Served as a fraction of the engine alone, round by round.
    pub throughput_ratio: Spread,
    /// Median copies to the device of the engine alone.
    pub engine_upload_ms: Spread,
    /// Median execution of the engine alone.
    pub engine_compute_ms: Spread,
    /// Median copies from the device of the engine alone.
    pub engine_download_ms: Spread,
}

/// The rounds of one pace.
#[derive(Default)]
pub(super) struct Rounds {
    count: usize,
    /// Those in which both gave answers.
    both: Vec<Both>,
}

struct Both {
    served_p50: f64,
    /// Samples a second, or requests where samples cannot be counted.
    served: f64,
    alone: f64,
    engine: Totals,
}

impl Rounds {
    #[expect(clippy::cast_precision_loss, reason = "batch sizes, far below 2^53")]
    pub(super) fn add(
        &mut self,
        served: Option<Percentiles>,
        requests_per_second: f64,
        samples: Option<usize>,
        engine: Option<EngineRound>,
    ) {
        self.count += 1;
        let (Some(served), Some(EngineRound { totals, samples: alone })) = (served, engine) else {
            return;
        };
        if totals.runs == 0 {
            return;
        }
        let (ours, theirs) = samples.zip(alone).unwrap_or((1, 1));
        self.both.push(Both {
            served_p50: served.p50_ms,
            served: requests_per_second * ours as f64,
            alone: totals.runs_per_second * theirs as f64,
            engine: totals,
        });
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The comparison; `None` where there is nothing to compare.
    pub(super) fn overhead(&self, engine: &EngineLoop) -> Option<Overhead> {
        let over = |value: fn(&Both) -> f64| Spread::of(self.both.iter().map(value));
        Some(Overhead {
            contexts: engine.contexts.len(),
            served_p50_ms: over(|round| round.served_p50)?,
            engine_p50_ms: over(|round| round.engine.latency.run.p50_ms)?,
            overhead_p50_ms: over(|round| round.served_p50 - round.engine.latency.run.p50_ms)?,
            served_per_second: over(|round| round.served)?,
            engine_per_second: over(|round| round.alone)?,
            throughput_ratio: over(|round| round.served / round.alone)?,
            engine_upload_ms: over(|round| round.engine.latency.upload.p50_ms)?,
            engine_compute_ms: over(|round| round.engine.latency.compute.p50_ms)?,
            engine_download_ms: over(|round| round.engine.latency.download.p50_ms)?,
        })
    }
}
