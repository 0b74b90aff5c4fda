//! [`FileStat`]: what the file system says about a file's identity, and when that can be believed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Digest;

/// Nanoseconds that a file must have been left alone before it is hashed for its stat to vouch
/// for the content: the coarsest time stamps in use (FAT, some network file systems) tick every
/// two seconds, and a second write within one tick leaves no trace.
const SETTLING: i128 = 2_000_000_000;

/// What the file system says about a file's identity. Equal stats mean equal content only where
/// the file had settled when it was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileStat {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Time of the last write, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Time of the last change of content, permissions or links, in nanoseconds since 1970.
    pub ctime_ns: i128,
}

impl FileStat {
    /// Takes the parts of a system answer.
    pub fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
        Self {
            dev: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file had been left alone for two seconds at `time`. If so, a later change of
    /// the content shows in the stat.
    pub fn settled_at(&self, time: SystemTime) -> bool {
        let time = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
            Err(_) => return false,
        };
        self.mtime_ns.max(self.ctime_ns) + SETTLING <= time
    }
}

/// The owner may execute the file.
pub(crate) fn is_executable(metadata: &Metadata) -> bool {
    metadata.mode() & 0o100 != 0
}

/// A file's content and the stat it was seen with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// BLAKE3 of the content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Whether the owner may execute it.
    pub executable: bool,
    /// The stat before and after the hashing, or the one on record.
    pub stat: FileStat,
    /// Whether `stat` vouches for the content: see [`FileStat::settled_at`].
    pub settled: bool,
}
