//! [`Reach`]: how large a batch may be that is over soon.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a batch may take whose size is within reach.
#[derive(Debug)]
pub(super) struct Reach {
    soon: Duration,
    /// Size of the largest batch that was over soon; 0 for none.
    largest: AtomicUsize,
}

impl Reach {
    pub(super) fn new(soon: Duration) -> Self {
        Self { soon, largest: AtomicUsize::new(0) }
    }

    /// A batch of this size took so long. One that was too long halves what is within reach, so
    /// that the next one of its size is not; one that was not brings it back.
    pub(super) fn note(&self, size: usize, took: Duration) {
        if took <= self.soon {
            self.largest.fetch_max(size, Ordering::Relaxed);
        } else {
            self.largest.fetch_min(size / 2, Ordering::Relaxed);
        }
    }

    /// Whether a batch of this size is likely to be over soon: it may be half as large again as
    /// any that was.
    pub(super) fn holds(&self, size: usize) -> bool {
        let largest = self.largest.load(Ordering::Relaxed);
        size <= largest.saturating_add(largest / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(100);
    const LATE: Duration = Duration::from_micros(101);

    #[test]
    fn nothing_is_within_reach_before_something_was_over_soon() {
        let reach = Reach::new(SOON);
        assert!(!reach.holds(1));
        reach.note(1, LATE);
        assert!(!reach.holds(1));
        reach.note(64, SOON);
        assert!(reach.holds(1) && reach.holds(64) && reach.holds(96) && !reach.holds(97));
    }

    #[test]
    fn a_size_that_took_long_is_out_of_reach_until_it_was_over_soon_again() {
        let reach = Reach::new(SOON);
        for size in [1, 2, 3, 64, usize::MAX] {
            reach.note(size, SOON);
            assert!(reach.holds(size));
            reach.note(size, LATE);
            assert!(!reach.holds(size), "{size}");
        }
        let reach = Reach::new(SOON);
        for took in [SOON, LATE, SOON] {
            reach.note(64, took);
        }
        assert!(reach.holds(64) && !reach.holds(128));
    }
}
