//! [`Store`]: artifacts on disk, named by content, and the results that refer to them.
//!
//! Owns the layout of the store's folder and the checking of what is stored. Hashing is in
//! `stamp` and `input`, writing artifacts in `commit`, removal in `gc`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;

use super::lock::UseLock;
use super::result::Decoded;
use super::stat::is_executable;
use super::stat_db::{StatDb, replace_file};
use super::{
    Artifact, Digest, FileEntry, Fingerprint, KeyLock, Lease, StageResult, StoreError, tree,
};

/// Artifacts on disk, named by content, and the results that refer to them.
///
/// Opening touches nothing; no folder is made before the first write. From its first use until it
/// is dropped a store keeps other processes from removing anything ([`Store::gc`]), so a program
/// that lives long opens one per run and holds a [`Lease`] in between.
pub struct Store {
    root: PathBuf,
    pub(super) stats: StatDb,
    in_use: UseLock,
    laid_out: OnceLock<()>,
    unsynced: AtomicBool,
    pub(super) links: super::link::LinkTargets,
}

/// What the store knows about a key.
#[derive(Debug)]
pub enum Lookup {
    /// The result, its files being intact.
    Hit(Box<StageResult>),
    /// Nothing.
    Miss,
    /// A result that cannot be used; building it again repairs it.
    Damaged {
        /// What is wrong.
        reason: String,
    },
}

