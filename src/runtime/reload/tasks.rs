//! [`Tasks`]: threads of a registry that end by themselves, counted so that their end can be
//! waited for.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Threads that run, by number.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Tasks {
    running: Mutex<usize>,
    ended: Condvar,
}

/// One that runs; also a panic ends it.
struct Running(Arc<Tasks>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_all();
    }
}

impl Tasks {
    /// Starts a thread. `work` must end by itself once the registry closes.
    pub(in crate::runtime) fn start(
        self: &Arc<Self>,
        name: String,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let running = Running(Arc::clone(self));
        let thread = std::thread::Builder::new().name(name);
        thread.spawn(move || {
            work();
            drop(running);
        })?;
        Ok(())
    }

    /// Waits until none runs, and says whether that came about in time.
    pub(in crate::runtime) fn wait(&self, deadline: Instant) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while *running > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.ended.wait_timeout(running, left);
            running = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
