//! [`Poll`]: changes seen by looking at files from time to time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Looking takes at most this fraction of the time.
const REST: u32 = 10;

/// Looks at files from time to time.
#[derive(Debug)]
pub(super) struct Poll {
    interval: Duration,
    next: Instant,
    known: BTreeMap<PathBuf, Tree>,
}

/// Every file and folder at or below a path, with what the system says of it.
type Tree = BTreeMap<PathBuf, Facts>;

/// What changes when a file is written to or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Poll {
    pub(super) fn every(interval: Duration) -> Self {
        Self { interval, next: Instant::now() + interval, known: BTreeMap::new() }
    }

    /// Looks at these paths from now on.
    pub(super) fn look_at(&mut self, paths: &BTreeSet<PathBuf>) {
        self.known.retain(|path, _| paths.contains(path));
        for path in paths {
            self.known.entry(path.clone()).or_insert_with(|| tree(path));
        }
    }

    /// When to look next.
    pub(super) fn next_look(&self) -> Option<Instant> {
        (!self.known.is_empty()).then_some(self.next)
    }

    /// Looks, if it is time to: the paths that are not as they were.
    pub(super) fn look(&mut self) -> BTreeSet<PathBuf> {
        let began = Instant::now();
        if began < self.next {
            return BTreeSet::new();
        }
        let mut changed = BTreeSet::new();
        for (path, known) in &mut self.known {
            let now = tree(path);
            if now != *known {
                *known = now;
                changed.insert(path.clone());
            }
        }
        self.next = Instant::now() + self.interval.max(began.elapsed() * REST);
        changed
    }
}

/// What is at or below a path; links are followed, each folder is entered once.
fn tree(path: &Path) -> Tree {
    let mut found = Tree::new();
    let mut entered = BTreeSet::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let facts = Facts {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        if metadata.is_dir()
            && entered.insert((facts.device, facts.inode))
            && let Ok(entries) = fs::read_dir(&path)
        {
            open.extend(entries.flatten().map(|entry| entry.path()));
        }
        found.insert(path, facts);
    }
    found
}
