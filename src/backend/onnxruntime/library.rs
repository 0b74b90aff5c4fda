//! The library of the process: found, loaded once, and never unloaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;

use crate::backend::BackendError;
use crate::backend::contain::contained;

use super::log;

/// The library's environment; every session is made in it.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// The environment of the process. The library that is found at the first call stays for good.
pub(super) fn environment() -> Result<&'static Environment, BackendError> {
    static LOADING: Mutex<()> = Mutex::new(());
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let path = find()?;
    let load = || load(&path);
    let environment =
        contained(super::NAME, load).flatten().map_err(|reason| BackendError::Unavailable {
            backend: super::NAME.to_owned(),
            reason: format!("failed to load `{}`: {reason}", path.display()),
            help: HELP.to_owned(),
        })?;
    Ok(ENVIRONMENT.get_or_init(|| environment))
}

const HELP: &str = "name a library with TRT_PIPELINE_ONNXRUNTIME";

fn load(path: &Path) -> Result<Environment, String> {
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    let environment = builder
        .with_name("trt-pipeline")
        .with_telemetry(false)
        .with_logger(log::logger())
        .build()
        .map_err(|error| error.to_string())?;
    environment.set_log_level(log::level());
    Ok(environment)
}

/// What of the library goes into a cache key. It is not loaded.
pub(super) fn tool_facts() -> Result<BTreeMap<String, String>, BackendError> {
    let path = find()?;
    let unreadable = |error: std::io::Error| BackendError::Unavailable {
        backend: super::NAME.to_owned(),
        reason: format!("failed to read `{}`: {error}", path.display()),
        help: HELP.to_owned(),
    };
    let file = std::fs::File::open(&path).map_err(unreadable)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(unreadable)?;
    let build = hasher.finalize().to_hex().to_string();
    Ok(BTreeMap::from([("onnxruntime_build".to_owned(), build)]))
}

/// The library that `TRT_PIPELINE_ONNXRUNTIME` names, or the one in that folder.
fn find() -> Result<PathBuf, BackendError> {
    let missing = |reason: String| BackendError::Unavailable {
        backend: super::NAME.to_owned(),
        reason,
        help: HELP.to_owned(),
    };
    let named = std::env::var_os("TRT_PIPELINE_ONNXRUNTIME")
        .filter(|value| !value.is_empty())
        .ok_or_else(|| missing("TRT_PIPELINE_ONNXRUNTIME is not set".to_owned()))?;
    let named = PathBuf::from(named);
    if !named.is_dir() {
        return Ok(named);
    }
    let entries = std::fs::read_dir(&named).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("libonnxruntime.so")
        })
        .collect();
    files.sort();
    files.pop().ok_or_else(|| missing(format!("`{}` has no `libonnxruntime.so`", named.display())))
}

/// Whether there is a library.
#[cfg(test)]
pub(super) fn is_here() -> bool {
    find().is_ok()
}
