//! [`EngineManifest`]: the format of `engine.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::tensor::TensorSpec;

use super::{BackendError, Profile, regular, tensorrt};

/// An engine on disk, as its `engine.json` describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineManifest {
    /// Format of this file.
    pub format: u32,
    /// The backend that made the engine and can load it.
    pub backend: String,
    /// The engine's file, relative to this one.
    pub file: PathBuf,
    /// Inputs in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs in the model's order.
    pub outputs: Vec<TensorSpec>,
    /// Optimization profiles; empty where any shape the model allows will do.
    pub profiles: Vec<Profile>,
    /// The library that runs the engine, where it is none of this program's own: its version and
    /// build. Results are those of that library.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub library: BTreeMap<String, String>,
    /// What made it, for which GPU and how; only engines of TensorRT have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensorrt: Option<tensorrt::EngineFacts>,
}

impl EngineManifest {
    /// The manifest's name in an engine's folder.
    pub const FILE: &'static str = "engine.json";
    /// The format that is read and written.
    pub const FORMAT: u32 = 1;

    /// Reads the manifest in an engine's folder.
    pub fn read(folder: &Path) -> Result<Self, BackendError> {
        let path = folder.join(Self::FILE);
        let damaged = |reason: String| BackendError::Load {
            path: path.display().to_string(),
            reason: format!("{reason}; build the engine again"),
        };
        let text = regular::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BackendError::Load {
                path: folder.display().to_string(),
                reason: format!(
                    "there is no `{}` in it; name the folder that a `build` stage made",
                    Self::FILE
                ),
            },
            _ => damaged(error.to_string()),
        })?;
        let unreadable = |error: serde_json::Error| damaged(error.to_string());
        let Version { format } = serde_json::from_slice(&text).map_err(unreadable)?;
        if format != Self::FORMAT {
            return Err(damaged(format!("its format is {format}, known is {}", Self::FORMAT)));
        }
        let manifest: Self = serde_json::from_slice(&text).map_err(unreadable)?;
        match manifest.contradiction() {
            Some(reason) => Err(damaged(reason)),
            None => Ok(manifest),
        }
    }

    /// What no backend writes: a file outside the folder, a name twice.
    fn contradiction(&self) -> Option<String> {
        let mut parts = self.file.components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            let file = self.file.display();
            return Some(format!("its `file` is `{file}`, which is no name of a file beside it"));
        }
        let mut seen = BTreeSet::new();
        let twice =
            self.inputs.iter().chain(&self.outputs).find(|tensor| !seen.insert(&tensor.name));
        twice.map(|tensor| format!("it lists `{}` twice", tensor.name))
    }
}

/// What every format has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}
