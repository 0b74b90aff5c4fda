//! [`State`]: what one connection is doing, written where its bytes and requests pass and read by
//! whoever decides how long it may go on.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// What a connection was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    /// Go on.
    Serve,
    /// Answer what was asked and what is about to be, then close.
    Drain,
    /// Answer what was asked, then close.
    Leave,
    /// Close now.
    Abort,
}

/// One connection. Times are milliseconds after it was opened.
#[derive(Debug)]
pub(super) struct State {
    opened: Instant,
    requests: AtomicUsize,
    stalled: AtomicBool,
    unread: AtomicBool,
    idle_since: AtomicU64,
    head_since: AtomicU64,
    order: AtomicU8,
    changed: Notify,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            requests: AtomicUsize::new(0),
            stalled: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            order: AtomicU8::new(Order::Serve as u8),
            changed: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.opened + Duration::from_millis(milliseconds)
    }

    /// Bytes came.
    pub(super) fn received(&self) {
        if self.requests.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
        {
            self.head_since.store(self.now().max(1), Ordering::Relaxed);
        }
    }

    /// The head of a request is complete.
    pub(super) fn request_began(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.unread.store(false, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
    }

    /// Its answer was handed over, or there will be none.
    pub(super) fn request_ended(&self) {
        self.idle_since.store(self.now(), Ordering::Relaxed);
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the client has yet to take bytes that it was sent.
    pub(super) fn set_stalled(&self, stalled: bool) {
        if self.stalled.swap(stalled, Ordering::Relaxed) && !stalled {
            self.idle_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The body of the request was not wanted to its end.
    pub(super) fn set_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether the body of the last request was not wanted to its end.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Whether a request is being answered or an answer is being taken.
    pub(super) fn is_busy(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0 || self.stalled.load(Ordering::Relaxed)
    }

    /// Since when no request was answered; `None` while one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (!self.is_busy()).then(|| self.at(self.idle_since.load(Ordering::Relaxed)))
    }

    /// Since when the next request is waited for: its first byte, or the end of the one before.
    /// `None` while one is answered.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let idle = self.idle_since()?;
        match self.head_since.load(Ordering::Relaxed) {
            0 => Some(idle),
            head => Some(self.at(head)),
        }
    }

    /// Tells the connection what to do from now on. It never goes back to a milder order.
    pub(super) fn give(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// What it was told.
    pub(super) fn order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            0 => Order::Serve,
            1 => Order::Drain,
            2 => Order::Leave,
            _ => Order::Abort,
        }
    }

    /// Waits until it is told something.
    pub(super) async fn told(&self) -> Order {
        self.changed.notified().await;
        self.order()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_only_between_requests_and_with_nothing_left_to_send() {
        let state = State::new();
        assert!(state.idle_since().is_some());
        state.request_began();
        assert_eq!((state.idle_since(), state.waiting_since()), (None, None));
        state.set_stalled(true);
        state.request_ended();
        assert!(state.is_busy(), "the client still takes its answer");
        state.set_stalled(false);
        assert!(state.idle_since().is_some());
    }

    #[test]
    fn an_order_is_never_taken_back() {
        let state = State::new();
        state.give(Order::Leave);
        state.give(Order::Drain);
        assert_eq!(state.order(), Order::Leave);
        state.give(Order::Abort);
        assert_eq!(state.order(), Order::Abort);
    }
}
