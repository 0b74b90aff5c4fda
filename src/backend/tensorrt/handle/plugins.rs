//! [`Plugins`]: libraries of plug-ins, registered with TensorRT.

use std::ffi::{CString, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use libloading::os::unix::{Library as Loaded, RTLD_LAZY, RTLD_LOCAL};

use super::super::error::TrtError;
use super::super::sys::{Abi, IPluginRegistry};
use super::library::loaders_words;
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
        let loaded = loaded.map_err(|error| loaders_words(&error))?;
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;
    use std::sync::Arc;

    use tempfile::TempDir;

    use crate::backend::cuda::standin::with_driver;
    use crate::backend::cuda::{Context, Ledger};
    use crate::backend::tensorrt::Flavor;
    use crate::backend::tensorrt::handle::standin::StandIn;
    use crate::backend::tensorrt::handle::{Builder, Runtime};

    use super::*;

    /// Compiles a library of these C declarations.
    fn library(folder: &TempDir, name: &str, source: &str, flags: &[&str]) -> PathBuf {
        let (file, code) = (folder.path().join(name), folder.path().join("source.c"));
        fs::write(&code, source).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).arg(&file).arg(code).arg("-L").arg(folder.path());
        assert!(cc.args(flags).status().unwrap().success());
        file
    }

    fn is_loaded(file: &Path) -> bool {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        maps.contains(file.to_str().unwrap())
    }

    /// Plug-ins are loaded with a builder's and a runtime's registry and leave with them; those
    /// that register themselves stay.
    fn come_and_go(version: &str) {
        let folder = tempfile::tempdir().unwrap();
        let listed = "void *getPluginCreators(int *count) { *count = 0; return 0; }";
        let listed = library(&folder, "listed.so", listed, &[]);
        let own = library(&folder, "own.so", "int registered = 1;", &[]);
        let standin = StandIn::new(Flavor::Standard, version);
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let builder = Builder::new(standin.library, None).unwrap();
        let network = builder.network(false).unwrap();
        builder.load_plugins(&[listed.clone(), own.clone()]).unwrap();
        drop(builder);
        assert!(is_loaded(&listed), "a network may still use it");
        drop(network);
        assert!(!is_loaded(&listed) && is_loaded(&own));
        let mut runtime = Runtime::new(standin.library, &context, &ledger).unwrap();
        runtime.load_plugins(std::slice::from_ref(&listed)).unwrap();
        assert!(is_loaded(&listed));
        drop(runtime);
        assert!(!is_loaded(&listed));
    }

    #[test]
    fn tensorrt_8_6_0_has_plugins_as_long_as_it_needs_them() {
        with_driver(&[], || come_and_go("8.6.0.12"));
    }

    #[test]
    fn tensorrt_8_6_1_has_plugins_as_long_as_it_needs_them() {
        with_driver(&[], || come_and_go("8.6.1.6"));
    }

    #[test]
    fn tensorrt_10_has_plugins_as_long_as_it_needs_them() {
        with_driver(&[], || come_and_go("10.13.0.1"));
    }

    /// The error of loading a file that stands in `DIR`.
    fn refusal(builder: &Arc<Builder>, file: &Path) -> String {
        let error = builder.load_plugins(&[file.to_owned()]).unwrap_err().to_string();
        error.replace(file.parent().unwrap().to_str().unwrap(), "DIR")
    }

    #[test]
    fn a_file_that_does_not_load_is_an_error_with_the_loaders_reason() {
        with_driver(&[], || {
            let folder = tempfile::tempdir().unwrap();
            let standin = StandIn::new(Flavor::Standard, "10.13.0.1");
            let _gpu = Context::new(0).unwrap();
            let builder = Builder::new(standin.library, None).unwrap();
            let needed = library(&folder, "libneeded.so", "int needed = 1;", &[]);
            let lame = library(&folder, "lame.so", "int x;", &["-Wl,--no-as-needed", "-lneeded"]);
            fs::remove_file(needed).unwrap();
            let text = folder.path().join("text.so");
            fs::write(&text, "not a library\n".repeat(9)).unwrap();
            let refusals = [
                refusal(&builder, &folder.path().join("missing.so")),
                refusal(&builder, &text),
                refusal(&builder, &lame),
            ];
            insta::assert_snapshot!(refusals.join("\n"), @r"
            failed to load the plug-in library `DIR/missing.so`: DIR/missing.so: cannot open shared object file: No such file or directory
            failed to load the plug-in library `DIR/text.so`: DIR/text.so: invalid ELF header
            failed to load the plug-in library `DIR/lame.so`: libneeded.so: cannot open shared object file: No such file or directory
            ");
        });
    }

    #[test]
    fn a_library_that_tensorrt_refuses_is_an_error_and_is_not_kept() {
        with_driver(&[("STANDIN_TENSORRT_FAIL", "IPluginRegistry::loadLibrary:2")], || {
            let folder = tempfile::tempdir().unwrap();
            let source = "void *getCreators(int *count) { *count = 0; return 0; }";
            let both = ["first.so", "second.so"].map(|name| library(&folder, name, source, &[]));
            let standin = StandIn::new(Flavor::Standard, "10.13.0.1");
            let _gpu = Context::new(0).unwrap();
            let builder = Builder::new(standin.library, None).unwrap();
            let error = builder.load_plugins(&both).unwrap_err().to_string();
            assert!(error.contains("second.so`: TensorRT refuses it"), "{error}");
            assert!(!both.iter().any(|file| is_loaded(file)));
        });
    }
}
