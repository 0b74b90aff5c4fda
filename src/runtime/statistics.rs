//! [`Statistics`]: what happened to the requests of one model version.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::PhaseTimes;

/// Counters of one model version; written by many threads without waiting.
#[derive(Debug, Default)]
pub struct Statistics {
    answered: AtomicU64,
    failed: AtomicU64,
    queue_ns: AtomicU64,
    compute_ns: AtomicU64,
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Statistics {
    /// A request was answered.
    pub fn answered(&self, times: &PhaseTimes) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.queue_ns.fetch_add(nanoseconds(times.queue), Ordering::Relaxed);
        self.compute_ns.fetch_add(nanoseconds(times.compute), Ordering::Relaxed);
    }

    /// A request was not answered.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests answered so far.
    pub fn answered_count(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Requests not answered so far.
    pub fn failed_count(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}
