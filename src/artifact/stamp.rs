//! Hashing one file: through the stat database, and sure that it did not change meanwhile.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::OFlags;

use super::stat::is_executable;
use super::{Digest, FileStamp, FileStat, Store, StoreError, hash, tree};

/// Times a file that changes under the hash is tried again.
const ATTEMPTS: u32 = 3;

impl Store {
    /// The digest of a regular file; symbolic links are followed. A file that the stat database
    /// vouches for is not read.
    ///
    /// # Errors
    /// The file cannot be read, is no regular file, or kept changing.
    pub fn hash_file(&self, path: &Path) -> Result<FileStamp, StoreError> {
        let metadata = fs::metadata(path).map_err(StoreError::io("read", path))?;
        self.stamp(path, &metadata, OFlags::empty())
    }

    /// The digest of what `metadata` was read from. `flags` go into the opening.
    pub(super) fn stamp(
        &self,
        path: &Path,
        metadata: &fs::Metadata,
        flags: OFlags,
    ) -> Result<FileStamp, StoreError> {
        if !metadata.is_file() {
            let what = tree::describe(metadata.file_type());
            return Err(StoreError::NotRegular { path: path.to_owned(), what });
        }
        let stat = FileStat::of(metadata);
        if let Some(digest) = self.stats.get(&stat) {
            let executable = is_executable(metadata);
            return Ok(FileStamp { digest, size: stat.size, executable, stat, settled: true });
        }
        let stamp = read_stamp(path, flags)?;
        if stamp.settled {
            self.stats.put(stamp.stat, stamp.digest);
        }
        Ok(stamp)
    }
}

/// Hashes a file, again if it changes meanwhile.
pub(super) fn read_stamp(path: &Path, flags: OFlags) -> Result<FileStamp, StoreError> {
    let io = |error| StoreError::io("read", path)(error);
    for _ in 0..ATTEMPTS {
        let started = SystemTime::now();
        let file = open(path, flags).map_err(io)?;
        if let Some(stamp) = stamp_open(path, &file, started)? {
            return Ok(stamp);
        }
    }
    Err(StoreError::Changing { path: path.to_owned() })
}

/// Opens a file for hashing. A pipe put in a file's place must not block the opening.
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = (flags | OFlags::NONBLOCK).bits().cast_signed();
    File::options().read(true).custom_flags(flags).open(path)
}

/// Hashes an open file; `None` if it changed meanwhile.
pub(super) fn stamp_open(
    path: &Path,
    file: &File,
    started: SystemTime,
) -> Result<Option<FileStamp>, StoreError> {
    let io = |error| StoreError::io("read", path)(error);
    let before = file.metadata().map_err(io)?;
    if !before.is_file() {
        let what = tree::describe(before.file_type());
        return Err(StoreError::NotRegular { path: path.to_owned(), what });
    }
    let digest = match hash::hash_file(file, before.len()) {
        Ok(hash) => Digest::from(hash),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let after = file.metadata().map_err(io)?;
    let stat = FileStat::of(&before);
    let executable = is_executable(&before);
    let settled = stat.settled_at(started);
    let stamp = FileStamp { digest, size: stat.size, executable, stat, settled };
    Ok((FileStat::of(&after) == stat).then_some(stamp))
}
