//! The library of the process: loaded once, and never unloaded.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;

use crate::backend::BackendError;
use crate::backend::contain::contained;

use super::{discover, log};

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
    let found = discover::find()?;
    let load = || load(&found.library);
    let environment = contained(super::NAME, load).flatten().map_err(|reason| {
        let help = "`trt-pipeline runtime install onnxruntime` installs one that was tested";
        BackendError::Unavailable {
            backend: super::NAME.to_owned(),
            reason: format!(
                "failed to load `{}` (from {}): {reason}",
                found.library.display(),
                found.phrase()
            ),
            help: help.to_owned(),
        }
    })?;
    Ok(ENVIRONMENT.get_or_init(|| environment))
}

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
