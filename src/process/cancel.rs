//! [`CancelToken`]: one flag that says "stop", with things to do at that moment (kill a child).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

type Hook = Box<dyn Fn() + Send>;

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    hooks: Mutex<(u64, BTreeMap<u64, Hook>)>,
}

/// Tells the work of a run to stop. Clones share the flag.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<State>);

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken").field(&self.is_cancelled()).finish()
    }
}

impl CancelToken {
    /// Sets the flag and runs every hook that is registered.
    pub fn cancel(&self) {
        let hooks = self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.cancelled.store(true, Ordering::SeqCst);
        for hook in hooks.1.values() {
            hook();
        }
    }

    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Runs `hook` at cancellation, at once if that has happened already. It is forgotten when
    /// the guard is dropped; dropping waits for a hook that is running.
    pub fn on_cancel(&self, hook: impl Fn() + Send + 'static) -> CancelGuard {
        let mut hooks = self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled() {
            hook();
        }
        hooks.0 += 1;
        let id = hooks.0;
        hooks.1.insert(id, Box::new(hook));
        CancelGuard { token: self.clone(), id }
    }
}

/// Keeps a hook of [`CancelToken::on_cancel`] registered.
#[derive(Debug)]
pub struct CancelGuard {
    token: CancelToken,
    id: u64,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let mut hooks = self.token.0.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.1.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn hooks_run_once_at_cancellation_and_not_after_their_guard_is_gone() {
        let token = CancelToken::default();
        let count = Arc::new(AtomicUsize::new(0));
        let hook = |count: &Arc<AtomicUsize>| {
            let count = Arc::clone(count);
            move || {
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        drop(token.on_cancel(hook(&count)));
        let _kept = token.on_cancel(hook(&count));
        token.clone().cancel();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let _late = token.on_cancel(hook(&count));
        assert_eq!(count.load(Ordering::SeqCst), 2, "a late hook runs at once");
    }
}
