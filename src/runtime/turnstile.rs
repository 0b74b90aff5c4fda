//! [`Turnstile`]: lets batches answer in the order in which they were formed.

use std::sync::{Condvar, Mutex, PoisonError};

/// Lets one number pass after the other, from 0.
#[derive(Default)]
pub(super) struct Turnstile {
    next: Mutex<u64>,
    passed: Condvar,
}

/// The right to answer; the next number has it after this is dropped.
pub(super) struct Turn<'a>(&'a Turnstile);

impl Turnstile {
    /// Waits until every number before this one has passed. Each must come once.
    pub(super) fn enter(&self, number: u64) -> Turn<'_> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        while *next < number {
            next = self.passed.wait(next).unwrap_or_else(PoisonError::into_inner);
        }
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.next.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.passed.notify_all();
    }
}
