//! [`Store`]: artifacts on disk, named by content, and the results that refer to them.
//!
//! Owns the layout of the store's folder and the checking of what is stored. Hashing is in
//! `stamp` and `input`, writing artifacts in `commit`, removal in `gc`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::OFlags;

use super::lock::{Released, UseLock};
use super::result::Decoded;
use super::stat::is_executable;
use super::stat_db::{StatDb, Sync, replace_file};
use super::{
    Artifact, Digest, FileEntry, FileStat, Fingerprint, KeyLock, Lease, StageHit, StageResult,
    StoreError, tree,
};

/// Seconds from which on a stage is worth waiting for the disk.
const DURABLE_FROM_SECONDS: f64 = 1.0;

/// Files and trees up to which each is synced by itself. Beyond, one call for the whole file system
/// is faster (20 times for 2000 small files), though it may wait for the writes of others.
const SYNC_SINGLY: usize = 64;

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
    /// Results and artifacts that may not have reached the disk yet.
    unsynced: Mutex<Vec<PathBuf>>,
    pub(super) links: super::link::LinkTargets,
    released: Released,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.root).finish_non_exhaustive()
    }
}

/// What the store knows about a key.
#[derive(Debug)]
pub enum Lookup {
    /// The result, its files being intact.
    Hit(Box<StageHit>),
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
            unsynced: Mutex::default(),
            links: super::link::LinkTargets::default(),
            released: Released::default(),
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
        let text = match read_small(&self.result_path(key)) {
            Ok(text) => text,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Lookup::Miss,
                    _ => Lookup::Damaged { reason: format!("the result is not readable: {error}") },
                };
            }
        };
        match Decoded::<StageHit>::of(&text, key) {
            Decoded::Result(result) => match self.check_object(&result.artifact) {
                Ok(()) => Lookup::Hit(result),
                Err(error) => Lookup::Damaged { reason: describe(&error) },
            },
            Decoded::OtherFormat => Lookup::Miss,
            Decoded::Damaged(reason) => Lookup::Damaged { reason },
        }
    }

    /// How long the stage of a stored result took, whether or not its files are still there.
    pub fn seconds(&self, key: &Digest) -> Option<f64> {
        let text = fs::read(self.result_path(key)).ok()?;
        match Decoded::<StageHit>::of(&text, key) {
            Decoded::Result(result) => Some(result.seconds),
            _ => None,
        }
    }

    /// What a stored result stood on, whether or not its files are still there.
    pub fn fingerprint(&self, key: &Digest) -> Option<Fingerprint> {
        let text = fs::read(self.result_path(key)).ok()?;
        match Decoded::<StageResult>::of(&text, key) {
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
        let mut was_known = true;
        for file in &artifact.files {
            was_known &= self.check_file(&root.join(&file.path), file)?;
        }
        if !was_known {
            self.sync_later(root);
        }
        Ok(())
    }

    /// Returns whether a stat record vouched for the file.
    fn check_file(&self, path: &Path, entry: &FileEntry) -> Result<bool, StoreError> {
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
        let known = self.stats.get(&FileStat::of(&metadata));
        let digest = match known {
            Some(digest) => digest,
            None => self.stamp(path, &metadata, OFlags::NOFOLLOW)?.digest,
        };
        if digest != entry.digest {
            return damaged("its content was changed".to_owned());
        }
        Ok(known.is_some())
    }

    /// Keeps a result under its key. What took a second or longer to make is durable when this
    /// returns, the rest with [`flush`](Self::flush): a power failure in between costs less than
    /// making every short stage wait for the disk.
    ///
    /// # Errors
    /// The store cannot be written to; an earlier result is then untouched. Or the key is not
    /// that of the fingerprint.
    pub fn record(&self, result: &StageResult) -> Result<(), StoreError> {
        self.prepare_to_write()?;
        let path = self.result_path(&result.key);
        if result.fingerprint.key() != result.key {
            let reason = "its key is not that of its fingerprint".to_owned();
            return Err(StoreError::Damaged { path, reason });
        }
        let text = result.encode().map_err(|error| StoreError::io("write", &path)(error.into()))?;
        if result.seconds < DURABLE_FROM_SECONDS {
            replace_file(&path, &text, &self.folder("tmp"), Sync::Later)?;
            self.sync_later(path);
            return Ok(());
        }
        tree::sync_all(&self.object_path(&result.artifact.digest))?;
        tree::sync(&self.folder("objects"))?;
        replace_file(&path, &text, &self.folder("tmp"), Sync::Now)?;
        tree::sync(&self.folder("results"))
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
        let path = self.folder("locks").join(key.to_string());
        KeyLock::acquire(path, &self.released, cancelled)
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
        self.released.remove_all();
        let unsynced =
            std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        // Before the stat records, so that none of them outlives the bytes it vouches for.
        if unsynced.len() > SYNC_SINGLY {
            fs::File::open(&self.root)
                .and_then(|root| Ok(rustix::fs::syncfs(root)?))
                .map_err(StoreError::io("write", &self.root))?;
        } else if !unsynced.is_empty() {
            for path in &unsynced {
                tree::sync_all(path)?;
            }
            tree::sync(&self.folder("objects"))?;
            tree::sync(&self.folder("results"))?;
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

    /// Has a file or tree made durable by [`flush`](Self::flush).
    pub(super) fn sync_later(&self, path: PathBuf) {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    /// A folder full of other things is not made a store: `gc` clears `tmp` in it.
    fn refuse_foreign_folder(&self) -> Result<(), StoreError> {
        const OURS: [&str; 7] =
            ["objects", "results", "locks", "tmp", "memo", "stat.db", ".gitignore"];
        if self.folder("objects").is_dir() && self.folder("results").is_dir() {
            return Ok(());
        }
        // What cannot be listed is told by making the folders in it.
        let Ok(entries) = fs::read_dir(&self.root) else { return Ok(()) };
        let is_ours = |name: &std::ffi::OsStr| OURS.iter().any(|ours| name == *ours);
        match entries.flatten().find(|entry| !is_ours(&entry.file_name())) {
            None => Ok(()),
            Some(_) => Err(StoreError::NotAStore { root: self.root.clone() }),
        }
    }

    /// Makes the folders, once, and keeps others from removing anything from here on.
    pub(super) fn prepare_to_write(&self) -> Result<(), StoreError> {
        if self.laid_out.get().is_some() {
            return Ok(());
        }
        self.refuse_foreign_folder()?;
        for folder in ["", "objects", "results", "locks", "tmp"] {
            let folder = self.root.join(folder);
            fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        }
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            replace_file(&ignore, b"*\n", &self.folder("tmp"), Sync::Later)?;
        }
        self.in_use.share(&self.use_path())?;
        let _ = self.laid_out.set(());
        Ok(())
    }
}

/// Reads a file of a few kilobytes. `fs::read` would ask for the size first.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let mut text = Vec::new();
    let mut block = [0; 4096];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(text),
            Ok(len) => text.extend_from_slice(&block[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
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
