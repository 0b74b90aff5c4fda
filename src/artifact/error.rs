//! [`StoreError`]: why a file could not be hashed or an artifact could not be stored.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be hashed or an artifact could not be stored.
///
/// Damage inside the store is not among them where a rebuild repairs it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused an operation on a file or folder.
    #[error("failed to {doing} `{}`", path.display())]
    Io {
        /// The verb: `read`, `write`, ...
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file was written to while it was read.
    #[error("`{}` kept changing while it was hashed", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// Something that cannot be part of an input or artifact.
    #[error("`{}` is {what}, not a regular file", path.display())]
    NotRegular {
        /// What stands there.
        path: PathBuf,
        /// What it is, with its article: `a symbolic link`, ...
        what: &'static str,
    },
    /// What should be stored is no folder.
    #[error("`{}` is {what}, not a folder", path.display())]
    NotFolder {
        /// What stands there.
        path: PathBuf,
        /// What it is, with its article.
        what: &'static str,
    },
    /// A link to a folder that it is in.
    #[error("`{}` leads back to a folder that it is in", path.display())]
    LinkLoop {
        /// The link.
        path: PathBuf,
    },
    /// An input folder with the store inside: it changes while stages run.
    #[error("the folder `{}` contains the cache `{}`", path.display(), root.display())]
    ContainsStore {
        /// The input.
        path: PathBuf,
        /// The store's folder.
        root: PathBuf,
    },
    /// The store's folder holds other things.
    #[error("`{}` is not empty and is no cache", root.display())]
    NotAStore {
        /// The folder.
        root: PathBuf,
    },
    /// A name that cannot be written in a result.
    #[error("the name of `{}` is not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A stored file does not hold what it should.
    #[error("the stored file `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A folder to be stored that was not made by [`Store::scratch`](super::Store::scratch).
    #[error("`{}` is outside the scratch folders of the cache `{}`", path.display(), root.display())]
    OutsideScratch {
        /// The folder.
        path: PathBuf,
        /// The store's folder.
        root: PathBuf,
    },
    /// Something that is not ours stands where a link belongs.
    #[error("`{}` is in the way: it is not a symbolic link", path.display())]
    LinkObstructed {
        /// Where the link belongs.
        path: PathBuf,
    },
    /// A stage name that is no file name.
    #[error("`{name}` cannot be the name of a link")]
    LinkName {
        /// The name.
        name: String,
    },
    /// Other processes use the store, so nothing may be removed from it.
    #[error("the cache `{}` is in use by another process", root.display())]
    InUse {
        /// The store's folder.
        root: PathBuf,
    },
    /// The caller asked to stop while waiting for a lock.
    #[error("cancelled while waiting for another run to finish the same stage")]
    Cancelled,
}

impl StoreError {
    /// Pairs a system error with the verb and the path.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Io { source, doing, .. } => match (source.kind(), *doing) {
                (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => {
                    "free some space (`trt-pipeline cache gc` removes what nothing refers to), or \
                     put the cache elsewhere with `--cache-dir`"
                }
                (io::ErrorKind::ReadOnlyFilesystem, _)
                | (io::ErrorKind::PermissionDenied, "write" | "create" | "lock" | "remove") => {
                    "put the cache where you may write, with `--cache-dir` or TRT_PIPELINE_CACHE"
                }
                (io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory, "create") => {
                    "something that is no folder is in the way: move it away, or put the cache \
                     elsewhere with `--cache-dir`"
                }
                (io::ErrorKind::PermissionDenied, _) => "check the permissions of the path",
                _ => return None,
            },
            Self::Changing { .. } => "wait until the program that writes the file is done",
            Self::NotRegular { .. } => {
                "inputs and artifacts are made of regular files, each with one name: copy what the \
                 link points to, and leave out sockets, pipes and devices"
            }
            Self::LinkLoop { .. } => "remove the link",
            Self::ContainsStore { .. } => {
                "name the folder in it that is needed, or put the cache elsewhere with `--cache-dir`"
            }
            Self::NotAStore { .. } => "name a folder that is new, empty or a cache already",
            Self::NotUtf8 { .. } => "rename the file",
            Self::Damaged { .. } => {
                "run the pipeline again: the stage that made the file is rebuilt"
            }
            Self::LinkObstructed { .. } => "move it away, then run again",
            Self::InUse { .. } => "wait until the running `trt-pipeline` commands are done",
            Self::NotFolder { .. }
            | Self::OutsideScratch { .. }
            | Self::LinkName { .. }
            | Self::Cancelled => return None,
        };
        Some(text.to_owned())
    }
}
