//! Changing the version of a model under load: what a deployment has to pass before requests reach
//! it, and what takes it back afterwards.
//!
//! An `attempt` goes through the steps: `interface`, `admission` (of `memory`), `load`, `shadow`
//! (with what `samples` kept), taking over; then `watch`. Knows nothing of how requests are queued
//! and joined.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::slot::Slot;
use super::{DeviceLoss, Model};

mod admission;
mod attempt;
mod change;
mod error;
mod interface;
mod load;
mod memory;
mod record;
mod samples;
mod shadow;
mod tasks;
#[cfg(test)]
mod tests;
mod watch;

pub use error::ReloadError;
pub use record::{Gate, Outcome, ReloadRecord};
pub use samples::Samples;

pub(super) use admission::Budget;
pub(super) use attempt::Goal;
pub(super) use change::{change, to_standby};
pub(super) use memory::{Memory, System};
pub(super) use record::History;
pub(super) use tasks::Tasks;
pub(super) use watch::Watch;

/// How often it is looked whether requests still use a model that takes no new ones.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(20);

/// How long to wait for requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For those of a model that is taken out of service to end.
    pub(super) drain: Duration,
    /// For those of the shadow check to be answered by one version.
    pub(super) answers: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { drain: Duration::from_secs(30), answers: Duration::from_mins(1) }
    }
}

/// What all models of a registry share.
pub(super) struct Shared {
    pub(super) history: History,
    pub(super) tasks: Arc<Tasks>,
    pub(super) budget: Budget,
    pub(super) patience: Patience,
    /// Devices that models lose.
    pub(super) losses: broadcast::Sender<DeviceLoss>,
    pub(super) closed: AtomicBool,
}

impl Shared {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Unloads a model that takes no new requests, on a thread of its own, once its last request
    /// is answered: no request ever waits for an engine to be freed.
    pub(super) fn retire(&self, slot: &Arc<Slot>, model: Arc<Model>) {
        slot.update(|state| state.draining += 1);
        let draining = Draining(Arc::clone(slot));
        let name = format!("unload-{}-{}", slot.name, model.version());
        let started = self.tasks.start(name, move || {
            wait_unused(&model, None);
            model.drain(Duration::MAX);
            drop(model);
            drop(draining);
        });
        if let Err(error) = started {
            // The model went with the closure: whoever uses it last unloads it.
            tracing::warn!("no thread to unload model `{}` could be started: {error}", slot.name);
        }
    }
}

/// Counts as draining until dropped.
struct Draining(Arc<Slot>);

impl Drop for Draining {
    fn drop(&mut self) {
        self.0.update(|state| state.draining -= 1);
    }
}

/// Waits until nobody but the caller has the model and all its requests are answered; says whether
/// that came about in time. Until then it can be put back into service.
fn wait_unused(model: &Arc<Model>, limit: Option<Duration>) -> bool {
    let started = Instant::now();
    let mut pause = SHORTEST_LOOK;
    // Whoever still waits for an answer need not have the model.
    while Arc::strong_count(model) > 1 || model.statistics().snapshot().in_flight > 0 {
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_LOOK);
    }
    true
}
