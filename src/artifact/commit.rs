//! Writing artifacts: [`Scratch`] folders and the way from there into `objects/`.
//!
//! Whether the bytes reach the disk at once or with the end of the run is decided where the result
//! is recorded. Until then nothing refers to them, and later a torn file is seen as any damage is:
//! by its size or by hashing it, as its stat is on record only after the bytes are on disk.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, OFlags, RenameFlags};

use super::stamp::{open, stamp_open};
use super::{Artifact, ArtifactKind, FileEntry, Store, StoreError, tree, tree_digest};

/// A folder of one's own inside the store, removed on drop. One that a killed process left behind
/// is removed by [`Store::gc`].
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = tree::remove(&self.path) {
            tracing::debug!("{error}");
        }
    }
}

impl Store {
    /// Makes an empty folder to work in.
    ///
    /// # Errors
    /// The store cannot be written to.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        self.prepare_to_write()?;
        let tmp = self.folder("tmp");
        let path = tempfile::Builder::new()
            .prefix("scratch-")
            .tempdir_in(&tmp)
            .map_err(StoreError::io("create", &tmp))?
            .keep();
        Ok(Scratch { path })
    }

    /// Stores a finished folder, which must be (in) a [`Scratch`], and takes it away. Empty folders
    /// in it are dropped. If the same artifact is stored already, that one stays.
    ///
    /// # Errors
    /// The folder holds anything but regular files with one UTF-8 name each, a file kept changing,
    /// or the store cannot be written to. Nothing is stored then.
    pub fn commit(&self, dir: &Path, kind: ArtifactKind) -> Result<Artifact, StoreError> {
        self.prepare_to_write()?;
        if !dir.starts_with(self.folder("tmp"))
            || dir.components().any(|c| c == Component::ParentDir)
        {
            let (path, root) = (dir.to_owned(), self.root().to_owned());
            return Err(StoreError::OutsideScratch { path, root });
        }
        let file_type = fs::symlink_metadata(dir).map_err(StoreError::io("read", dir))?.file_type();
        if !file_type.is_dir() {
            let what = tree::describe(file_type);
            return Err(StoreError::NotFolder { path: dir.to_owned(), what });
        }
        let listing = tree::list(dir)?;
        let files = listing
            .files
            .into_iter()
            .map(|(name, path)| self.seal_file(name, &path))
            .collect::<Result<Vec<_>, _>>()?;
        for folder in listing.folders.iter().rev() {
            // Only an empty folder goes away.
            if fs::remove_dir(folder).is_err() {
                tree::set_mode(folder, 0o555).map_err(StoreError::io("write", folder))?;
            }
        }
        let artifact = Artifact { kind, digest: tree_digest(&files), files };
        self.move_in(dir, &artifact)?;
        self.sync_later(self.object_path(&artifact.digest));
        Ok(artifact)
    }

    /// Makes a file read-only, then hashes it. In that order: a change of permissions is a change
    /// of ctime.
    fn seal_file(&self, name: String, path: &Path) -> Result<FileEntry, StoreError> {
        let io = |doing| StoreError::io(doing, path);
        let refuse = |what| StoreError::NotRegular { path: path.to_owned(), what };
        let file = open(path, OFlags::NOFOLLOW).map_err(io("read"))?;
        let metadata = file.metadata().map_err(io("read"))?;
        if !metadata.is_file() {
            return Err(refuse(tree::describe(metadata.file_type())));
        }
        if metadata.nlink() > 1 {
            return Err(refuse("a file with several names (hard links)"));
        }
        let mode = if metadata.mode() & 0o100 == 0 { 0o444 } else { 0o555 };
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(io("write"))?;
        let stamp = stamp_open(path, &file, SystemTime::now())?
            .ok_or_else(|| StoreError::Changing { path: path.to_owned() })?;
        if stamp.settled {
            self.stats.put(stamp.stat, stamp.digest);
        }
        Ok(FileEntry {
            path: name,
            size: stamp.size,
            digest: stamp.digest,
            executable: stamp.executable,
        })
    }

    fn move_in(&self, dir: &Path, artifact: &Artifact) -> Result<(), StoreError> {
        let target = self.object_path(&artifact.digest);
        if fs::symlink_metadata(&target).is_ok() {
            return self.keep_or_repair(dir, artifact, &target);
        }
        match fs::rename(dir, &target) {
            Ok(()) => seal_root(&target),
            // Another process was first.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                self.keep_or_repair(dir, artifact, &target)
            }
            Err(error) => Err(StoreError::io("write", &target)(error)),
        }
    }

    fn keep_or_repair(
        &self,
        dir: &Path,
        artifact: &Artifact,
        target: &Path,
    ) -> Result<(), StoreError> {
        if self.verify_bytes(artifact).is_ok() {
            return tree::remove(dir);
        }
        let io = |error: io::Error| StoreError::io("write", target)(error);
        // Moving a folder needs the right to write to it.
        if fs::symlink_metadata(target).is_ok_and(|metadata| metadata.is_dir()) {
            tree::set_mode(target, 0o755).map_err(io)?;
        }
        let exchanged = rustix::fs::renameat_with(CWD, dir, CWD, target, RenameFlags::EXCHANGE);
        if exchanged.is_err() {
            // Not every file system can exchange. In between the artifact is missing, which
            // others see as a miss.
            let trash = self.scratch()?;
            let aside = trash.path().join("damaged");
            fs::rename(target, &aside).map_err(io)?;
            fs::rename(dir, target).map_err(io)?;
        }
        seal_root(target)?;
        tree::remove(dir)
    }
}

/// Only now: a read-only folder cannot be moved.
fn seal_root(target: &Path) -> Result<(), StoreError> {
    tree::set_mode(target, 0o555).map_err(StoreError::io("write", target))
}