impl Store {
    /// The store in the folder `root` (usually named `.trt-pipeline`), which need not exist.
    pub fn open(root: PathBuf) -> Self {
        Self {
            stats: StatDb::new(root.join("stat.db")),
            in_use: UseLock::default(),
            laid_out: OnceLock::new(),
            unsynced: AtomicBool::new(false),
            links: super::link::LinkTargets::default(),
            root,
        }
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the artifact with this digest is or would be.
    pub fn object_path(&self, digest: &Digest) -> PathBuf {
        let mut path = self.root.join("objects");
        path.push(digest.to_string());
        path
    }

    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn result_path(&self, key: &Digest) -> PathBuf {
        let mut path = self.root.join("results");
        path.push(format!("{key}.json"));
        path
    }

    /// What is stored for a key. Files are believed by their stat record and hashed where that
    /// does not fit.
    pub fn lookup(&self, key: &Digest) -> Lookup {
        self.in_use.share_existing(&self.use_path());
        let text = match fs::read(self.result_path(key)) {
            Ok(text) => text,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Lookup::Miss,
                    _ => Lookup::Damaged { reason: format!("the result is not readable: {error}") },
                };
            }
        };
        match StageResult::decode(&text, key) {
            Decoded::Result(result) => match self.check_object(&result.artifact) {
                Ok(()) => Lookup::Hit(result),
                Err(error) => Lookup::Damaged { reason: describe(&error) },
            },
            Decoded::OtherFormat => Lookup::Miss,
            Decoded::Damaged(reason) => Lookup::Damaged { reason },
        }
    }

    /// What a stored result stood on, whether or not its files are still there.
    pub fn fingerprint(&self, key: &Digest) -> Option<Fingerprint> {
        let text = fs::read(self.result_path(key)).ok()?;
        match StageResult::decode(&text, key) {
            Decoded::Result(result) => Some(result.fingerprint),
            _ => None,
        }
    }

    /// Checks that the stored files are those of the artifact and no others. Bytes are read where
    /// no stat record vouches for them. To be called before an engine or model is loaded or run.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], or the files cannot be read.
    pub fn verify_bytes(&self, artifact: &Artifact) -> Result<(), StoreError> {
        self.check_object(artifact)?;
        let root = self.object_path(&artifact.digest);
        let listing = tree::list(&root)?;
        for (name, path) in listing.files {
            if artifact.files.binary_search_by(|file| file.path.cmp(&name)).is_err() {
                let reason = "it is not part of the artifact".to_owned();
                return Err(StoreError::Damaged { path, reason });
            }
        }
        Ok(())
    }

    /// Checks that every file of the artifact is there and holds its content.
    pub(super) fn check_object(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let root = self.object_path(&artifact.digest);
        let damaged = |path: &Path, reason: &str| StoreError::Damaged {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        match fs::symlink_metadata(&root) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(damaged(&root, "it is not a folder")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(&root, "it is missing"));
            }
            Err(error) => return Err(StoreError::io("read", &root)(error)),
        }
        for file in &artifact.files {
            self.check_file(&root.join(&file.path), file)?;
        }
        Ok(())
    }

    fn check_file(&self, path: &Path, entry: &FileEntry) -> Result<(), StoreError> {
        let damaged = |reason: String| Err(StoreError::Damaged { path: path.to_owned(), reason });
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return damaged("it is missing".to_owned());
            }
            Err(error) => return Err(StoreError::io("read", path)(error)),
        };
        if !metadata.is_file() {
            return damaged(format!("it is {}", tree::describe(metadata.file_type())));
        }
        if metadata.len() != entry.size {
            return damaged(format!("it has {} bytes, not {}", metadata.len(), entry.size));
        }
        if is_executable(&metadata) != entry.executable {
            return damaged("its executable bit was changed".to_owned());
        }
        let stamp = self.stamp(path, &metadata, OFlags::NOFOLLOW)?;
        if stamp.digest != entry.digest {
            return damaged("its content was changed".to_owned());
        }
        Ok(())
    }

    /// Keeps a result under its key.
    ///
    /// # Errors
    /// The store cannot be written to; an earlier result is then untouched.
    pub fn record(&self, result: &StageResult) -> Result<(), StoreError> {
        self.prepare_to_write()?;
        let path = self.result_path(&result.key);
        let mut text = serde_json::to_vec_pretty(result)
            .map_err(|error| StoreError::io("write", &path)(error.into()))?;
        text.push(b'\n');
        replace_file(&path, &text, &self.folder("tmp"))?;
        self.unsynced.store(true, Ordering::Release);
        Ok(())
    }

    /// Waits for the right to build a key. Must not be called on a rayon thread.
    ///
    /// # Errors
    /// `cancelled` returned true, or the store cannot be written to.
    pub fn lock_key(
        &self,
        key: &Digest,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<KeyLock, StoreError> {
        self.prepare_to_write()?;
        KeyLock::acquire(self.folder("locks").join(key.to_string()), cancelled)
    }

    /// Keeps artifacts from being removed while a server uses them, also after the store is
    /// dropped.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn lease(&self, digests: &[Digest]) -> Result<Lease, StoreError> {
        self.prepare_to_write()?;
        let folder = self.leases();
        fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        Lease::new(&folder, digests)
    }

    /// Makes durable what was stored and keeps what was learned about files. To be called once, at
    /// the end of a run.
    ///
    /// # Errors
    /// The store cannot be written to; what was learned is lost, nothing else.
    pub fn flush(&self) -> Result<(), StoreError> {
        if self.unsynced.swap(false, Ordering::AcqRel) {
            tree::sync_folder(&self.folder("objects"))?;
            tree::sync_folder(&self.folder("results"))?;
        }
        if self.stats.is_dirty() {
            self.prepare_to_write()?;
            self.stats.flush(&self.folder("locks").join("stat"), &self.folder("tmp"))?;
        }
        Ok(())
    }

    fn use_path(&self) -> PathBuf {
        self.root.join("locks/use")
    }

    pub(super) fn leases(&self) -> PathBuf {
        self.root.join("locks/leases")
    }

    /// Runs `work` while no other process uses the store.
    pub(super) fn alone<T>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.prepare_to_write()?;
        self.in_use.alone(&self.use_path(), &self.root, work)
    }

    pub(super) fn mark_unsynced(&self) {
        self.unsynced.store(true, Ordering::Release);
    }

    /// Makes the folders, once, and keeps others from removing anything from here on.
    pub(super) fn prepare_to_write(&self) -> Result<(), StoreError> {
        if self.laid_out.get().is_some() {
            return Ok(());
        }
        for folder in ["", "objects", "results", "locks", "tmp"] {
            let folder = self.root.join(folder);
            fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        }
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            replace_file(&ignore, b"*\n", &self.folder("tmp"))?;
        }
        self.in_use.share(&self.use_path())?;
        let _ = self.laid_out.set(());
        Ok(())
    }
}

/// An error and its causes in one line.
pub(super) fn describe(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
