//! [`Watch`]: when a connection must end that does not end by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Limits;
use super::state::{Order, State};

/// Part of the time to drain for which a connection without a request stays open: requests may be
/// on their way.
const LINGER: u32 = 60;

/// How long a connection that was asked to close may take to do it.
const GRACE: Duration = Duration::from_secs(5);

/// How a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// After what was asked is answered; the client is told.
    Gently,
    /// As it is.
    AtOnce,
}

/// Decides when one connection must end.
pub(super) struct Watch {
    state: Arc<State>,
    patience: Duration,
    linger: Duration,
    multiplexed: bool,
    draining: Option<Instant>,
    asked: Option<Instant>,
}

impl Watch {
    pub(super) fn new(state: Arc<State>, limits: &Limits) -> Self {
        Self {
            state,
            patience: limits.header_timeout,
            linger: limits.drain / LINGER,
            multiplexed: false,
            draining: None,
            asked: None,
        }
    }

    /// From now on it can be told to send no more requests without losing those on their way.
    pub(super) fn set_multiplexed(&mut self) {
        self.multiplexed = true;
    }

    /// Waits until the connection must end. Gently is said once; what follows is at once.
    pub(super) async fn end(&mut self) -> End {
        loop {
            let now = Instant::now();
            if let Some(end) = self.verdict(now) {
                if end == End::Gently {
                    self.asked = Some(now);
                }
                return end;
            }
            let due = self.due().unwrap_or(now + self.patience);
            tokio::select! {
                _ = self.state.told() => {}
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
    }

    /// Waits for something that takes no request yet; `None` where the connection must end first.
    pub(super) async fn within<F: Future>(&mut self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            _ = self.end() => None,
        }
    }

    fn verdict(&mut self, now: Instant) -> Option<End> {
        let order = self.state.order();
        if order == Order::Drain {
            self.draining.get_or_insert(now);
        }
        let asked = self.asked.is_some();
        if order == Order::Abort || (asked && self.due()? <= now) {
            return Some(End::AtOnce);
        }
        let leave = order == Order::Leave || (order == Order::Drain && self.multiplexed);
        (!asked && (leave || self.due()? <= now)).then_some(End::Gently)
    }

    /// When its patience is at an end; `None` while it is busy.
    fn due(&self) -> Option<Instant> {
        let waiting = self.state.waiting_since()?;
        Some(match (self.asked, self.draining) {
            (Some(asked), _) => waiting.max(asked) + GRACE.min(self.patience),
            (None, Some(draining)) => {
                (waiting.max(draining) + self.linger).min(waiting + self.patience)
            }
            (None, None) => waiting + self.patience,
        })
    }
}
