//! The stat database: (device, inode, size, mtime, ctime) -> content digest, so that an unchanged
//! file is not read again. Owns `stat.db`; knows nothing of paths, artifacts or keys.
//!
//! It is a flat file, read whole at the first question and replaced whole, under a lock and merged
//! with what others wrote, at the end of a run: every run asks it thousands of times, so opening
//! must cost one read; many processes read while one writes; and losing it costs a re-hash only,
//! so a checksum that turns any damage into "empty" is all the recovery needed. An embedded
//! database would bring an exclusive lock, memory maps or a C library instead.
//!
//! ```text
//! "TRTPSTAT" version:u32 0:u32 | records, sorted by (dev, inode), little-endian | BLAKE3 of all before
//! record: dev inode size mtime_ns ctime_ns (8 bytes each), digest (32), last used (day, u32), 0:u32
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Digest, FileStat, StoreError};

const HEADER: [u8; 16] = *b"TRTPSTAT\x01\0\0\0\0\0\0\0";
const RECORD: usize = 80;
const CHECKSUM: usize = 32;

/// Days after which a record that nobody asked for is dropped: the file has probably vanished.
const FORGET_AFTER: u32 = 60;

#[derive(Clone, Copy)]
struct Record {
    stat: FileStat,
    digest: Digest,
    last_used: u32,
}

#[derive(Default)]
struct Pending {
    records: BTreeMap<(u64, u64), Record>,
    /// Records of the file whose last use should be moved to today.
    used: Vec<(u64, u64)>,
}

pub(crate) struct StatDb {
    path: PathBuf,
    table: OnceLock<Table>,
    today: u32,
    pending: Mutex<Pending>,
}

