//! TensorRT's messages, into this program's log.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::super::sys::{Abi, ILoggerFunctions, Missing};
use super::callback::{Callback, guarded, text, type_info};

/// Where TensorRT's own severities begin and end: `kINTERNAL_ERROR` is 0, `kVERBOSE` is 4.
const WARNING: i32 = 2;

/// Messages of a higher number are dropped before their text is read.
static LEVEL: AtomicI32 = AtomicI32::new(WARNING);

/// The one logger of the process: TensorRT keeps the first it is given for ever.
static LOGGER: OnceLock<std::sync::Arc<Callback<()>>> = OnceLock::new();

/// How often each warning came, in a process that tells repeats as one.
static WARNINGS: OnceLock<Mutex<BTreeMap<String, usize>>> = OnceLock::new();

/// From now on a warning is logged when it comes first, and no more: TensorRT has one for each layer
/// that is alike.
pub(in super::super) fn gather_repeats() {
    WARNINGS.get_or_init(Mutex::default);
}

/// Logs how often warnings came that came more than once.
pub(in super::super) fn log_repeats() {
    let Some(warnings) = WARNINGS.get() else { return };
    let warnings = std::mem::take(&mut *warnings.lock().unwrap_or_else(PoisonError::into_inner));
    for (message, count) in warnings.into_iter().filter(|(_, count)| *count > 1) {
        tracing::warn!(target: "tensorrt", "{count} times: {message}");
    }
}

fn is_repeat(message: &str) -> bool {
    let Some(warnings) = WARNINGS.get() else { return false };
    let mut warnings = warnings.lock().unwrap_or_else(PoisonError::into_inner);
    let count = warnings.entry(message.to_owned()).or_default();
    *count += 1;
    *count > 1
}

/// Sets up to which of TensorRT's severities (0 `internal_error` to 4 `verbose`) messages are
/// logged.
pub(in super::super) fn set_level(severity: i32) {
    LEVEL.store(severity, Ordering::Relaxed);
}

/// The address of the process's logger.
pub(super) fn logger(abi: Abi) -> Result<*mut c_void, Missing> {
    if let Some(logger) = LOGGER.get() {
        return Ok(logger.as_ptr());
    }
    let table = ILoggerFunctions { log }.table(abi, type_info)?;
    Ok(LOGGER.get_or_init(|| Callback::new(table, ())).as_ptr())
}

unsafe extern "C" fn log(_: *mut c_void, severity: i32, message: *mut c_void) {
    guarded("ILogger::log", (), || {
        if severity > LEVEL.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: TensorRT passes a C string.
        let message = unsafe { text(message.cast::<c_char>()) };
        let message = message.trim();
        match severity {
            ..=1 => tracing::error!(target: "tensorrt", "{message}"),
            2 if is_repeat(message) => {}
            2 => tracing::warn!(target: "tensorrt", "{message}"),
            3 => tracing::info!(target: "tensorrt", "{message}"),
            _ => tracing::debug!(target: "tensorrt", "{message}"),
        }
    });
}
