//! Accounting: how much memory is in use, was at most, and was ever.
//!
//! A [`Ledger`] belongs to whoever wants to know (an engine, say); what it records is recorded for
//! the process as well. Knows no CUDA.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::backend::MemoryStats;

/// Whose memory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryKind {
    /// A GPU's.
    Device,
    /// The host's, locked in place so that a GPU can copy it directly.
    Pinned,
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device memory",
            Self::Pinned => "pinned host memory",
        })
    }
}

/// How much memory there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryInfo {
    /// Bytes nobody uses.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

/// A record of allocations, for one owner or for the process.
#[derive(Debug, Default)]
pub struct Ledger {
    device: Mutex<MemoryStats>,
    pinned: Mutex<MemoryStats>,
    parent: Option<Arc<Ledger>>,
}

impl Ledger {
    /// An empty ledger. The process's records all that it records.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { parent: Some(Arc::clone(Self::process())), ..Self::default() })
    }

    /// The ledger of the whole process.
    pub fn process() -> &'static Arc<Self> {
        static PROCESS: LazyLock<Arc<Ledger>> = LazyLock::new(Arc::default);
        &PROCESS
    }

    /// What was recorded of one kind of memory.
    pub fn stats(&self, kind: MemoryKind) -> MemoryStats {
        *self.account(kind)
    }

    /// Records an allocation for as long as the charge lives.
    pub(super) fn charge(self: &Arc<Self>, kind: MemoryKind, bytes: usize) -> Charge {
        let bytes = bytes as u64;
        for ledger in self.chain() {
            let mut stats = ledger.account(kind);
            stats.current += bytes;
            stats.peak = stats.peak.max(stats.current);
            stats.total += bytes;
            stats.allocations += 1;
            stats.live += 1;
        }
        Charge { ledger: Arc::clone(self), kind, bytes }
    }

    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |ledger| ledger.parent.as_deref())
    }

    fn account(&self, kind: MemoryKind) -> MutexGuard<'_, MemoryStats> {
        let account = match kind {
            MemoryKind::Device => &self.device,
            MemoryKind::Pinned => &self.pinned,
        };
        account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A recorded allocation: dropping it records the release.
#[derive(Debug)]
pub(super) struct Charge {
    ledger: Arc<Ledger>,
    kind: MemoryKind,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        for ledger in self.ledger.chain() {
            let mut stats = ledger.account(self.kind);
            stats.current -= self.bytes;
            stats.live -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_knows_current_peak_and_total_and_the_process_knows_all() {
        let process = || Ledger::process().stats(MemoryKind::Pinned);
        let (before, ledger, other) = (process(), Ledger::new(), Ledger::new());
        let first = ledger.charge(MemoryKind::Pinned, 100);
        drop(ledger.charge(MemoryKind::Pinned, 50));
        let last = ledger.charge(MemoryKind::Pinned, 20);
        drop(first);
        let expected = MemoryStats { current: 20, peak: 150, total: 170, allocations: 3, live: 1 };
        assert_eq!(ledger.stats(MemoryKind::Pinned), expected);
        assert_eq!(ledger.stats(MemoryKind::Device), MemoryStats::default());
        assert_eq!(other.stats(MemoryKind::Pinned), MemoryStats::default());
        assert_eq!(process().current, before.current + 20);
        drop((ledger, last));
        assert_eq!(process().current, before.current);
        assert_eq!(process().allocations, before.allocations + 3);
    }
}
