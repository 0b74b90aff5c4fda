//! [`SharedMemory`]: the system shared memory extension: clients on this machine leave tensors in
//! a file under `/dev/shm` and name the place instead of sending them.
//!
//! A region is read and written through its descriptor, never mapped: a client that cuts its file
//! short gets an error, where a mapping would end the server. What a file holds can change at any
//! time, so its size is looked at whenever the region is used.
//!
//! Owns the table of regions. Knows nothing of the protocols that ask for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};

use super::ServerConfig;

mod error;

pub use error::SharedMemoryError;

/// Most regions at the same time; each holds a descriptor.
const MOST_REGIONS: usize = 256;

/// Longest name of a region or a memory object, in bytes; as long as a file's name may be.
const LONGEST_NAME: usize = 255;

/// The regions that clients registered.
pub(crate) struct SharedMemory {
    /// Why there are none, where the extension is off.
    off: Option<String>,
    /// Most bytes to move at once.
    most_bytes: u64,
    folder: PathBuf,
    regions: RwLock<BTreeMap<String, Region>>,
}

struct Region {
    key: String,
    file: Arc<File>,
    offset: u64,
    size: u64,
}

/// A region, as a client registered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegionStatus {
    /// Its name.
    pub(crate) name: String,
    /// The memory object it is in.
    pub(crate) key: String,
    /// Where in the object it starts.
    pub(crate) offset: u64,
    /// Its size in bytes.
    pub(crate) byte_size: u64,
}

/// A part of a region, for one tensor. Stays usable when the region is unregistered.
#[derive(Debug, Clone)]
pub(crate) struct RegionPart {
    region: String,
    file: Arc<File>,
    start: u64,
    len: usize,
}

impl SharedMemory {
    /// No regions yet; never any unless every listener is one for this machine only.
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let open = |listener: &&SocketAddr| !listener.ip().is_loopback();
        let listeners = [&config.http, &config.grpc, &config.admin];
        let off = if config.shared_memory {
            listeners.into_iter().flatten().find(open).map(|listener| {
                format!("it needs every listener on a loopback address, one is on {listener}")
            })
        } else {
            Some("this server was not started with it".to_owned())
        };
        Self {
            off,
            most_bytes: config.limits.body_bytes as u64,
            folder: PathBuf::from("/dev/shm"),
            regions: RwLock::default(),
        }
    }

    /// Gives a part of a memory object a name.
    pub(crate) fn register(
        &self,
        name: &str,
        key: &str,
        offset: u64,
        size: u64,
    ) -> Result<(), SharedMemoryError> {
        self.on()?;
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(SharedMemoryError::Name(name.chars().take(LONGEST_NAME).collect()));
        }
        let file = open(&self.folder, key)?;
        let end = part_of(name, 0, size, offset, u64::MAX)?;
        check_size(name, &file, end)?;
        let region = Region { key: key.to_owned(), file: Arc::new(file), offset, size };
        let mut regions = self.regions.write().unwrap_or_else(PoisonError::into_inner);
        if regions.contains_key(name) {
            return Err(SharedMemoryError::Twice(name.to_owned()));
        }
        if regions.len() >= MOST_REGIONS {
            return Err(SharedMemoryError::TooMany);
        }
        regions.insert(name.to_owned(), region);
        Ok(())
    }

    /// Forgets a region, or all. One that is not there is forgotten already.
    pub(crate) fn unregister(&self, name: Option<&str>) {
        let mut regions = self.regions.write().unwrap_or_else(PoisonError::into_inner);
        match name {
            Some(name) => drop(regions.remove(name)),
            None => regions.clear(),
        }
    }

    /// One region, or all by name.
    pub(crate) fn status(
        &self,
        name: Option<&str>,
    ) -> Result<Vec<RegionStatus>, SharedMemoryError> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let status = |(name, region): (&String, &Region)| RegionStatus {
            name: name.clone(),
            key: region.key.clone(),
            offset: region.offset,
            byte_size: region.size,
        };
        match name {
            None => Ok(regions.iter().map(status).collect()),
            Some(name) => match regions.get_key_value(name) {
                Some(region) => Ok(vec![status(region)]),
                None => Err(unknown(name, &regions)),
            },
        }
    }

    /// The `len` bytes at `offset` of a region, to be read or written.
    pub(crate) fn part(
        &self,
        name: &str,
        offset: u64,
        len: u64,
    ) -> Result<RegionPart, SharedMemoryError> {
        self.on()?;
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let region = regions.get(name).ok_or_else(|| unknown(name, &regions))?;
        part_of(name, offset, len, 0, region.size)?;
        let most = self.most_bytes;
        let too_large = || SharedMemoryError::TooLarge { region: name.to_owned(), len, most };
        let fitting = usize::try_from(len).ok().filter(|_| len <= most).ok_or_else(too_large)?;
        Ok(RegionPart {
            region: name.to_owned(),
            file: Arc::clone(&region.file),
            start: region.offset + offset,
            len: fitting,
        })
    }

    fn on(&self) -> Result<(), SharedMemoryError> {
        self.off.as_ref().map_or(Ok(()), |reason| Err(SharedMemoryError::Off(reason.clone())))
    }
}

