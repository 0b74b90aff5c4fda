//! [`FileError`]: why a file is no shared library of this machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Wanted;

/// Why a file is no shared library of this machine.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FileError {
    /// There is nothing at the path.
    #[error("there is no file or folder `{}`", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The system refused to read it.
    #[error("failed to read `{}`: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// Another sort of file.
    #[error("`{}` is {what}, not a shared library", path.display())]
    NotShared {
        /// The file.
        path: PathBuf,
        /// What it is, with its article.
        what: &'static str,
    },
    /// A library for other processors.
    #[error("`{}` is for {found}, and this program is for {}", path.display(), std::env::consts::ARCH)]
    WrongMachine {
        /// The file.
        path: PathBuf,
        /// The processors.
        found: String,
    },
    /// The file ends too early.
    #[error("`{}` is cut off: it has {bytes} bytes of {needed} or more", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// What its own header asks for.
        needed: u64,
    },
    /// What its header says does not fit together.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

impl FileError {
    /// Pairs a system error with the path.
    pub(in crate::backend) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path: path.to_owned() },
            _ => Self::Read { path: path.to_owned(), source: Arc::new(source) },
        }
    }

    /// What the user can do next.
    pub(in crate::backend) fn help(&self, wanted: &Wanted) -> String {
        match self {
            Self::Missing { .. } => format!("name {} or the folder that holds it", wanted.names),
            Self::Read { .. } => "check the permissions of the path".into(),
            Self::NotShared { .. } => format!(
                "name the library itself, such as `{}`, or its folder; a wheel or an archive has \
                 to be unpacked first",
                wanted.example
            ),
            Self::WrongMachine { .. } => format!(
                "install {} for {} Linux, or name another library",
                wanted.product,
                std::env::consts::ARCH
            ),
            Self::Truncated { .. } | Self::Damaged { .. } => {
                "install it again: a download or a copy did not finish".into()
            }
        }
    }
}
