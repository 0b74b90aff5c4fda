//! [`Progress`]: how long work tells how far it is.

/// Receives what running work has to tell.
pub trait Progress: Sync {
    /// The work is in `phase` and has done `done` of `total` (if that is known) of it.
    fn report(&self, phase: &str, done: u64, total: Option<u64>);

    /// What came of the work, for a reader: lines of plain text, such as a table. The last one
    /// told counts.
    fn summary(&self, _text: &str) {}
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn report(&self, _phase: &str, _done: u64, _total: Option<u64>) {}
}
