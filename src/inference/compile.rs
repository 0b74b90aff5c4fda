//! [`compile`]: an engine's folder from a model, where no pipeline makes it.

use std::fs;
use std::io;
use std::path::Path;

use crate::backend::{self, BackendError, CompileRequest, EngineManifest, Profile, tensorrt};
use crate::process::CancelToken;
use crate::progress::NoProgress;
use crate::runtime::InferError;

/// Compiles an ONNX model with a backend's default settings into an empty or new folder, from which
/// [`super::Engine::load`] loads it. `profiles` are the ranges of shapes to build for, which
/// TensorRT needs where the model leaves axes open. A `build` stage does the same with settings, a
/// cache and checks.
pub fn compile(
    model: impl AsRef<Path>,
    backend: &str,
    profiles: &[Profile],
    folder: impl AsRef<Path>,
) -> Result<(), InferError> {
    let (model, folder) = (model.as_ref(), folder.as_ref());
    let failed = |path: &Path, error: &dyn std::fmt::Display| BackendError::Compile {
        model: model.display().to_string(),
        reason: format!("`{}`: {error}", path.display()),
    };
    let in_folder = |error: io::Error| failed(folder, &error);
    fs::create_dir_all(folder).map_err(in_folder)?;
    if fs::read_dir(folder).map_err(in_folder)?.next().is_some() {
        return Err(failed(folder, &"it is not empty; name a new folder").into());
    }
    let scratch = tempfile::tempdir().map_err(|error| failed(&std::env::temp_dir(), &error))?;
    let [work, kept] = ["work", "kept"].map(|name| scratch.path().join(name));
    for inner in [&work, &kept] {
        fs::create_dir(inner).map_err(|error| failed(inner, &error))?;
    }
    let manifest = backend::by_name(backend)?.compile(&CompileRequest {
        model,
        profiles,
        tensorrt: &tensorrt::Options::default(),
        files: &tensorrt::Files::default(),
        builds: 1,
        timeout: None,
        out: folder,
        scratch: &work,
        kept: &kept,
        progress: &NoProgress,
        cancel: &CancelToken::default(),
    })?;
    let path = folder.join(EngineManifest::FILE);
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| failed(&path, &error))?;
    Ok(fs::write(&path, text).map_err(|error| failed(&path, &error))?)
}
