//! What a file or folder that people have of a model is: found by content, told in words.
//!
//! Owns what is known of the formats of other frameworks, read without those frameworks: names and
//! small members of archives, the opcodes of pickles, the outer fields of protobuf messages, JSON
//! headers. Every file is taken for hostile: nothing is unpickled or unpacked, and all that is read
//! is bounded. Knows nothing of stages, or of how a model is converted.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod archive;
mod describe;
mod detect;
mod error;
mod exported;
mod graph;
mod pickle;
mod safetensors;
mod saved;
#[cfg(test)]
mod tests;
mod torch;
mod wire;

pub use describe::{Description, NamedTensor, Signature, Tensors};
pub use detect::{detect, is_named_as_other};
pub use error::SourceModelError;

/// What a model is, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceModel {
    /// The kind, found by content.
    pub kind: SourceKind,
    /// What in the content says so, as the end of "because ...".
    pub why: String,
    /// The file, or the folder of a `SavedModel`.
    pub path: PathBuf,
}

/// A kind of source model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// An ONNX model.
    Onnx,
    /// A `TorchScript` program: code and weights.
    TorchScript,
    /// What `torch.export.save` writes: a graph and weights.
    ExportedProgram,
    /// Weights by name that `torch.save` wrote; the code is elsewhere.
    TorchStateDict,
    /// Python objects that `torch.save` wrote: loading them runs what the file says.
    TorchModule,
    /// Weights by name in a safetensors file; the code is elsewhere.
    Safetensors,
    /// A folder that TensorFlow or Keras exported.
    SavedModel,
    /// A TensorFlow graph in one file, its weights frozen in it.
    GraphDef,
    /// A Keras model: a `.keras` archive or an HDF5 file.
    Keras,
    /// A compiled engine.
    Engine,
}

impl SourceKind {
    /// Whether `convert` takes it.
    pub fn is_convertible(self) -> bool {
        !matches!(self, Self::TorchModule | Self::Engine)
    }

    /// Whether it holds weights alone, so that the code must be told.
    pub fn is_weights_only(self) -> bool {
        matches!(self, Self::TorchStateDict | Self::Safetensors)
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Onnx => "an ONNX model",
            Self::TorchScript => "a TorchScript program",
            Self::ExportedProgram => "a torch.export program",
            Self::TorchStateDict => "a PyTorch state dict",
            Self::TorchModule => "pickled Python objects of PyTorch",
            Self::Safetensors => "a safetensors file",
            Self::SavedModel => "a TensorFlow SavedModel",
            Self::GraphDef => "a frozen TensorFlow graph",
            Self::Keras => "a Keras model",
            Self::Engine => "an engine",
        })
    }
}

impl SourceModel {
    /// Whether a folder has the file that makes it a `SavedModel`.
    pub fn is_saved_model(folder: &Path) -> bool {
        fs::metadata(folder.join(detect::SAVED_MODEL)).is_ok_and(|found| found.is_file())
    }

    /// What `convert` needs for it, or why it does not take it and what to do. `written` is the
    /// path as the user has it.
    pub fn needs(&self, written: &str) -> String {
        let model = yaml_text(written);
        match self.kind {
            SourceKind::Onnx => format!("`convert: {{ model: {model} }}` takes it as it is"),
            SourceKind::TorchScript => format!(
                "`convert: {{ model: {model}, inputs: {{ NAME: {{ shape: [..] }} }} }}`, with the \
                 inputs in the order of `forward`: the program does not tell their shapes"
            ),
            SourceKind::ExportedProgram => {
                format!("`convert: {{ model: {model} }}`: the program tells its inputs")
            }
            SourceKind::TorchStateDict | SourceKind::Safetensors => format!(
                "`convert: {{ model: {model}, module: FILE.py, factory: NAME, inputs: {{ NAME: {{ \
                 shape: [..] }} }} }}`: these are weights alone, and `factory` is the function or \
                 class in `module` that makes the network they belong to"
            ),
            SourceKind::TorchModule => "`convert` does not take it, because loading it runs \
                 whatever the file says: in the Python that wrote it, save \
                 `torch.save(model.state_dict(), ..)` for use with `module:` and `factory:`, or \
                 `torch.export.save(torch.export.export(model, inputs), ..)`"
                .to_owned(),
            SourceKind::SavedModel => format!(
                "`convert: {{ model: {model} }}`, with `signature: NAME` where it has several"
            ),
            SourceKind::GraphDef => format!(
                "`convert: {{ model: {model}, outputs: [NAME, ..] }}`: a graph does not tell which \
                 nodes are its outputs"
            ),
            SourceKind::Keras => format!("`convert: {{ model: {model} }}`"),
            SourceKind::Engine => {
                format!(
                    "an engine needs no conversion: use `from: {{ file: {model}, kind: engine }}`"
                )
            }
        }
    }
}

/// A text as it stands in a YAML flow mapping.
fn yaml_text(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    if text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '.' | '/' | '_'))
        && text.chars().all(plain)
    {
        return text.to_owned();
    }
    serde_json::to_string(text).unwrap_or_else(|_| text.to_owned())
}

/// A name out of a file as it may be shown: short and without control characters.
fn shown(name: &str) -> String {
    const LONGEST: usize = 120;
    let mut text: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push_str("..");
    }
    text
}

/// The first few names as they may be shown, in backquotes.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const MOST: usize = 4;
    let more = names.len().saturating_sub(MOST);
    let mut text: Vec<String> = names.take(MOST).map(|name| format!("`{}`", shown(name))).collect();
    if more > 0 {
        text.push(format!("and {more} more"));
    }
    text.join(", ")
}
