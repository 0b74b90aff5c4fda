//! [`InstallError`]: why a runtime was not installed.

use std::io;
use std::path::{Path, PathBuf};

/// Why a runtime was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Packages come through Python's installer.
    #[error("there is no python3 in PATH, and packages are downloaded with it")]
    NoPython,
    /// Python has no installer.
    #[error("`{}` has no pip, and packages are downloaded with it", python.display())]
    NoPip {
        /// The program.
        python: PathBuf,
    },
    /// The packages are for other processors.
    #[error("the packages are for x86_64, and this machine is {}", std::env::consts::ARCH)]
    WrongMachine,
    /// Another process is at it.
    #[error("another process is installing into `{}`", folder.display())]
    Busy {
        /// Its unfinished folder.
        folder: PathBuf,
    },
    /// The disk is too full.
    #[error(
        "`{}` has {} MiB free, and {} MiB are needed until all is unpacked",
        folder.display(), free >> 20, needed >> 20
    )]
    NoSpace {
        /// A folder on the disk.
        folder: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The package was not downloaded.
    #[error("pip {ending} and did not download {package}{}", shown(output))]
    Download {
        /// What it was asked for.
        package: &'static str,
        /// How it ended, such as `exited with status 1`.
        ending: String,
        /// The last lines it wrote.
        output: String,
    },
    /// What was downloaded is not the package that was tested.
    #[error("`{file}` is not the file that was asked for: its SHA-256 is {found}, not {expected}")]
    Digest {
        /// The file's name.
        file: &'static str,
        /// What its digest should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The package cannot be unpacked.
    #[error("failed to unpack `{file}`: {reason}")]
    Archive {
        /// The file's name.
        file: &'static str,
        /// Why.
        reason: String,
    },
    /// What was unpacked is not the library it should be.
    #[error("the packages do not hold {wanted}: {found}")]
    Unusable {
        /// Product and version.
        wanted: String,
        /// What was found instead.
        found: String,
    },
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
    /// The user asked to stop.
    #[error("stopped; nothing was installed")]
    Cancelled {
        /// Where complete downloads wait for the next try, if there are any.
        kept: Option<PathBuf>,
    },
}

fn shown(output: &str) -> String {
    let lines: Vec<String> = output.lines().map(|line| format!("\n  | {line}")).collect();
    if lines.is_empty() { String::new() } else { format!("; its last output:{}", lines.concat()) }
}

impl InstallError {
    /// Pairs a system error with the verb and the path.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }

    /// The error, knowing which folder of complete downloads was kept.
    pub(super) fn keeping(self, kept: Option<PathBuf>) -> Self {
        if let Self::Cancelled { .. } = self { Self::Cancelled { kept } } else { self }
    }

    /// Whether something has to be installed on this machine first.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::NoPython | Self::NoPip { .. } | Self::WrongMachine)
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoPython => "install Python 3 with pip, such as `apt install python3-pip`".into(),
            Self::NoPip { python } => format!(
                "install pip, such as `apt install python3-pip` or `{} -m ensurepip`",
                python.display()
            ),
            Self::WrongMachine => {
                "install the library as its makers say, and name it with --tensorrt-lib or \
                 --onnxruntime-lib"
                    .into()
            }
            Self::Busy { .. } => "wait until it is done".into(),
            Self::NoSpace { .. } => {
                "free some space, or install into a folder on another disk with --dir".into()
            }
            Self::Download { .. } => {
                "check the network, and pip's settings for a mirror or a proxy; what was \
                 downloaded completely is not downloaded again"
                    .into()
            }
            Self::Digest { .. } => {
                "try again; if it stays so, the mirror that pip uses changed the file".into()
            }
            Self::Archive { .. } | Self::Unusable { .. } => "try again".into(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space, or install into a folder on another disk with --dir".into()
            }
            Self::Io { .. } => "install into a folder that you may write to, with --dir".into(),
            Self::Cancelled { kept: None } => return None,
            Self::Cancelled { kept: Some(kept) } => format!(
                "the next try goes on with the downloads in `{}`; delete that folder if there is \
                 none",
                kept.display()
            ),
        })
    }
}
