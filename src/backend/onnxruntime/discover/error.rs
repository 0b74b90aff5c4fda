//! Why a library cannot be used, and why none was found.

use std::path::PathBuf;

use crate::backend::BackendError;
use crate::backend::library::FileError;
use crate::backend::onnxruntime::NAME;

use super::{Looked, OLDEST_MINOR, ONNXRUNTIME};

/// Why a file is not an ONNX Runtime that can be used here.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LibraryError {
    /// The file is no shared library of this machine.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder without it.
    #[error("the folder `{}` has no `libonnxruntime.so.*`", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A library of something else.
    #[error("`{}` is not ONNX Runtime: it has no symbol `OrtGetApiBase`", path.display())]
    NotOnnxRuntime {
        /// The file.
        path: PathBuf,
    },
    /// Neither the file nor its name says its version.
    #[error("`{}` does not say of which version it is", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
    },
    /// A version without what is called.
    #[error("`{}` is ONNX Runtime {version}; those from 1.{OLDEST_MINOR} on, before 2, can be used", path.display())]
    WrongVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
}

impl LibraryError {
    /// What the user can do next.
    pub fn help(&self) -> String {
        match self {
            Self::File(error) => error.help(&ONNXRUNTIME),
            Self::EmptyFolder { .. } | Self::NotOnnxRuntime { .. } => {
                format!("name {} or the folder that holds it", ONNXRUNTIME.names)
            }
            Self::UnknownVersion { .. } => {
                format!("call the file by its version, such as `{}`", ONNXRUNTIME.example)
            }
            Self::WrongVersion { .. } => {
                "`trt-pipeline runtime install onnxruntime` installs one that can".into()
            }
        }
    }
}

/// Why there is no ONNX Runtime to use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DiscoverError {
    /// A place that was named holds nothing that can be used.
    #[error("{source} (named by {place})")]
    Named {
        /// Who named it.
        place: &'static str,
        /// Why it cannot be used.
        source: LibraryError,
    },
    /// Nothing that can be used is anywhere.
    #[error("no library was found that can be used:{}", listed(searched))]
    NotFound {
        /// Every place, in the order of search.
        searched: Vec<Looked>,
    },
}

fn listed(searched: &[Looked]) -> String {
    let line = |place: &str, what: &dyn std::fmt::Display| format!("\n  {place}: {what}");
    let lines = searched.iter().flat_map(|looked| {
        let errors = looked.libraries.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
        let mut lines: Vec<String> = errors.map(|error| line(looked.phrase(), error)).collect();
        if lines.is_empty() {
            lines.push(line(looked.phrase(), &looked.note));
        }
        lines
    });
    lines.collect()
}

impl DiscoverError {
    /// What the user can do next.
    pub fn help(&self) -> String {
        match self {
            Self::Named { source, .. } => source.help(),
            Self::NotFound { .. } => {
                "`trt-pipeline runtime install onnxruntime` installs it, `pip install onnxruntime` \
                 as well; or name a library with --onnxruntime-lib or TRT_PIPELINE_ONNXRUNTIME; \
                 `trt-pipeline doctor` shows what is here"
                    .into()
            }
        }
    }
}

impl From<DiscoverError> for BackendError {
    fn from(error: DiscoverError) -> Self {
        Self::Unavailable {
            backend: NAME.to_owned(),
            reason: error.to_string(),
            help: error.help(),
        }
    }
}

impl From<LibraryError> for BackendError {
    fn from(error: LibraryError) -> Self {
        Self::Unavailable {
            backend: NAME.to_owned(),
            reason: error.to_string(),
            help: error.help(),
        }
    }
}
