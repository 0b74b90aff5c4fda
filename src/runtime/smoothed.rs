//! [`Smoothed`]: a duration that many threads measure, averaged over the last few.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The weight of a new measurement is one in so many.
const LAST: u64 = 8;

/// An exponential moving average of durations.
#[derive(Default)]
pub(super) struct Smoothed {
    /// Nanoseconds; 0 for none yet.
    ns: AtomicU64,
}

impl Smoothed {
    pub(super) fn note(&self, took: Duration) {
        let now = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let before = self.ns.load(Ordering::Relaxed);
        // Threads that meet here may lose a measurement; the next ones make up for it.
        let after = if before == 0 { now } else { before - before / LAST + now / LAST };
        self.ns.store(after.max(1), Ordering::Relaxed);
    }

    /// `None` before the first measurement.
    pub(super) fn get(&self) -> Option<Duration> {
        let ns = self.ns.load(Ordering::Relaxed);
        (ns > 0).then(|| Duration::from_nanos(ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_with_the_first_measurement_and_follows_the_next_ones() {
        let smoothed = Smoothed::default();
        assert_eq!(smoothed.get(), None);
        smoothed.note(Duration::from_micros(80));
        assert_eq!(smoothed.get(), Some(Duration::from_micros(80)));
        smoothed.note(Duration::from_micros(160));
        assert_eq!(smoothed.get(), Some(Duration::from_micros(90)));
        (0..200).for_each(|_| smoothed.note(Duration::ZERO));
        assert!(smoothed.get().unwrap() < Duration::from_nanos(10));
        smoothed.note(Duration::MAX);
        assert!(smoothed.get().unwrap() > Duration::from_hours(24));
    }
}
