//! [`Statistics`]: what happened to the requests of one model version, counted by many threads
//! without waiting.
//!
//! Owns the counters and their arithmetic. Knows nothing of metrics formats or protocols.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mod histogram;
mod snapshot;

pub use histogram::Distribution;
pub use snapshot::{BatchTotals, Snapshot, Total, Window};

use histogram::{Histogram, nanoseconds};

use super::{ErrorKind, PhaseTimes};

const PHASES: usize = Phase::ALL.len();

/// A part of the life of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Reading the request; the server tells.
    Parse,
    /// Waiting for its batch.
    Queue,
    /// Being copied into the batch and to the device.
    Upload,
    /// Execution.
    Compute,
    /// Being copied from the device and out of the batch.
    Download,
    /// Writing the answer; the server tells.
    Encode,
    /// From submission to answer: all but reading and writing.
    Total,
}

impl Phase {
    /// All of them, in the order of a request's life.
    pub const ALL: [Self; 7] = [
        Self::Parse,
        Self::Queue,
        Self::Upload,
        Self::Compute,
        Self::Download,
        Self::Encode,
        Self::Total,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Queue => "queue",
            Self::Upload => "upload",
            Self::Compute => "compute",
            Self::Download => "download",
            Self::Encode => "encode",
            Self::Total => "total",
        }
    }
}

/// Batch sizes up to this one are counted one by one.
const MOST_EXACT: usize = 1024;

#[derive(Debug, Default)]
struct Timed {
    count: AtomicU64,
    ns: AtomicU64,
}

#[derive(Debug, Default)]
struct BatchCounters {
    executions: AtomicU64,
    upload: AtomicU64,
    compute: AtomicU64,
    download: AtomicU64,
}

/// Counters of one model version.
#[derive(Debug)]
pub struct Statistics {
    phases: [Histogram; PHASES],
    failures: [Timed; ErrorKind::ALL.len()],
    inferences: AtomicU64,
    in_flight: AtomicU64,
    copied_in: AtomicU64,
    copied_out: AtomicU64,
    /// Milliseconds since 1970; 0 for never.
    last_request: AtomicU64,
    /// By size: those up to `exact`, then a power of two each.
    batches: Box<[BatchCounters]>,
    exact: usize,
}

