//! How stages read the engine that another stage made.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::{self, BackendError, Engine, EngineManifest, LoadOptions};
use crate::onnx::Model;

use super::{ResolvedInput, StageError};

/// The folder of an engine and its manifest.
pub(super) fn manifest(input: &ResolvedInput) -> Result<(PathBuf, EngineManifest), StageError> {
    if !input.path.is_dir() {
        let is_model = Model::load(&input.path).is_ok();
        let found = if is_model { "an ONNX model (a `build` stage compiles it)" } else { "a file" };
        let reason = format!(
            "it is {found}; an engine is a folder with `{}` in it, such as \
             build/<pipeline>/<stage>",
            EngineManifest::FILE
        );
        return Err(BackendError::Load { path: input.path.display().to_string(), reason }.into());
    }
    Ok((input.path.clone(), EngineManifest::read(&input.path)?))
}

/// Loads an engine with the backend that made it.
pub(super) fn load(input: &ResolvedInput) -> Result<(EngineManifest, Arc<dyn Engine>), StageError> {
    let (folder, manifest) = manifest(input)?;
    let engine =
        backend::by_name(&manifest.backend)?.load(&folder, &manifest, &LoadOptions::default())?;
    Ok((manifest, engine))
}
