//! [`Snapshot`]: what was counted until one moment, and [`Window`]: what was between two.

use std::ops::Sub;
use std::time::{Duration, Instant, SystemTime};

use crate::runtime::ErrorKind;

use super::histogram::Distribution;
use super::{PHASES, Phase};

/// How often something happened and how long it took altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// How often.
    pub count: u64,
    /// How long, in nanoseconds.
    pub ns: u64,
}

/// The batches of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchTotals {
    /// Samples of the requests in the batch: exact up to the model's largest batch (1024 at most),
    /// past it rounded up to a power of two.
    pub size: usize,
    /// How many such batches ran.
    pub executions: u64,
    /// Time of their uploads, in nanoseconds.
    pub upload_ns: u64,
    /// Time of their executions, in nanoseconds.
    pub compute_ns: u64,
    /// Time of their downloads, in nanoseconds.
    pub download_ns: u64,
}

/// What was counted of a model version until one moment. Threads go on counting while it is read,
/// so sums may differ by requests that ended just then.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was read.
    pub at: Instant,
    pub(super) phases: [Distribution; PHASES],
    pub(super) failures: [Total; ErrorKind::ALL.len()],
    /// Runs of an engine, of any number of requests each.
    pub executions: u64,
    /// Samples that were answered.
    pub inferences: u64,
    /// Requests that were taken and are not answered yet.
    pub in_flight: u64,
    /// Bytes copied from requests into batches.
    pub copied_in: u64,
    /// Bytes copied from batches into answers.
    pub copied_out: u64,
    /// When a request last came.
    pub last_request: Option<SystemTime>,
    /// Every batch size that ran, ascending.
    pub batches: Vec<BatchTotals>,
}

impl Snapshot {
    /// Durations of a phase, one per request that had it. [`Phase::Total`] holds the answered
    /// requests alone.
    pub fn phase(&self, phase: Phase) -> &Distribution {
        &self.phases[phase as usize]
    }

    /// Requests that were answered, and the time from their submission to their answer.
    pub fn succeeded(&self) -> Total {
        let total = self.phase(Phase::Total);
        let ns = u64::try_from(total.total().as_nanos()).unwrap_or(u64::MAX);
        Total { count: total.count(), ns }
    }

    /// Requests that got an error of this kind, and the time until then.
    pub fn failed(&self, kind: ErrorKind) -> Total {
        self.failures[kind as usize]
    }

    /// Requests that got an error of any kind.
    pub fn failed_in_all(&self) -> Total {
        self.failures.iter().fold(Total::default(), |sum, kind| Total {
            count: sum.count + kind.count,
            ns: sum.ns.saturating_add(kind.ns),
        })
    }
}

/// What happened to the requests of a model version between two moments.
#[derive(Debug, Clone)]
pub struct Window {
    /// How long it is.
    pub took: Duration,
    /// Requests that the model answered or failed; the latter are in `failed` as well.
    pub requests: u64,
    /// Requests whose engine failed, or did not get to them in time.
    pub failed: u64,
    /// Requests that were refused because too many waited or the model took none.
    pub refused: u64,
    phases: [Distribution; PHASES],
}

impl Window {
    /// The fraction of requests that failed; 0 where there were none.
    #[expect(clippy::cast_precision_loss, reason = "a fraction of two counts")]
    pub fn error_rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.failed as f64 / self.requests as f64 }
    }

    /// Durations of a phase.
    pub fn phase(&self, phase: Phase) -> &Distribution {
        &self.phases[phase as usize]
    }

    /// The 99th percentile of the time from submission to answer; `None` without answers.
    pub fn p99(&self) -> Option<Duration> {
        self.phase(Phase::Total).quantile(0.99)
    }
}

impl Sub for &Snapshot {
    type Output = Window;

    fn sub(self, earlier: &Snapshot) -> Window {
        let phases = std::array::from_fn(|at| &self.phases[at] - &earlier.phases[at]);
        let count = |kind| self.failed(kind).count.saturating_sub(earlier.failed(kind).count);
        let failed = count(ErrorKind::Internal) + count(ErrorKind::DeadlineExceeded);
        let refused = count(ErrorKind::Overloaded) + count(ErrorKind::Unavailable);
        let took = self.at.saturating_duration_since(earlier.at);
        let requests = phases[Phase::Total as usize].count() + failed;
        Window { took, requests, failed, refused, phases }
    }
}
