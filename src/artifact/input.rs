//! [`InputStamp`]: the content of a file or folder that belongs to the user, and whether it is
//! still what it was.
//!
//! Symbolic links are followed here, unlike in artifacts: model folders are often made of them.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::OFlags;

use super::{Digest, FileEntry, FileStamp, FileStat, Store, StoreError, tree, tree_digest};

/// Content of a file or folder and the stats it was seen with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputStamp {
    /// The file or folder.
    pub path: PathBuf,
    /// BLAKE3 of a file's content; [`tree_digest`] of a folder's.
    pub digest: Digest,
    /// Bytes of all files.
    pub size: u64,
    /// Whether `path` is a folder.
    pub is_folder: bool,
    /// Every file, sorted by its path relative to `path`, which for a file is empty.
    files: Vec<(String, FileStamp)>,
}

impl InputStamp {
    /// Paths of the files relative to the folder, with `/`, sorted; one empty path for a file.
    pub fn files(&self) -> impl Iterator<Item = (&str, &FileStamp)> {
        self.files.iter().map(|(name, stamp)| (name.as_str(), stamp))
    }
}

/// A file found in an input, before it is read.
struct Found {
    name: String,
    path: PathBuf,
    metadata: Metadata,
}

impl Store {
    /// The digest of a file or of a folder and all in it. Symbolic links are followed. Files that
    /// the stat database vouches for are not read. Must not be called while a lock is held.
    ///
    /// # Errors
    /// Something cannot be read, is neither file nor folder, has a name that is not UTF-8 or
    /// kept changing; or links lead round in a circle.
    pub fn hash_input(&self, path: &Path) -> Result<InputStamp, StoreError> {
        let metadata = fs::metadata(path).map_err(StoreError::io("read", path))?;
        if !metadata.is_dir() {
            let stamp = self.stamp(path, &metadata, OFlags::empty())?;
            return Ok(InputStamp {
                path: path.to_owned(),
                digest: stamp.digest,
                size: stamp.size,
                is_folder: false,
                files: vec![(String::new(), stamp)],
            });
        }
        if self.is_inside(path) {
            let root = self.root().to_owned();
            return Err(StoreError::ContainsStore { path: path.to_owned(), root });
        }
        let found = list_following_links(path, &metadata)?;
        let hash = |file: Found| {
            let stamp = self.stamp(&file.path, &file.metadata, OFlags::empty())?;
            Ok((file.name, stamp))
        };
        // The pool is woken only if there is something to read.
        let is_known = |file: &Found| self.stats.get(&FileStat::of(&file.metadata)).is_some();
        let files: Vec<(String, FileStamp)> = if found.iter().all(is_known) {
            found.into_iter().map(hash).collect::<Result<_, StoreError>>()?
        } else {
            found.into_par_iter().map(hash).collect::<Result<_, StoreError>>()?
        };
        let entries: Vec<FileEntry> = files
            .iter()
            .map(|(name, stamp)| FileEntry {
                path: name.clone(),
                size: stamp.size,
                digest: stamp.digest,
                executable: stamp.executable,
            })
            .collect();
        Ok(InputStamp {
            path: path.to_owned(),
            digest: tree_digest(&entries),
            size: entries.iter().map(|file| file.size).sum(),
            is_folder: true,
            files,
        })
    }

    /// Whether the store is, or would be made, in a folder.
    fn is_inside(&self, folder: &Path) -> bool {
        let Ok(folder) = fs::canonicalize(folder) else { return false };
        let root = self.root().ancestors().find_map(|above| {
            let real = fs::canonicalize(above).ok()?;
            Some(real.join(self.root().strip_prefix(above).ok()?))
        });
        root.is_some_and(|root| root.starts_with(folder))
    }

    /// Whether a file or folder is still what it was. A changed stat counts as a change even if
    /// the content is equal again: what a reader saw in between is unknown. Files that had not
    /// settled when they were hashed are read again.
    ///
    /// # Errors
    /// Something cannot be read; what has vanished is a change, not an error.
    pub fn recheck(&self, stamp: &InputStamp) -> Result<bool, StoreError> {
        match self.is_unchanged(stamp) {
            Err(StoreError::Io { source, .. })
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(false)
            }
            Err(
                StoreError::Changing { .. }
                | StoreError::NotRegular { .. }
                | StoreError::NotUtf8 { .. },
            ) => Ok(false),
            answer => answer,
        }
    }

    fn is_unchanged(&self, stamp: &InputStamp) -> Result<bool, StoreError> {
        let root = fs::metadata(&stamp.path).map_err(StoreError::io("read", &stamp.path))?;
        if root.is_dir() != stamp.is_folder {
            return Ok(false);
        }
        let found = if stamp.is_folder {
            list_following_links(&stamp.path, &root)?
        } else {
            vec![Found { name: String::new(), path: stamp.path.clone(), metadata: root }]
        };
        let same_stats = found.len() == stamp.files.len()
            && found.iter().zip(&stamp.files).all(|(now, (name, then))| {
                now.name == *name && FileStat::of(&now.metadata) == then.stat
            });
        if !same_stats {
            return Ok(false);
        }
        for (now, (_, then)) in found.iter().zip(&stamp.files) {
            if !then.settled
                && self.stamp(&now.path, &now.metadata, OFlags::empty())?.digest != then.digest
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The files in a folder, sorted by name.
fn list_following_links(root: &Path, metadata: &Metadata) -> Result<Vec<Found>, StoreError> {
    struct Folder {
        prefix: String,
        path: PathBuf,
        /// This folder and those around it, by device and inode.
        chain: Vec<(u64, u64)>,
    }
    let id = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    let mut files = Vec::new();
    let mut open =
        vec![Folder { prefix: String::new(), path: root.to_owned(), chain: vec![id(metadata)] }];
    while let Some(folder) = open.pop() {
        let read = |error| StoreError::io("read", &folder.path)(error);
        for entry in fs::read_dir(&folder.path).map_err(read)? {
            let entry = entry.map_err(read)?;
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(|n| format!("{}{n}", folder.prefix))
            else {
                return Err(StoreError::NotUtf8 { path });
            };
            let metadata = fs::metadata(&path).map_err(StoreError::io("read", &path))?;
            if metadata.is_file() {
                files.push(Found { name, path, metadata });
            } else if !metadata.is_dir() {
                let what = tree::describe(metadata.file_type());
                return Err(StoreError::NotRegular { path, what });
            } else if folder.chain.contains(&id(&metadata)) {
                return Err(StoreError::LinkLoop { path });
            } else {
                let mut chain = folder.chain.clone();
                chain.push(id(&metadata));
                open.push(Folder { prefix: format!("{name}/"), path, chain });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
