//! [`OnnxError`]: why a file is not a model; [`Defect`] says what is wrong inside.

use std::io;
use std::path::{Path, PathBuf};

use super::batch::BatchProblem;
use super::check::Defect;
use super::extract::ExtractProblem;
use super::file_type::FileType;
use super::opset::OpsetProblem;

/// Why a model is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// A file could not be read or written.
    #[error("failed to {doing} `{}`: {source}", path.display())]
    Io {
        /// The verb: `read`, `write`, ...
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("`{}` is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("`{}` is not an ONNX model: it looks like {found}", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: FileType,
    },
    /// The file ends before its content does.
    #[error("`{}` is truncated: it has {size} bytes, its content needs at least {needed}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes in the file.
        size: u64,
        /// Bytes that the content needs.
        needed: u64,
    },
    /// The bytes are not the protobuf message of a model.
    #[error("`{}` is not an ONNX model: {reason}", path.display())]
    NotProtobuf {
        /// The file.
        path: PathBuf,
        /// Where decoding stopped.
        reason: String,
    },
    /// The model has no graph.
    #[error("`{}` has no graph: nothing to run", path.display())]
    NoGraph {
        /// The file.
        path: PathBuf,
    },
    /// A folder without an ONNX file.
    #[error("folder `{}` holds no .onnx file", folder.display())]
    NoModelInFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder with several ONNX files.
    #[error("folder `{}` holds several .onnx files: {}", folder.display(), names_text(files))]
    SeveralModelsInFolder {
        /// The folder.
        folder: PathBuf,
        /// Their names, sorted.
        files: Vec<String>,
    },
    /// External data that is not usable.
    #[error("`{}`: tensor `{tensor}`: {problem}", model.display())]
    ExternalData {
        /// The model file.
        model: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        problem: ExternalProblem,
    },
    /// A tensor whose values cannot be read.
    #[error("`{}`: tensor `{tensor}`: {reason}", model.display())]
    Values {
        /// The model file.
        model: PathBuf,
        /// The tensor.
        tensor: String,
        /// Why.
        reason: String,
    },
    /// A node that stands in the way of what was asked for.
    #[error("`{}`: node `{node}` ({op}): {reason}", model.display())]
    Refused {
        /// The model file.
        model: PathBuf,
        /// The node's name, or its first output where it has none.
        node: String,
        /// Its operator.
        op: String,
        /// Why it is in the way.
        reason: String,
        /// What to do.
        help: String,
    },
    /// A part cannot be cut out of the model.
    #[error("`{}`: {problem}", path.display())]
    Extract {
        /// The model file.
        path: PathBuf,
        /// What stands in the way.
        problem: ExtractProblem,
    },
    /// The model's batch size cannot be changed.
    #[error("`{}` cannot take another batch size: {problem}", path.display())]
    Batch {
        /// The model file.
        path: PathBuf,
        /// What stands in the way.
        problem: BatchProblem,
    },
    /// The model cannot be brought to another opset.
    #[error("`{}` cannot be brought from opset {from} to {to}: {problem}", path.display())]
    Opset {
        /// The model file.
        path: PathBuf,
        /// The model's opset.
        from: i64,
        /// The one that was asked for.
        to: i64,
        /// What stands in the way.
        problem: Box<OpsetProblem>,
    },
    /// The model breaks rules of the standard, or uses what is not supported. Sorted, never empty.
    #[error("`{}` is not usable: {}", path.display(), defects_text(defects))]
    Defects {
        /// The model file.
        path: PathBuf,
        /// Everything that was found.
        defects: Vec<Defect>,
    },
}

/// What is wrong with a tensor's external data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ExternalProblem {
    /// No location is given.
    #[error("external data without a location")]
    NoLocation,
    /// Offset or length is not a number.
    #[error("external data has the {key} `{value}`, which is not a byte count")]
    NotANumber {
        /// `offset` or `length`.
        key: &'static str,
        /// What stands there.
        value: String,
    },
    /// The location is absolute, has `..`, or leads out of the model's folder through a symlink.
    #[error("external data `{location}` is outside the model's folder")]
    Escapes {
        /// The location as written.
        location: String,
    },
    /// The file is not there.
    #[error("external data file `{location}` is missing")]
    Missing {
        /// The location as written.
        location: String,
    },
    /// The location is not a regular file.
    #[error("external data `{location}` is not a regular file")]
    NotAFile {
        /// The location as written.
        location: String,
    },
    /// The file ends too early.
    #[error("external data file `{location}` has {found} bytes, the tensor needs {needed}")]
    TooShort {
        /// The location as written.
        location: String,
        /// Bytes up to the tensor's end.
        needed: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// The model tells another length than the tensor has.
    #[error(
        "external data in `{location}` is {found} bytes long by its `length`, the tensor needs {needed}"
    )]
    OtherLength {
        /// The location as written.
        location: String,
        /// Bytes of the tensor.
        needed: u64,
        /// What the model says.
        found: u64,
    },
}

const SHOWN: usize = 10;

fn names_text(names: &[String]) -> String {
    match names.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{}, and {more} more", names[..SHOWN].join(", ")),
    }
}

fn defects_text(defects: &[Defect]) -> String {
    if let [only] = defects {
        return only.to_string();
    }
    let mut text = format!("{} problems", defects.len());
    for defect in defects.iter().take(SHOWN) {
        text.push_str("\n  - ");
        text.push_str(&defect.to_string());
    }
    if defects.len() > SHOWN {
        text.push_str("\n  - and ");
        text.push_str(&(defects.len() - SHOWN).to_string());
        text.push_str(" more");
    }
    text
}

impl OnnxError {
    /// Pairs a system error with the file and the verb.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::OtherFile { found, .. } => found.help().map(str::to_owned),
            Self::Truncated { .. } | Self::Empty { .. } => {
                Some("copy or download the file again; an interrupted transfer leaves this".into())
            }
            Self::NotProtobuf { .. } | Self::NoGraph { .. } => {
                Some("export the model to ONNX, for example with torch.onnx.export".into())
            }
            Self::NoModelInFolder { .. } => Some("name the .onnx file itself".into()),
            Self::SeveralModelsInFolder { .. } => Some("name one of them".into()),
            Self::ExternalData { problem, .. } => Some(problem.help().to_owned()),
            Self::Defects { defects, .. } => defects.iter().find_map(Defect::help),
            Self::Refused { help, .. } => Some(help.clone()),
            Self::Extract { problem, .. } => problem.help(),
            Self::Batch { problem, .. } => Some(problem.help()),
            Self::Opset { problem, .. } => Some(problem.help()),
            Self::Io { .. } | Self::Values { .. } => None,
        }
    }
}

impl ExternalProblem {
    /// What the user can do next.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::TooShort { .. } | Self::NotAFile { .. } => {
                "keep the external data files that the exporter wrote beside the .onnx file"
            }
            Self::Escapes { .. }
            | Self::NoLocation
            | Self::NotANumber { .. }
            | Self::OtherLength { .. } => {
                "save the model again with its external data in the same folder"
            }
        }
    }
}
