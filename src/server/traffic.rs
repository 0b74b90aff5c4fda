//! [`Traffic`]: how many requests are being answered, and how many may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts requests from their head to the end of their answer.
#[derive(Debug)]
pub(super) struct Traffic {
    limit: usize,
    open: AtomicUsize,
    finished: AtomicU64,
    refused: AtomicU64,
}

impl Traffic {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            open: AtomicUsize::new(0),
            finished: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Lets a request in; `None` where as many as may be are answered already.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Slot> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Slot(Arc::clone(self)))
    }

    /// Requests being answered.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Requests that were let in and ended.
    pub(super) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Requests that were not let in.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many requests may be answered at the same time.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }
}

/// The right to be answered; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Traffic>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.finished.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_beyond_the_limit_is_refused_until_another_ended() {
        let traffic = Arc::new(Traffic::new(1));
        let first = traffic.enter();
        assert!(first.is_some());
        assert!(traffic.enter().is_none());
        assert_eq!((traffic.open(), traffic.finished(), traffic.refused()), (1, 0, 1));
        drop(first);
        assert_eq!((traffic.open(), traffic.finished()), (0, 1));
        assert!(traffic.enter().is_some());
    }
}
