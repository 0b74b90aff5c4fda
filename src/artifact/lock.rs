//! Locks between processes: one run per key, removal only while nobody uses the store, and leases
//! of running servers. All are advisory locks on files, which the system drops with the process.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::{Digest, StoreError};

/// The right to build one key. Released on drop, or by the system when the process ends.
#[derive(Debug)]
pub struct KeyLock {
    file: File,
    path: PathBuf,
    /// Where to note that the file may go; without, it goes on drop.
    released: Option<Released>,
}

/// Lock files that nobody here needs any more. They go at the end of a run, all together: file
/// systems such as ext4 are slow to make files while others are being removed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Released(Arc<Mutex<Vec<PathBuf>>>);

impl Released {
    fn note(&self, path: PathBuf) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    /// Removes those that no other process has taken meanwhile.
    pub(crate) fn remove_all(&self) {
        let paths = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for path in paths {
            // What fails here is cleaned up by gc.
            if let Ok(file) = File::open(&path)
                && file.try_lock().is_ok()
                && names(&path, &file)
            {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

impl KeyLock {
    /// Waits for the lock, asking `cancelled` at least every 50 ms.
    pub(crate) fn acquire(
        path: PathBuf,
        released: &Released,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, StoreError> {
        let mut pause = Duration::from_millis(1);
        loop {
            if cancelled() {
                return Err(StoreError::Cancelled);
            }
            let file = open_lock(&path)?;
            match file.try_lock() {
                // Its last owner may have removed the file between our open and our lock.
                Ok(()) if names(&path, &file) => {
                    return Ok(Self { file, path, released: Some(released.clone()) });
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(StoreError::io("lock", &path)(error));
                }
            }
        }
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        match &self.released {
            Some(released) => released.note(std::mem::take(&mut self.path)),
            // Removed while still held, so that nobody locks a file that others no longer see;
            // what fails here is released by closing and cleaned up by gc.
            None => drop(fs::remove_file(&self.path)),
        }
        let _ = self.file.unlock();
    }
}

fn open_lock(path: &Path) -> Result<File, StoreError> {
    File::options().create(true).append(true).open(path).map_err(StoreError::io("create", path))
}

fn names(path: &Path, file: &File) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(by_path), Ok(by_file)) => {
            (by_path.dev(), by_path.ino()) == (by_file.dev(), by_file.ino())
        }
        _ => false,
    }
}

/// Says that this process uses the store; removal needs to be alone.
#[derive(Debug, Default)]
pub(crate) struct UseLock(OnceLock<File>);

impl UseLock {
    /// Takes part in using a store that may be read-only or absent: then nobody can remove
    /// anything from it either. Waits while a removal is under way.
    pub(crate) fn share_existing(&self, path: &Path) {
        if self.0.get().is_none()
            && let Ok(file) = File::open(path)
            && file.lock_shared().is_ok()
        {
            let _ = self.0.set(file);
        }
    }

    /// Takes part in using the store, making the lock file if need be.
    pub(crate) fn share(&self, path: &Path) -> Result<(), StoreError> {
        if self.0.get().is_none() {
            let file = open_lock(path)?;
            file.lock_shared().map_err(StoreError::io("lock", path))?;
            let _ = self.0.set(file);
        }
        Ok(())
    }

    /// Runs `work` while no other process uses the store.
    pub(crate) fn alone<T>(
        &self,
        path: &Path,
        root: &Path,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.share(path)?;
        let Some(file) = self.0.get() else {
            return Err(StoreError::InUse { root: root.to_owned() });
        };
        let result = match file.try_lock() {
            Ok(()) => work(),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { root: root.to_owned() }),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
        };
        file.lock_shared().map_err(StoreError::io("lock", path))?;
        result
    }
}

/// Keeps the artifacts that a running server uses from being removed, until dropped or until the
/// process ends.
#[derive(Debug)]
pub struct Lease {
    _lock: KeyLock,
}

impl Lease {
    pub(crate) fn new(folder: &Path, digests: &[Digest]) -> Result<Self, StoreError> {
        let (mut file, path) = tempfile::Builder::new()
            .prefix("lease-")
            .tempfile_in(folder)
            .and_then(|file| file.keep().map_err(Into::into))
            .map_err(StoreError::io("create", folder))?;
        let text = digests.iter().map(Digest::to_string).collect::<Vec<_>>().join("\n");
        let write = |doing| StoreError::io(doing, &path);
        file.lock().map_err(write("lock"))?;
        file.write_all(text.as_bytes()).map_err(write("write"))?;
        Ok(Self { _lock: KeyLock { file, path, released: None } })
    }

    /// The text of every lease that is held. Leases of ended processes are removed if `clean`.
    pub(crate) fn held(folder: &Path, clean: bool) -> Result<Vec<String>, StoreError> {
        let read = |error| StoreError::io("read", folder)(error);
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(read(error)),
        };
        let mut texts = Vec::new();
        for entry in entries {
            let path = entry.map_err(read)?.path();
            // Gone between the listing and the opening: released.
            let Ok(file) = File::open(&path) else { continue };
            match file.try_lock() {
                Ok(()) if clean => {
                    let _ = fs::remove_file(&path);
                }
                Ok(()) => {}
                Err(_) => {
                    texts.push(fs::read_to_string(&path).map_err(StoreError::io("read", &path))?);
                }
            }
        }
        Ok(texts)
    }
}
