//! TensorRT's progress as ours.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::progress::Progress;

use super::super::handle::Watcher;

/// At most this often is progress reported: a build has thousands of steps.
const INTERVAL: Duration = Duration::from_millis(50);

/// Reports the innermost phase that a build is in.
pub(super) struct Watch {
    progress: Arc<dyn Progress + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The phases that are under way, outermost first, with their steps.
    phases: Vec<(String, u64)>,
    reported: Option<Instant>,
}

impl Watch {
    pub(super) fn new(progress: Arc<dyn Progress + Send + Sync>) -> Self {
        Self { progress, state: Mutex::default() }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watcher for Watch {
    fn phase_started(&self, name: &str, _parent: &str, steps: u64) {
        self.with(|state| state.phases.push((name.to_owned(), steps)));
        self.progress.report(name, 0, Some(steps));
    }

    fn step_done(&self, phase: &str, step: u64) -> bool {
        let total = self.with(|state| {
            let now = Instant::now();
            if state.reported.is_some_and(|last| now.duration_since(last) < INTERVAL) {
                return None;
            }
            state.reported = Some(now);
            // Steps of an outer phase end whenever an inner one does; that is not news.
            let innermost = state.phases.last().filter(|(name, _)| name == phase)?;
            Some(innermost.1)
        });
        if let Some(total) = total {
            self.progress.report(phase, step + 1, Some(total));
        }
        true
    }

    fn phase_ended(&self, name: &str) {
        self.with(|state| {
            if let Some(at) = state.phases.iter().rposition(|(phase, _)| phase == name) {
                state.phases.remove(at);
            }
        });
    }
}
