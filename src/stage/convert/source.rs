//! What a model file is, by its content.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What people keep models in.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    Onnx,
    TorchScript,
    ExportedProgram,
    TorchStateDict,
    TorchModule,
    Safetensors,
    SavedModel,
    GraphDef,
    Keras,
    Engine,
}

/// Looks at a file or folder; `None` where nothing known fits.
pub fn detect(path: &Path) -> Option<SourceModel> {
    SourceModel::of(path)
}

/// What a model is, and what tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceModel {
    /// What it is.
    pub kind: SourceKind,
    /// What in the file tells it.
    pub why: String,
}

impl SourceModel {
    fn of(path: &Path) -> Option<Self> {
        let found = |kind, why: &str| Some(Self { kind, why: why.to_owned() });
        if path.is_dir() {
            let saved = path.join("saved_model.pb");
            return saved
                .is_file()
                .then(|| found(SourceKind::SavedModel, "it has a saved_model.pb"))?;
        }
        let mut head = Vec::new();
        File::open(path).ok()?.take(16).read_to_end(&mut head).ok()?;
        match head.as_slice() {
            [b'p' | b'f' | b'v', b't', b'r', b't', ..] => {
                found(SourceKind::Engine, "its magic number")
            }
            [b'P', b'K', 3, 4, ..] => found(SourceKind::TorchScript, "a zip"),
            [0x80, 2..=5, ..] => found(SourceKind::TorchStateDict, "a pickle"),
            [0x89, b'H', b'D', b'F', ..] => found(SourceKind::Keras, "HDF5"),
            _ if head.get(8..10) == Some(b"{\"") => found(SourceKind::Safetensors, "its header"),
            [0x08, ..] => found(SourceKind::Onnx, "its first field"),
            _ => None,
        }
    }
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
            Self::TorchScript => "a TorchScript model",
            Self::ExportedProgram => "a program of torch.export",
            Self::TorchStateDict => "a file of PyTorch weights",
            Self::TorchModule => "pickled Python objects of PyTorch",
            Self::Safetensors => "a safetensors file",
            Self::SavedModel => "a TensorFlow SavedModel",
            Self::GraphDef => "a frozen TensorFlow graph",
            Self::Keras => "a Keras model",
            Self::Engine => "a TensorRT engine",
        })
    }
}
