//! [`Histogram`]: durations counted in buckets that double every eight, and [`Distribution`], what
//! it held at one moment.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets per doubling: a duration is known to an eighth of itself.
const STEPS_LOG2: u32 = 3;
const STEPS: usize = 1 << STEPS_LOG2;
/// Durations below 2^6 ns share a bucket, as do those from 2^37 ns (137 s) on.
const LOWEST_LOG2: u32 = 6;
const DOUBLINGS: u32 = 31;
const BUCKETS: usize = 2 + DOUBLINGS as usize * STEPS;

/// Durations, counted by many threads without waiting.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Box<[AtomicU64]>,
    nanoseconds: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, nanoseconds: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts a duration `times` times.
    pub(super) fn record(&self, duration: Duration, times: u64) {
        let ns = nanoseconds(duration);
        self.buckets[bucket(ns)].fetch_add(times, Ordering::Relaxed);
        self.nanoseconds.fetch_add(ns.saturating_mul(times), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Distribution {
        Distribution {
            buckets: self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect(),
            nanoseconds: self.nanoseconds.load(Ordering::Relaxed),
        }
    }
}

/// A duration as a whole number of nanoseconds: those of 584 years fit.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn bucket(ns: u64) -> usize {
    let Some(log2) = ns.checked_ilog2().filter(|&log2| log2 >= LOWEST_LOG2) else { return 0 };
    let doubling = log2 - LOWEST_LOG2;
    if doubling >= DOUBLINGS {
        return BUCKETS - 1;
    }
    // From 8 to 15.
    let eighths = usize::try_from(ns >> (log2 - STEPS_LOG2)).unwrap_or(0);
    1 + doubling as usize * STEPS + eighths % STEPS
}

/// The smallest duration of a bucket, in nanoseconds; that of the one after it is past its end.
fn lower_end(bucket: usize) -> u64 {
    let Some(at) = bucket.checked_sub(1) else { return 0 };
    let (doubling, step) = (at / STEPS, at % STEPS);
    ((STEPS + step) as u64) << (doubling + (LOWEST_LOG2 - STEPS_LOG2) as usize)
}

/// How often durations of which length were counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    buckets: Box<[u64]>,
    nanoseconds: u64,
}

impl Distribution {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }

    /// The duration that the fraction `q` of them does not exceed, to an eighth of itself; `None`
    /// where there are none.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank that is off by one in 2^53 names the same bucket"
    )]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut below = 0;
        for (at, &held) in self.buckets.iter().enumerate() {
            if held > 0 && below + held >= rank {
                let (low, high) = (lower_end(at), lower_end(at + 1));
                let within = (high - low) as f64 * (rank - below) as f64 / held as f64;
                return Some(Duration::from_nanos(low + within as u64));
            }
            below += held;
        }
        None
    }

    /// How many are no longer than `limit`, to an eighth of it.
    pub fn at_most(&self, limit: Duration) -> u64 {
        let limit = nanoseconds(limit);
        // The last bucket has no end.
        let within = self.buckets.iter().take(BUCKETS - 1).enumerate();
        within.take_while(|(at, _)| lower_end(at + 1) - 1 <= limit).map(|(_, held)| held).sum()
    }

    /// How many lie between each of these ascending limits and the one before; the last number is
    /// of those beyond all.
    pub fn between(&self, limits: impl IntoIterator<Item = Duration>) -> Vec<u64> {
        let mut below = 0;
        let mut counts: Vec<u64> = limits
            .into_iter()
            .map(|limit| {
                let so_far = self.at_most(limit);
                let more = so_far.saturating_sub(below);
                below = so_far;
                more
            })
            .collect();
        counts.push(self.count().saturating_sub(below));
        counts
    }
}

impl Sub for &Distribution {
    type Output = Distribution;

    fn sub(self, earlier: &Distribution) -> Distribution {
        let buckets = self.buckets.iter().zip(&earlier.buckets);
        Distribution {
            buckets: buckets.map(|(now, then)| now.saturating_sub(*then)).collect(),
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_the_bucket_whose_ends_hold_it() {
        for log2 in 0..64 {
            for ns in [1_u64 << log2, (1 << log2) + 1, (1 << log2) - 1, (1 << log2) / 8 * 13] {
                let at = bucket(ns);
                assert!(lower_end(at) <= ns, "{ns} in {at}");
                assert!(at == BUCKETS - 1 || ns < lower_end(at + 1), "{ns} in {at}");
            }
        }
    }

    #[test]
    fn quantiles_are_right_to_an_eighth() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile(0.5), None);
        (1..=1000).for_each(|ms| histogram.record(Duration::from_millis(ms), 1));
        let read = histogram.read();
        assert_eq!((read.count(), read.total()), (1000, Duration::from_millis(500_500)));
        for (q, exact) in [(0.0, 0.001), (0.5, 0.5), (0.95, 0.95), (0.99, 0.99), (1.0, 1.0)] {
            let estimate = read.quantile(q).unwrap().as_secs_f64();
            assert!((estimate - exact).abs() <= exact / 8.0, "{q}: {estimate} for {exact}");
        }
        let within = read.at_most(Duration::from_millis(500));
        assert!((437..=500).contains(&within), "{within}");
        assert_eq!(read.at_most(Duration::from_secs(3)), 1000);
        let counts = read.between([Duration::from_millis(500), Duration::from_secs(3)]);
        assert_eq!(counts, [within, 1000 - within, 0]);
        assert_eq!(read.between([Duration::from_millis(500)]), [within, 1000 - within]);
    }

    #[test]
    fn the_difference_of_two_moments_holds_what_came_between() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_millis(1), 5);
        let before = histogram.read();
        histogram.record(Duration::from_secs(1), 3);
        let between = &histogram.read() - &before;
        assert_eq!((between.count(), between.total()), (3, Duration::from_secs(3)));
        assert!(between.quantile(0.01).unwrap() > Duration::from_millis(900));
    }
}
