//! [`Latencies`]: times in a histogram of bounded size, and their [`Percentiles`].

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Digits that histograms keep: 0.1 %.
const DIGITS: u8 = 3;

/// Times in nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new(DIGITS);
        Self(histogram.unwrap_or_else(|_| unreachable!("5 digits are allowed at most")))
    }
}

impl Latencies {
    pub(super) fn record(&mut self, time: Duration) {
        let recorded = self.0.record(nanoseconds(time));
        debug_assert!(recorded.is_ok(), "it grows as needed");
    }

    pub(super) fn add(&mut self, other: &Self) {
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok(), "both grow as needed");
    }

    /// These, and for each longer than `interval` those of the requests that were not made while
    /// it was waited for.
    pub(super) fn corrected(&self, interval: Duration) -> Self {
        Self(self.0.clone_correct(nanoseconds(interval)))
    }

    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let at = |quantile| milliseconds(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            min_ms: milliseconds(self.0.min()),
            mean_ms: self.0.mean() / 1e6,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: milliseconds(self.0.max()),
        })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are kept")]
fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// What the times of many requests look like, to 0.1 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub count: u64,
    pub min_ms: f64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn is(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-3, "{found} for {expected}");
    }

    #[test]
    fn a_long_time_is_corrected_by_those_that_would_have_waited_for_it() {
        let mut latencies = Latencies::default();
        for _ in 0..99 {
            latencies.record(MS);
        }
        latencies.record(101 * MS);
        let raw = latencies.percentiles().unwrap();
        is(raw.p99_ms, 1.0);
        // One request due every ms: 100 more would have waited 100 ms, 99 ms .. 1 ms.
        let corrected = latencies.corrected(MS).percentiles().unwrap();
        assert_eq!((raw.count, corrected.count), (100, 200));
        is(corrected.p90_ms, 81.0);
        is(corrected.max_ms, 101.0);
    }

    #[test]
    fn times_from_a_nanosecond_to_a_day_are_kept_to_three_digits() {
        let mut latencies = Latencies::default();
        assert!(latencies.percentiles().is_none());
        for time in [Duration::from_nanos(1), Duration::from_hours(24)] {
            latencies.record(time);
        }
        let found = latencies.percentiles().unwrap();
        is(found.min_ms, 1e-6);
        is(found.max_ms, 86_400_000.0);
    }
}