impl StatDb {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self::at(path, SystemTime::now())
    }

    /// As [`new`](Self::new), at another time.
    pub(crate) fn at(path: PathBuf, now: SystemTime) -> Self {
        Self { path, table: OnceLock::new(), today: day_of(now), pending: Mutex::default() }
    }

    /// The content digest on record for exactly this stat.
    pub(crate) fn get(&self, stat: &FileStat) -> Option<Digest> {
        let id = (stat.dev, stat.inode);
        let table = self.table.get_or_init(|| Table::load(&self.path));
        if let Some(record) = table.find(id)
            && record.stat == *stat
        {
            if record.last_used < self.today {
                self.pending.lock().unwrap_or_else(PoisonError::into_inner).used.push(id);
            }
            return Some(record.digest);
        }
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.records.get(&id).filter(|record| record.stat == *stat).map(|record| record.digest)
    }

    /// Remembers a digest. The caller vouches that the file had settled when it was hashed.
    pub(crate) fn put(&self, stat: FileStat, digest: Digest) {
        let record = Record { stat, digest, last_used: self.today };
        if record.encode().is_some() {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.records.insert((stat.dev, stat.inode), record);
        }
    }

    /// Whether [`flush`](Self::flush) would write.
    pub(crate) fn is_dirty(&self) -> bool {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        !pending.records.is_empty() || !pending.used.is_empty()
    }

    /// Adds the new records to the file. `lock` is a file that serialises writers, `tmp` a folder
    /// on the same file system.
    pub(crate) fn flush(&self, lock: &Path, tmp: &Path) -> Result<(), StoreError> {
        let pending =
            std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        if pending.records.is_empty() && pending.used.is_empty() {
            return Ok(());
        }
        let written = self.merge(&pending, lock, tmp);
        match written {
            Err(_) if pending.records.is_empty() => Ok(()),
            Err(error) => {
                let mut now = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
                for (id, record) in pending.records {
                    now.records.entry(id).or_insert(record);
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    fn merge(&self, pending: &Pending, lock: &Path, tmp: &Path) -> Result<(), StoreError> {
        let guard = File::options()
            .create(true)
            .append(true)
            .open(lock)
            .map_err(StoreError::io("create", lock))?;
        guard.lock().map_err(StoreError::io("lock", lock))?;
        let mut records: BTreeMap<(u64, u64), Record> = Table::load(&self.path)
            .records()
            .filter(|record| record.last_used.saturating_add(FORGET_AFTER) >= self.today)
            .map(|record| ((record.stat.dev, record.stat.inode), record))
            .collect();
        for id in &pending.used {
            if let Some(record) = records.get_mut(id) {
                record.last_used = self.today;
            }
        }
        records.extend(&pending.records);
        let mut bytes = Vec::with_capacity(HEADER.len() + records.len() * RECORD + CHECKSUM);
        bytes.extend(HEADER);
        bytes.extend(records.values().filter_map(Record::encode).flatten());
        let checksum = Digest::of(&bytes);
        bytes.extend(checksum.as_bytes());
        replace_file(&self.path, &bytes, tmp, Sync::Now)
    }
}

/// When bytes must be on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Before the name refers to them.
    Now,
    /// When the system sees fit. After a power failure the file may be torn: its readers must
    /// notice.
    Later,
}

/// Writes a file so that readers see the old or the new content.
pub(crate) fn replace_file(
    path: &Path,
    bytes: &[u8],
    tmp: &Path,
    sync: Sync,
) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(tmp)
        .map_err(StoreError::io("write", tmp))?;
    file.write_all(bytes)
        .and_then(|()| if sync == Sync::Now { file.as_file().sync_all() } else { Ok(()) })
        .map_err(StoreError::io("write", path))?;
    file.persist(path).map_err(|error| StoreError::io("write", path)(error.error))?;
    Ok(())
}

fn day_of(time: SystemTime) -> u32 {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(seconds / 86_400).unwrap_or(u32::MAX)
}

impl Record {
    /// `None` for a time stamp outside the years 1678 to 2262.
    fn encode(&self) -> Option<[u8; RECORD]> {
        let Self { stat, digest, last_used } = self;
        let fields = [
            stat.dev.to_le_bytes(),
            stat.inode.to_le_bytes(),
            stat.size.to_le_bytes(),
            i64::try_from(stat.mtime_ns).ok()?.to_le_bytes(),
            i64::try_from(stat.ctime_ns).ok()?.to_le_bytes(),
        ];
        let mut bytes = [0; RECORD];
        bytes[..40].copy_from_slice(fields.as_flattened());
        bytes[40..72].copy_from_slice(digest.as_bytes());
        bytes[72..76].copy_from_slice(&last_used.to_le_bytes());
        Some(bytes)
    }

    fn decode(bytes: &[u8; RECORD]) -> Self {
        let word = |index: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
            word
        };
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[40..72]);
        let mut last_used = [0; 4];
        last_used.copy_from_slice(&bytes[72..76]);
        Self {
            stat: FileStat {
                dev: u64::from_le_bytes(word(0)),
                inode: u64::from_le_bytes(word(1)),
                size: u64::from_le_bytes(word(2)),
                mtime_ns: i64::from_le_bytes(word(3)).into(),
                ctime_ns: i64::from_le_bytes(word(4)).into(),
            },
            digest: Digest::from_bytes(digest),
            last_used: u32::from_le_bytes(last_used),
        }
    }
}

/// The file as it was read; questions are answered from its bytes by binary search.
struct Table(Vec<u8>);

impl Table {
    /// A file that is absent, unreadable or damaged is an empty table.
    fn load(path: &Path) -> Self {
        // Something else at that place, such as a pipe, is not waited for.
        let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
        let bytes = if is_file { fs::read(path).unwrap_or_default() } else { Vec::new() };
        let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM>() else {
            return Self(Vec::new());
        };
        let sound = body.starts_with(&HEADER)
            && (body.len() - HEADER.len()).is_multiple_of(RECORD)
            && Digest::of(body).as_bytes() == checksum;
        if sound { Self(bytes) } else { Self(Vec::new()) }
    }

    fn chunks(&self) -> &[[u8; RECORD]] {
        let end = self.0.len().saturating_sub(CHECKSUM);
        self.0.get(HEADER.len()..end).map_or(&[], |body| body.as_chunks().0)
    }

    fn records(&self) -> impl Iterator<Item = Record> {
        self.chunks().iter().map(Record::decode)
    }

    fn find(&self, id: (u64, u64)) -> Option<Record> {
        let chunks = self.chunks();
        let at = chunks
            .binary_search_by_key(&id, |chunk| {
                let record = Record::decode(chunk);
                (record.stat.dev, record.stat.inode)
            })
            .ok()?;
        Some(Record::decode(&chunks[at]))
    }
}
