//! [`LevelReport`]: what one pace came to, for people and programs.

use serde::Serialize;

use crate::bench::endpoint::Counters;
use crate::bench::overhead::Overhead;

use super::check::CheckReport;
use super::latencies::Percentiles;
use super::pace::Pace;
use super::record::{Class, Count, Recorder};

/// What one pace came to. Times are in milliseconds, absent values `null`.
#[derive(Debug, Clone, Serialize)]
pub struct LevelReport {
    /// When requests were made.
    #[serde(flatten)]
    pub pace: PaceReport,
    /// Measurements that are added up.
    pub rounds: usize,
    /// From their starts to their last endings.
    pub seconds: f64,
    /// Requests that ended.
    pub requests: u64,
    /// With an answer.
    pub answered: u64,
    /// Because too many waited (HTTP 429 and 503, gRPC `RESOURCE_EXHAUSTED` and `UNAVAILABLE`).
    pub refused: u64,
    /// In any other way.
    pub failed: u64,
    /// Requests of an open loop that were due but not made before the end.
    pub unsent: u64,
    /// Requests answered a second.
    pub requests_per_second: f64,
    /// Their samples, where axis 0 of every input counts the same.
    pub samples_per_second: Option<f64>,
    /// Of the answered: in an open loop from when each was due, else from when it was made.
    pub latency: Option<Percentiles>,
    /// In an open loop, of the answered: from when each was made.
    pub service: Option<Percentiles>,
    /// In a closed loop with an expected interval: with the requests that were not made while
    /// others took longer.
    pub corrected: Option<Percentiles>,
    /// In an open loop: how much later than due requests were made.
    pub late: Option<Percentiles>,
    /// Of the refused, from when each was made.
    pub refusals: Option<Percentiles>,
    /// The parts of the answered, as far as they are known here.
    pub parts: Vec<Part>,
    /// What else than answers came, by kind.
    pub endings: Vec<Count>,
    /// What the server counted meanwhile.
    pub server: Option<ServerReport>,
    /// Whether answers were right.
    pub check: Option<CheckReport>,
    /// What serving costs over the engine in this process.
    pub overhead: Option<Overhead>,
    /// Whether it was told to stop early.
    pub interrupted: bool,
}

/// When requests were made.
#[derive(Debug, Clone, Serialize)]
pub struct PaceReport {
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    pub kind: &'static str,
    /// Most requests at a time.
    pub concurrency: usize,
    /// Requests a second of an open loop.
    pub rate: Option<f64>,
    /// How far apart they are: `poisson` or `constant`.
    pub arrivals: Option<&'static str>,
}

impl From<Pace> for PaceReport {
    fn from(pace: Pace) -> Self {
        let concurrency = pace.concurrency().get();
        match pace {
            Pace::Closed { .. } => Self { kind: "closed", concurrency, rate: None, arrivals: None },
            Pace::Open { rate, gaps, .. } => {
                let arrivals = Some(gaps.name());
                Self { kind: "open", concurrency, rate: Some(rate), arrivals }
            }
        }
    }
}

/// One part of requests.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// `connect`, `send`, `wait`, `receive`; in process `queue`, `upload`, `compute`, `download`.
    pub name: &'static str,
    /// How long it took.
    #[serde(flatten)]
    pub times: Percentiles,
}

/// What a server counted while it was measured.
#[derive(Debug, Clone, Serialize)]
pub struct ServerReport {
    /// Samples of a batch, on average.
    pub mean_batch: Option<f64>,
    /// The parts of requests by their names in the protocol.
    pub phases: Vec<PhaseReport>,
}

/// One part of requests, as the server counted it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseReport {
    /// Its name in the protocol.
    pub name: String,
    /// How often.
    pub count: u64,
    /// How long on average.
    pub mean_ms: f64,
}

/// The order of phases; others follow.
const PHASES: [&str; 4] = ["queue", "compute_input", "compute_infer", "compute_output"];

impl From<&Counters> for ServerReport {
    fn from(counters: &Counters) -> Self {
        let phase = |(name, counter): (&String, &crate::bench::endpoint::Counter)| {
            let mean_ms = counter.mean()?.as_secs_f64() * 1e3;
            Some(PhaseReport { name: name.clone(), count: counter.count, mean_ms })
        };
        let mut phases: Vec<PhaseReport> = counters.phases.iter().filter_map(phase).collect();
        let place = |name: &str| PHASES.iter().position(|known| *known == name);
        phases.sort_by_key(|phase| place(&phase.name).unwrap_or(PHASES.len()));
        Self { mean_batch: counters.mean_batch(), phases }
    }
}

/// What was measured beside the requests themselves.
pub(super) struct Beside {
    pub(super) rounds: usize,
    pub(super) samples: Option<usize>,
    pub(super) expected_interval: Option<std::time::Duration>,
    pub(super) server: Option<Counters>,
    pub(super) check: Option<CheckReport>,
    pub(super) overhead: Option<Overhead>,
    pub(super) interrupted: bool,
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(super) fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

impl LevelReport {
    #[expect(clippy::cast_precision_loss, reason = "a batch size, far below 2^53")]
    pub(super) fn new(pace: Pace, recorder: &Recorder, beside: Beside) -> Self {
        let seconds = recorder.time.as_secs_f64();
        let answered = recorder.count(Class::Answered);
        let (refused, failed) = (recorder.count(Class::Refused), recorder.count(Class::Failed));
        let requests_per_second = per_second(answered, seconds);
        let is_open = matches!(pace, Pace::Open { .. });
        let interval = beside.expected_interval.filter(|_| !is_open);
        Self {
            pace: pace.into(),
            rounds: beside.rounds,
            seconds,
            requests: answered + refused + failed,
            answered,
            refused,
            failed,
            unsent: recorder.unsent,
            requests_per_second,
            samples_per_second: beside.samples.map(|samples| requests_per_second * samples as f64),
            latency: recorder.latency.percentiles(),
            service: recorder.service.percentiles().filter(|_| is_open),
            corrected: interval
                .and_then(|interval| recorder.latency.corrected(interval).percentiles()),
            late: recorder.late.percentiles().filter(|_| is_open),
            refusals: recorder.refused.percentiles(),
            parts: recorder.parts().map(|(name, times)| Part { name, times }).collect(),
            endings: recorder.other_endings(),
            server: beside.server.as_ref().map(ServerReport::from),
            check: beside.check,
            overhead: beside.overhead,
            interrupted: beside.interrupted,
        }
    }

    /// Whether no request failed and no answer was wrong.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.check.as_ref().is_none_or(CheckReport::all_right)
    }
}
