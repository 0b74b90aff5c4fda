//! [`Description`]: what a source model tells of itself without the framework that made it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde::Serialize;

use super::archive::Archive;
use super::detect::SAVED_MODEL;
use super::error::SourceModelError;
use super::graph::Graph;
use super::saved::Saved;
use super::wire::{Wire, WireError};
use super::{SourceKind, SourceModel, exported, listed, safetensors, shown, torch};

/// What a source model tells of itself.
#[derive(Debug, Default, Serialize)]
pub struct Description {
    /// What is known of it, by label.
    pub facts: BTreeMap<&'static str, String>,
    /// What it can be called with, sorted by name.
    pub signatures: Vec<Signature>,
    /// The weights, where the file lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<Tensors>,
}

/// A way to call a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// What `signature:` may say.
    pub name: String,
    /// What TensorFlow says it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What it takes.
    pub inputs: Vec<NamedTensor>,
    /// What it gives.
    pub outputs: Vec<NamedTensor>,
}

/// A tensor as a source model tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedTensor {
    /// Its name.
    pub name: String,
    /// The element type, as the format calls it.
    pub dtype: String,
    /// Its extents; null for those that are only known when it runs, or where not even their
    /// number is known.
    pub shape: Option<Vec<Option<u64>>>,
}

/// The weights of a file.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tensors {
    /// Number of tensors.
    pub count: u64,
    /// Number of elements of all.
    pub elements: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// Number of tensors by element type.
    pub dtypes: BTreeMap<String, u64>,
    /// The first tensors, sorted by name.
    pub listed: Vec<NamedTensor>,
}

impl NamedTensor {
    /// The extents as people read them.
    pub fn dims_text(&self) -> String {
        let Some(shape) = &self.shape else { return "unknown".into() };
        let dim = |dim: &Option<u64>| dim.map_or("?".to_owned(), |extent| extent.to_string());
        format!("[{}]", shape.iter().map(dim).collect::<Vec<_>>().join(", "))
    }
}

impl Tensors {
    /// How many there are of each element type, as people read it.
    pub fn dtypes_text(&self) -> String {
        let text = |(dtype, count): (&String, &u64)| format!("{count} {}", shown(dtype));
        self.dtypes.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

impl SourceModel {
    /// Reads what the model tells of itself: outer fields, headers and small members only.
    pub fn describe(&self) -> Result<Description, SourceModelError> {
        let mut description = Description::default();
        match self.kind {
            SourceKind::SavedModel => self.saved_model(&mut description)?,
            SourceKind::GraphDef => self.graph(&mut description)?,
            SourceKind::Safetensors => {
                let tensors = safetensors::read(self.open(&self.path)?)
                    .map_err(|error| self.damaged(&error))?;
                description.tensors = Some(tensors);
            }
            SourceKind::TorchScript | SourceKind::ExportedProgram | SourceKind::Keras => {
                self.archive(&mut description)?;
            }
            SourceKind::Onnx
            | SourceKind::TorchStateDict
            | SourceKind::TorchModule
            | SourceKind::Engine => {}
        }
        Ok(description)
    }

    fn saved_model(&self, description: &mut Description) -> Result<(), SourceModelError> {
        let file = self.path.join(SAVED_MODEL);
        let saved = self.walk(&file, Saved::read)?;
        description.facts.insert("tags", listed(saved.tags.iter().map(String::as_str)));
        if let Some(version) = saved.version {
            description.facts.insert("tensorflow", shown(&version));
        }
        if saved.graphs > 1 {
            description.facts.insert("graphs", saved.graphs.to_string());
        }
        description.signatures = saved.signatures;
        Ok(())
    }

    fn graph(&self, description: &mut Description) -> Result<(), SourceModelError> {
        let graph = self.walk(&self.path, Graph::read)?;
        description.facts.insert("nodes", graph.nodes.to_string());
        let output = |name| NamedTensor { name, dtype: "unknown".into(), shape: None };
        description.signatures = vec![Signature {
            name: "graph".into(),
            method: None,
            inputs: graph.placeholders,
            outputs: graph.ends.unwrap_or_default().into_iter().map(output).collect(),
        }];
        Ok(())
    }

    fn archive(&self, description: &mut Description) -> Result<(), SourceModelError> {
        let mut file = self.open(&self.path)?;
        if !is_zip(&mut file) {
            return Ok(());
        }
        let archive =
            Archive::open(file, torch::is_telling).map_err(|error| self.damaged(&error))?;
        match self.kind {
            SourceKind::TorchScript => {
                let method = exported::forward(&archive).map_err(|error| self.damaged(&error))?;
                description.facts.extend(method.map(|text| ("method", text)));
            }
            SourceKind::ExportedProgram => {
                let program = exported::program(&archive).map_err(|error| self.damaged(&error))?;
                description.signatures.extend(program);
            }
            _ => {
                let facts = exported::keras(&archive).map_err(|error| self.damaged(&error))?;
                description.facts.extend(facts);
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> Result<File, SourceModelError> {
        File::open(path).map_err(SourceModelError::io(path))
    }

    fn walk<T>(
        &self,
        path: &Path,
        read: fn(&mut Wire) -> Result<T, WireError>,
    ) -> Result<T, SourceModelError> {
        let mut wire = Wire::new(self.open(path)?).map_err(SourceModelError::io(path))?;
        read(&mut wire).map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, error: &dyn std::error::Error) -> SourceModelError {
        let what = match self.kind {
            SourceKind::SavedModel => "a TensorFlow SavedModel",
            SourceKind::GraphDef => "a TensorFlow graph",
            SourceKind::Safetensors => "a safetensors file",
            _ => "a zip archive",
        };
        SourceModelError::Damaged { path: self.path.clone(), what, reason: error.to_string() }
    }
}

/// Whether a file starts as an archive; it is at its start again then.
fn is_zip(file: &mut File) -> bool {
    use std::io::{Read as _, Seek as _};
    let mut mark = [0; 4];
    file.read_exact(&mut mark).is_ok() && file.rewind().is_ok() && mark == *b"PK\x03\x04"
}