impl RegionPart {
    /// What it holds now.
    pub(crate) fn read(&self) -> Result<Bytes, SharedMemoryError> {
        check_size(&self.region, &self.file, self.start + self.len as u64)?;
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.start).map_err(|reason| self.moving(&reason))?;
        Ok(bytes.into())
    }

    /// Puts bytes at its start.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), SharedMemoryError> {
        if bytes.len() > self.len {
            let (room, needed) = (self.len, bytes.len());
            return Err(SharedMemoryError::NoRoom { region: self.region.clone(), room, needed });
        }
        // Writing behind the end would make the file larger.
        check_size(&self.region, &self.file, self.start + self.len as u64)?;
        self.file.write_all_at(bytes, self.start).map_err(|reason| self.moving(&reason))
    }

    /// Why bytes could not be moved: the object may have been cut short meanwhile.
    fn moving(&self, reason: &io::Error) -> SharedMemoryError {
        let moving = || SharedMemoryError::Moving {
            region: self.region.clone(),
            reason: reason.to_string(),
        };
        let cut = check_size(&self.region, &self.file, self.start + self.len as u64);
        cut.err().unwrap_or_else(moving)
    }
}

fn unknown(name: &str, regions: &BTreeMap<String, Region>) -> SharedMemoryError {
    let mut registered: Vec<&str> = regions.keys().take(10).map(String::as_str).collect();
    if registered.is_empty() {
        registered.push("none");
    } else if registered.len() < regions.len() {
        registered.push("..");
    }
    SharedMemoryError::Unknown { name: name.to_owned(), registered: registered.join(", ") }
}

/// Where `len` bytes at `offset` of a region of `size` bytes end that starts at `base`.
fn part_of(
    region: &str,
    offset: u64,
    len: u64,
    base: u64,
    size: u64,
) -> Result<u64, SharedMemoryError> {
    let end = offset.checked_add(len).filter(|&end| len > 0 && end <= size);
    // Files have no place behind this one.
    let end = end.and_then(|end| end.checked_add(base)).filter(|&end| i64::try_from(end).is_ok());
    let outside = || SharedMemoryError::Outside { region: region.to_owned(), offset, len, size };
    end.ok_or_else(outside)
}

fn check_size(region: &str, file: &File, end: u64) -> Result<(), SharedMemoryError> {
    let region = || region.to_owned();
    let moving = |reason: io::Error| SharedMemoryError::Moving {
        region: region(),
        reason: reason.to_string(),
    };
    let size = file.metadata().map_err(moving)?.len();
    if end > size { Err(SharedMemoryError::Cut { region: region(), end, size }) } else { Ok(()) }
}

/// Opens a memory object: a regular file right under `folder`, not a link to one elsewhere.
fn open(folder: &Path, key: &str) -> Result<File, SharedMemoryError> {
    let name = key.strip_prefix('/').unwrap_or(key);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !(1..=LONGEST_NAME).contains(&name.len())
        || !name.bytes().all(allowed)
        || [".", ".."].contains(&name)
    {
        return Err(SharedMemoryError::Key(key.chars().take(LONGEST_NAME).collect()));
    }
    let failed = |reason: String| SharedMemoryError::Open { key: key.to_owned(), reason };
    // A named pipe must not keep the server waiting for its other end.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(folder.join(name), flags, Mode::empty())
        .map_err(|error| failed(io::Error::from(error).to_string()))?;
    let file = File::from(file);
    let regular = file.metadata().map_err(|error| failed(error.to_string()))?.is_file();
    if regular { Ok(file) } else { Err(failed("it is not a regular file".to_owned())) }
}

#[cfg(test)]
mod tests;
