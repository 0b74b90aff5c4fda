//! [`SourceModelError`]: why something is not taken for a model.

use std::io;
use std::path::{Path, PathBuf};

use crate::onnx::{FileType, OnnxError};

/// Why something is not taken for a model.
#[derive(Debug, thiserror::Error)]
pub enum SourceModelError {
    /// It could not be read.
    #[error("failed to read `{}`: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is a pipe, a socket or a device.
    #[error("`{}` is neither a file nor a folder", path.display())]
    NotRegular {
        /// What is there.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error("`{}` is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else that is known.
    #[error("`{}` is not a model that can be converted: it looks like {found}", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: FileType,
    },
    /// The file is of a known format and broken.
    #[error("`{}` looks like {what}, but is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The format.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The format is known and sound, but no model is in it.
    #[error("`{}` is {what}, but no model: {reason}", path.display())]
    NoModel {
        /// The file.
        path: PathBuf,
        /// The format.
        what: &'static str,
        /// What there is, and what is missing.
        reason: String,
        /// What to do.
        help: String,
    },
    /// Nothing known fits.
    #[error("`{}` is no model of a known format", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// A folder without a model.
    #[error("folder `{}` holds no model: no .onnx file and no saved_model.pb", folder.display())]
    NoModelInFolder {
        /// The folder.
        folder: PathBuf,
        /// A file in it that may be one.
        candidate: Option<String>,
    },
    /// What is wrong with it as an ONNX model.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
}

impl SourceModelError {
    /// Pairs a system error with the file.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } => return None,
            Self::NotRegular { .. } => "name a file, or the folder of a SavedModel".into(),
            Self::Empty { .. } | Self::Damaged { .. } => {
                "copy or download the file again; an interrupted transfer leaves this".into()
            }
            Self::OtherFile { found, .. } => return found.help().map(str::to_owned),
            Self::NoModel { help, .. } => help.clone(),
            Self::Unknown { .. } => {
                "ONNX, TorchScript, torch.export, PyTorch state dicts, safetensors, SavedModel, \
                 frozen TensorFlow graphs and Keras models are known"
                    .into()
            }
            Self::NoModelInFolder { candidate: Some(name), .. } => {
                format!("`{name}` may be what you mean: name the file itself")
            }
            Self::NoModelInFolder { .. } => "name the model's file itself".into(),
            Self::Onnx(error) => return error.help(),
        })
    }
}
