//! Trees of files on disk: listing them, and removing those that were made read-only.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::StoreError;

/// What a tree is made of, sorted by relative path.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Files: path relative to the root with `/`, and the whole path.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// Folders below the root, each before what is in it.
    pub(crate) folders: Vec<PathBuf>,
}

/// Lists a tree of regular files and folders; anything else is refused.
pub(crate) fn list(root: &Path) -> Result<Listing, StoreError> {
    let mut listing = Listing::default();
    let mut open = vec![(String::new(), root.to_owned())];
    while let Some((prefix, folder)) = open.pop() {
        let read = |error| StoreError::io("read", &folder)(error);
        for entry in fs::read_dir(&folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}"))
            else {
                return Err(StoreError::NotUtf8 { path });
            };
            let file_type = entry.file_type().map_err(StoreError::io("read", &path))?;
            if file_type.is_dir() {
                open.push((format!("{name}/"), path.clone()));
                listing.folders.push(path);
            } else if file_type.is_file() {
                listing.files.push((name, path));
            } else {
                return Err(StoreError::NotRegular { path, what: describe(file_type) });
            }
        }
    }
    listing.files.sort();
    listing.folders.sort();
    Ok(listing)
}

/// What a file is, with its article.
pub(crate) fn describe(file_type: fs::FileType) -> &'static str {
    if file_type.is_symlink() {
        "a symbolic link"
    } else if file_type.is_dir() {
        "a folder"
    } else if file_type.is_fifo() {
        "a pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else if file_type.is_file() {
        "a regular file"
    } else {
        "a device"
    }
}

/// Removes a tree even where its folders are read-only. What is absent is removed already.
pub(crate) fn remove(root: &Path) -> Result<(), StoreError> {
    let remove_all = || match fs::symlink_metadata(root) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(root),
        Ok(_) => fs::remove_file(root),
        Err(error) => Err(error),
    };
    let removed = remove_all().or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        io::ErrorKind::PermissionDenied => {
            make_folders_writable(root);
            remove_all()
        }
        _ => Err(error),
    });
    removed.map_err(StoreError::io("remove", root))
}

/// As far as possible; what stays read-only shows when it is removed.
fn make_folders_writable(root: &Path) {
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        if !fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir()) {
            continue;
        }
        let _ = set_mode(&folder, 0o700);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        open.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
    }
}

/// Bytes of a file or of all files in a tree, as far as it can be read.
pub(crate) fn size(root: &Path) -> u64 {
    let mut bytes = 0;
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        } else {
            bytes += metadata.len();
        }
    }
    bytes
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Makes the content of a file or the names in a folder durable.
pub(crate) fn sync(path: &Path) -> Result<(), StoreError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(StoreError::io("write", path))
}

/// Makes a file or a whole tree durable. What is gone or was replaced by something odd needs not be.
pub(crate) fn sync_all(root: &Path) -> Result<(), StoreError> {
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let file_type = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        if file_type.is_dir() {
            let entries = fs::read_dir(&path).map_err(StoreError::io("read", &path))?;
            open.extend(entries.flatten().map(|entry| entry.path()));
        }
        if file_type.is_dir() || file_type.is_file() {
            sync(&path)?;
        }
    }
    Ok(())
}
