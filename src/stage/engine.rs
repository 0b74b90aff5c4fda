//! How stages read the engine that another stage made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{self, BackendError, Engine, EngineManifest};
use crate::onnx::Model;

use super::{ResolvedInput, StageError};

/// The manifest's name in an engine's folder.
const MANIFEST: &str = "engine.json";
/// The format that is read.
const FORMAT: u32 = 1;

/// The folder of an engine and its manifest.
pub(super) fn manifest(input: &ResolvedInput) -> Result<(PathBuf, EngineManifest), StageError> {
    let damaged = |path: &Path, reason: String| BackendError::Load {
        path: path.display().to_string(),
        reason,
    };
    if !input.path.is_dir() {
        let is_model = Model::load(&input.path).is_ok();
        let found = if is_model { "an ONNX model (a `build` stage compiles it)" } else { "a file" };
        let reason = format!(
            "it is {found}; an engine is a folder with `{MANIFEST}` in it, such as \
             build/<pipeline>/<stage>"
        );
        return Err(damaged(&input.path, reason).into());
    }
    let path = input.path.join(MANIFEST);
    let text = fs::read(&path).map_err(StageError::io("read", &path))?;
    let manifest: EngineManifest =
        serde_json::from_slice(&text).map_err(|error| damaged(&path, error.to_string()))?;
    if manifest.format != FORMAT {
        let reason = format!("its format is {}, known is {FORMAT}", manifest.format);
        return Err(damaged(&path, reason).into());
    }
    Ok((input.path.clone(), manifest))
}

/// Loads an engine with the backend that made it.
pub(super) fn load(input: &ResolvedInput) -> Result<(EngineManifest, Arc<dyn Engine>), StageError> {
    let (folder, manifest) = manifest(input)?;
    let engine = backend::by_name(&manifest.backend)?.load(&folder, &manifest, None)?;
    Ok((manifest, engine))
}
