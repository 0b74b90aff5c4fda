//! TensorRT's messages, into this program's log.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::super::sys::{Abi, ILoggerFunctions, Missing};
use super::callback::{Callback, guarded, text, type_info};

/// Where TensorRT's own severities begin and end: `kINTERNAL_ERROR` is 0, `kVERBOSE` is 4.
const WARNING: i32 = 2;
const VERBOSE: i32 = 4;

/// What the parser says before it looks at a node, followed by `NAME [OPERATOR]`.
const AT_NODE: &str = "arsing node: ";

/// Messages of a higher number are dropped before their text is read.
static LEVEL: AtomicI32 = AtomicI32::new(WARNING);

/// The one logger of the process: TensorRT keeps the first it is given for ever.
static LOGGER: OnceLock<std::sync::Arc<Callback<()>>> = OnceLock::new();

/// How often each warning came, in a process that tells repeats as one.
static WARNINGS: OnceLock<Mutex<BTreeMap<String, usize>>> = OnceLock::new();

/// The file that says at which node the parser is, where somebody wants to know.
static NODE: Mutex<Option<File>> = Mutex::new(None);
static IS_NODE_WANTED: AtomicBool = AtomicBool::new(false);

/// Keeps in a file, until the next call, at which node the parser is: it can end the process.
pub(in super::super) fn note_node(file: Option<File>) {
    let mut node = NODE.lock().unwrap_or_else(PoisonError::into_inner);
    IS_NODE_WANTED.store(file.is_some(), Ordering::Relaxed);
    *node = file;
}

/// What cannot be written is not known afterwards, and that is all.
fn note(message: &str) {
    let Some((_, node)) = message.split_once(AT_NODE) else { return };
    if let Some(file) = &*NODE.lock().unwrap_or_else(PoisonError::into_inner)
        && file.write_all_at(node.as_bytes(), 0).is_ok()
    {
        let _ = file.set_len(node.len() as u64);
    }
}

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
        let is_logged = severity <= LEVEL.load(Ordering::Relaxed);
        let is_noted = severity == VERBOSE && IS_NODE_WANTED.load(Ordering::Relaxed);
        if !is_logged && !is_noted {
            return;
        }
        // SAFETY: TensorRT passes a C string.
        let message = unsafe { text(message.cast::<c_char>()) };
        let message = message.trim();
        if is_noted {
            note(message);
        }
        if !is_logged {
            return;
        }
        match severity {
            ..=1 => tracing::error!(target: "tensorrt", "{message}"),
            2 if is_repeat(message) => {}
            2 => tracing::warn!(target: "tensorrt", "{message}"),
            3 => tracing::info!(target: "tensorrt", "{message}"),
            _ => tracing::debug!(target: "tensorrt", "{message}"),
        }
    });
}
