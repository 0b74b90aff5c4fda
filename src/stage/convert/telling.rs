//! [`Telling`]: what a script writes, as the phases of its stage.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::progress::Progress;

/// A phase fits a line of a terminal.
const LONGEST_PHASE: usize = 72;
/// A program that floods its output must not flood those who watch.
const BETWEEN_PHASES: Duration = Duration::from_millis(100);

/// Tells what a script writes as its phases.
pub(super) struct Telling<'a> {
    progress: &'a dyn Progress,
    last: Cell<Option<Instant>>,
}

impl<'a> Telling<'a> {
    pub(super) fn new(progress: &'a dyn Progress) -> Self {
        progress.report("starting Python", 0, None);
        Self { progress, last: Cell::new(None) }
    }

    pub(super) fn hear(&self, line: &str) {
        tracing::debug!(stream = "export", "{}", line.trim_end());
        let now = Instant::now();
        if self.last.get().is_some_and(|last| now < last + BETWEEN_PHASES) {
            return;
        }
        // A bar that is drawn anew each time is one line.
        let line = line.trim_end().rsplit('\r').next().unwrap_or_default();
        let line = line.strip_prefix("phase: ").unwrap_or(line);
        let shown = line.chars().filter(|c| !c.is_control()).take(LONGEST_PHASE);
        let phase: String = shown.collect();
        if !phase.trim().is_empty() {
            self.last.set(Some(now));
            self.progress.report(phase.trim(), 0, None);
        }
    }
}
