//! [`Plugins`]: libraries of plug-ins, registered with TensorRT.

use std::ffi::{CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use libloading::os::unix::{Library as Loaded, RTLD_LAZY, RTLD_LOCAL};

use super::super::error::TrtError;
use super::super::sys::{Abi, IPluginRegistry};
use super::logger::logger;
use super::recorder::Recorder;

/// The functions by which a library tells its plug-ins: the first those of 8.6's interfaces.
const CREATORS: [&[u8]; 2] = [b"getPluginCreators", b"getCreators"];

/// Libraries in a registry of one builder or runtime; they leave it when this is dropped.
#[derive(Debug)]
pub(super) struct Plugins {
    handles: Vec<NonNull<c_void>>,
    registry: IPluginRegistry,
}

impl Plugins {
    /// Loads libraries, whose plug-ins parsers and plans can name from then on.
    ///
    /// # Safety
    /// The registry outlives this, and what is made of the plug-ins does not. The recorder is that
    /// of the registry's owner.
    pub(super) unsafe fn load(
        registry: IPluginRegistry,
        files: &[PathBuf],
        recorder: &Recorder,
    ) -> Result<Self, TrtError> {
        let mut plugins = Self { handles: Vec::new(), registry };
        for file in files {
            let failed = |reason| TrtError::Plugin { path: file.clone(), reason };
            plugins.add(file, recorder).map_err(failed)?;
        }
        Ok(plugins)
    }

    fn add(&mut self, file: &Path, recorder: &Recorder) -> Result<(), String> {
        // SAFETY: the user asked for this library's code.
        let loaded = unsafe { Loaded::open(Some(file), RTLD_LAZY | RTLD_LOCAL) };
        // TensorRT does not say why it cannot load a file; the loader does.
        let loaded = loaded.map_err(|error| error.to_string())?;
        // SAFETY: only asks whether the function is there.
        let lists = |name: &[u8]| unsafe { loaded.get::<unsafe extern "C" fn()>(name) }.is_ok();
        if !CREATORS.iter().any(|name| lists(name)) {
            // Loading it was all: its initialisers register the plug-ins with the process, which
            // from then on holds addresses in it.
            tracing::debug!("`{}` registers its plug-ins itself", file.display());
            std::mem::forget(loaded);
            return Ok(());
        }
        let path = CString::new(file.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        // SAFETY: the registry is alive; the path is a C string.
        let handle = unsafe { self.registry.load_library(&path) };
        let reported = recorder.take();
        let Some(handle) = NonNull::new(handle) else {
            let words = reported.into_iter().map(|one| format!(": {}", one.message));
            return Err(format!("TensorRT refuses it{}", words.collect::<String>()));
        };
        self.handles.push(handle);
        Ok(())
    }
}

impl Drop for Plugins {
    fn drop(&mut self) {
        while let Some(handle) = self.handles.pop() {
            // SAFETY: the registry is alive and gave the handle; nothing of the library is in use.
            unsafe { self.registry.deregister_library(handle.as_ptr()) };
        }
    }
}

/// Registers TensorRT's own plug-ins with the process, where the parser was linked with them: it
/// then expects that.
pub(super) fn register_standard(parser: &Loaded, abi: Abi) {
    /// `bool initLibNvInferPlugins(void *logger, char const *libNamespace)`.
    type Register = unsafe extern "C" fn(*mut c_void, *const c_char) -> bool;
    // SAFETY: TensorRT's function of this name has this type. It is found in what the parser needs.
    let Ok(register) = (unsafe { parser.get::<Register>(b"initLibNvInferPlugins") }) else {
        return;
    };
    let logger = logger(abi).unwrap_or(std::ptr::null_mut());
    // SAFETY: the logger lives as long as the process; the namespace is a C string.
    if !unsafe { register(logger, c"".as_ptr()) } {
        tracing::warn!("TensorRT's own plug-ins could not be registered");
    }
}
