//! [`Connections`]: those of one listener: how many there may be, and which go first when there is
//! no room.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::state::{Order, State};

/// A connection that has waited for less is not taken for one that nobody uses.
const UNUSED_AFTER: Duration = Duration::from_secs(1);

/// Of a full house, one part in so many is asked to leave at once, so that looking for them costs
/// little for each that comes.
const SHARE: usize = 32;

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    open: Mutex<Open>,
    accepted: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    states: BTreeMap<u64, Arc<State>>,
    next: u64,
    order: Option<Order>,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            open: Mutex::default(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new connection in. A full house first asks those to leave that were unused for
    /// longest; `None` where all are in use.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Member> {
        let mut open = self.open();
        let over = open.states.len().checked_sub(self.limit);
        if over.is_some_and(|over| self.evict(&open) <= over) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let state = Arc::new(State::new());
        if let Some(order) = open.order {
            state.give(order);
        }
        let id = open.next;
        open.next += 1;
        open.states.insert(id, Arc::clone(&state));
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Some(Member { connections: Arc::clone(self), id, state })
    }

    /// Asks some of the longest unused connections to leave, unless some are about to.
    pub(super) fn make_room(&self) {
        self.evict(&self.open());
    }

    /// As [`Self::make_room`]; says how many are about to leave.
    fn evict(&self, open: &Open) -> usize {
        let leaving = open.states.values().filter(|state| state.order() == Order::Leave).count();
        if leaving > 0 {
            return leaving;
        }
        let now = Instant::now();
        let mut unused: Vec<(Instant, &Arc<State>)> = open
            .states
            .values()
            .filter_map(|state| Some((state.idle_since()?, state)))
            .filter(|(since, _)| now.saturating_duration_since(*since) >= UNUSED_AFTER)
            .collect();
        unused.sort_unstable_by_key(|(since, _)| *since);
        unused.truncate(self.limit.div_ceil(SHARE));
        for (_, state) in &unused {
            state.give(Order::Leave);
        }
        self.evicted.fetch_add(unused.len() as u64, Ordering::Relaxed);
        unused.len()
    }

    /// Tells every connection, and those still to come, what to do.
    pub(super) fn give(&self, order: Order) {
        let mut open = self.open();
        open.order = Some(order);
        for state in open.states.values() {
            state.give(order);
        }
    }

    /// How they came and went.
    pub(super) fn counts(&self) -> ConnectionCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ConnectionCounts {
            open: self.open().states.len(),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            evicted: read(&self.evicted),
        }
    }
}

/// How connections came and went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionCounts {
    /// Those there are.
    pub(super) open: usize,
    /// Those that were taken in.
    pub(super) accepted: u64,
    /// Those there was no room for.
    pub(super) refused: u64,
    /// Those that were unused and had to make room.
    pub(super) evicted: u64,
}

/// The place of one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Member {
    connections: Arc<Connections>,
    id: u64,
    state: Arc<State>,
}

impl Member {
    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.connections.open().states.remove(&self.id);
    }
}