impl Default for Statistics {
    fn default() -> Self {
        Self::new(1)
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

impl Statistics {
    /// Counters of a model whose largest batch is this, as far as one is known.
    pub fn new(largest_batch: usize) -> Self {
        let exact = largest_batch.clamp(1, MOST_EXACT);
        let rounded = (exact.ilog2() + 1..usize::BITS).count();
        Self {
            phases: std::array::from_fn(|_| Histogram::default()),
            failures: std::array::from_fn(|_| Timed::default()),
            inferences: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            copied_in: AtomicU64::new(0),
            copied_out: AtomicU64::new(0),
            last_request: AtomicU64::new(0),
            batches: (0..=exact + rounded).map(|_| BatchCounters::default()).collect(),
            exact,
        }
    }

    /// A request spent so long in a phase. The server tells of those that the runtime does not
    /// see: [`Phase::Parse`] and [`Phase::Encode`].
    pub fn spent(&self, phase: Phase, duration: Duration) {
        self.phases[phase as usize].record(duration, 1);
    }

    /// A request came and got an error, `after` so long. The runtime counts those that were
    /// submitted; the server those that it refused before.
    pub fn failed(&self, kind: ErrorKind, after: Duration) {
        let failures = &self.failures[kind as usize];
        add(&failures.count, 1);
        add(&failures.ns, nanoseconds(after));
    }

    /// A request was taken.
    pub(super) fn taken(&self) {
        add(&self.in_flight, 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.last_request.store(now, Ordering::Relaxed);
    }

    /// A taken request is over, whether it was answered or not.
    pub(super) fn ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request was answered, so long after it was submitted.
    pub(super) fn answered(&self, queue: Duration, total: Duration) {
        self.spent(Phase::Queue, queue);
        self.spent(Phase::Total, total);
    }

    /// A batch of so many requests and samples ran. `times.queue` means nothing here.
    pub(super) fn executed(&self, requests: u64, samples: usize, times: &PhaseTimes) {
        self.phases[Phase::Upload as usize].record(times.upload, requests);
        self.phases[Phase::Compute as usize].record(times.compute, requests);
        self.phases[Phase::Download as usize].record(times.download, requests);
        add(&self.inferences, samples as u64);
        let batch = &self.batches[self.batch_at(samples)];
        add(&batch.executions, 1);
        add(&batch.upload, nanoseconds(times.upload));
        add(&batch.compute, nanoseconds(times.compute));
        add(&batch.download, nanoseconds(times.download));
    }

    /// So many bytes were copied into a batch and out of it.
    pub(super) fn copied(&self, into: u64, out: u64) {
        add(&self.copied_in, into);
        add(&self.copied_out, out);
    }

    fn batch_at(&self, samples: usize) -> usize {
        if samples <= self.exact {
            return samples;
        }
        let log2 = samples.checked_next_power_of_two().map_or(usize::BITS, usize::ilog2);
        let at = self.exact + (log2 - self.exact.ilog2()) as usize;
        at.min(self.batches.len() - 1)
    }

    fn batch_size(&self, at: usize) -> usize {
        match at.checked_sub(self.exact) {
            None | Some(0) => at,
            Some(past) => {
                let log2 = self.exact.ilog2() + u32::try_from(past).unwrap_or(usize::BITS);
                1_usize.checked_shl(log2).unwrap_or(usize::MAX)
            }
        }
    }

    /// Everything as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let batches: Vec<BatchTotals> = self
            .batches
            .iter()
            .enumerate()
            .map(|(at, batch)| BatchTotals {
                size: self.batch_size(at),
                executions: read(&batch.executions),
                upload_ns: read(&batch.upload),
                compute_ns: read(&batch.compute),
                download_ns: read(&batch.download),
            })
            .filter(|batch| batch.executions > 0)
            .collect();
        let last_request = match read(&self.last_request) {
            0 => None,
            ms => UNIX_EPOCH.checked_add(Duration::from_millis(ms)),
        };
        Snapshot {
            at: Instant::now(),
            phases: std::array::from_fn(|at| self.phases[at].read()),
            failures: std::array::from_fn(|at| {
                let failures = &self.failures[at];
                Total { count: read(&failures.count), ns: read(&failures.ns) }
            }),
            executions: batches.iter().map(|batch| batch.executions).sum(),
            inferences: read(&self.inferences),
            in_flight: read(&self.in_flight),
            copied_in: read(&self.copied_in),
            copied_out: read(&self.copied_out),
            last_request,
            batches,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_and_kinds_stand_at_their_own_places() {
        for (at, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, at);
        }
        for (at, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }

    #[test]
    fn every_batch_size_is_counted_at_a_size_that_is_no_smaller() {
        for largest in [1, 2, 3, 8, 100, 1024, 1 << 40] {
            let statistics = Statistics::new(largest);
            for size in [1, 2, 3, 5, 8, 9, 16, 17, 100, 128, 129, 1024, 1025, 1 << 62] {
                let counted = statistics.batch_size(statistics.batch_at(size));
                assert!((size..size * 2).contains(&counted), "{size} of {largest}: {counted}");
                assert!(counted == size || size > largest.min(MOST_EXACT), "{size} of {largest}");
            }
            assert!(statistics.batch_at(usize::MAX) < statistics.batches.len());
        }
    }

    #[test]
    fn a_window_tells_what_happened_in_it() {
        let statistics = Statistics::new(8);
        let ms = Duration::from_millis;
        statistics.answered(ms(1), ms(900));
        let before = statistics.snapshot();
        (0..98).for_each(|_| statistics.answered(ms(1), ms(2)));
        statistics.failed(ErrorKind::Internal, ms(3));
        statistics.failed(ErrorKind::DeadlineExceeded, ms(3));
        statistics.failed(ErrorKind::Overloaded, ms(0));
        statistics.failed(ErrorKind::Invalid, ms(0));
        statistics.failed(ErrorKind::Cancelled, ms(0));
        let after = statistics.snapshot();
        let window = &after - &before;
        assert_eq!((window.requests, window.failed, window.refused), (100, 2, 1));
        assert!((window.error_rate() - 0.02).abs() < 1e-9);
        assert!(window.p99().unwrap() < ms(3), "{window:?}");
        assert_eq!(after.failed_in_all(), Total { count: 5, ns: 6_000_000 });
        assert_eq!(after.succeeded().count, 99);
        assert_eq!((&after - &after).p99(), None);
    }

    #[test]
    fn batches_are_told_by_size() {
        let statistics = Statistics::new(4);
        let us = Duration::from_micros;
        let times = |compute| PhaseTimes { compute, upload: us(1), ..PhaseTimes::default() };
        statistics.executed(3, 3, &times(us(5)));
        statistics.executed(3, 3, &times(us(7)));
        statistics.executed(1, 6, &times(us(9)));
        let snapshot = statistics.snapshot();
        let told: Vec<_> =
            snapshot.batches.iter().map(|b| (b.size, b.executions, b.compute_ns)).collect();
        assert_eq!(told, [(3, 2, 12_000), (8, 1, 9_000)]);
        assert_eq!((snapshot.executions, snapshot.inferences), (3, 12));
        assert_eq!(snapshot.phase(Phase::Compute).count(), 7);
    }
}
