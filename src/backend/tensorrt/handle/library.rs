//! [`Library`]: the one TensorRT of the process.

use std::error::Error;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use libloading::os::unix::{Library as Loaded, RTLD_GLOBAL, RTLD_LAZY};

use crate::backend::cuda::Driver;

use super::super::error::TrtError;
use super::super::facts::Flavor;
use super::super::generation::{Generation, LibraryVersion};
use super::super::sys::{Abi, IPluginRegistry};
use super::logger::logger;
use super::plugins::register_standard;

/// Why a library could not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub(in super::super) enum LibraryError {
    #[error("failed to load `{}`: {reason}", path.display())]
    Load { path: PathBuf, reason: String },
    #[error("`{}` is not a TensorRT library: it has no `{symbol}`", path.display())]
    NotTensorRt { path: PathBuf, symbol: &'static str },
    #[error("`{}` reports version {version}, which this program does not know", path.display())]
    UnknownVersion { path: PathBuf, version: i32 },
    #[error(
        "this process already uses `{}`; TensorRT can be loaded once only, and `{}` is another",
        loaded.display(), wanted.display()
    )]
    AnotherLoaded { loaded: PathBuf, wanted: PathBuf },
}

/// A loaded TensorRT, for the rest of the process: its objects' code must not go away, and two of
/// them in one process disturb each other.
#[derive(Debug)]
pub(in super::super) struct Library {
    path: PathBuf,
    runtime: Loaded,
    abi: Abi,
    version: LibraryVersion,
    version_code: i32,
    parser: Mutex<Option<Arc<Loaded>>>,
}

/// `T *createInferBuilder_INTERNAL(void *logger, int32_t version)` and its like.
type Create = unsafe extern "C" fn(*mut c_void, i32) -> *mut c_void;

/// `T *createInferRefitter_INTERNAL(void *engine, void *logger, int32_t version)`.
type CreateFor = unsafe extern "C" fn(*mut c_void, *mut c_void, i32) -> *mut c_void;

static LOADED: Mutex<Option<&'static Library>> = Mutex::new(None);

impl Library {
    /// Loads a library, or gives the loaded one if it is that.
    pub(in super::super) fn open(
        path: &Path,
        flavor: Flavor,
    ) -> Result<&'static Self, LibraryError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = *loaded {
            if library.path == path {
                return Ok(library);
            }
            let (loaded, wanted) = (library.path.clone(), path.to_owned());
            return Err(LibraryError::AnotherLoaded { loaded, wanted });
        }
        let library: &'static Self = Box::leak(Box::new(Self::load(path, flavor)?));
        *loaded = Some(library);
        Ok(library)
    }

    fn load(path: &Path, flavor: Flavor) -> Result<Self, LibraryError> {
        const VERSION: &str = "getInferLibVersion";
        let runtime = open(path)?;
        // SAFETY: TensorRT's function of this name has this type.
        let version = unsafe { runtime.get::<unsafe extern "C" fn() -> i32>(VERSION.as_bytes()) };
        let not_tensorrt = |_| LibraryError::NotTensorRt { path: path.to_owned(), symbol: VERSION };
        let version = version.map_err(not_tensorrt)?;
        // SAFETY: it only returns a number.
        let version_code = unsafe { version() };
        let unknown =
            || LibraryError::UnknownVersion { path: path.to_owned(), version: version_code };
        let version = decode(version_code).ok_or_else(unknown)?;
        let generation = Generation::of(flavor, version).map_err(|_| unknown())?;
        let abi = Abi { generation, version: (version.major, version.minor, version.patch) };
        Ok(Self {
            path: path.to_owned(),
            runtime,
            abi,
            version,
            version_code,
            parser: Mutex::default(),
        })
    }

    pub(in super::super) fn abi(&self) -> Abi {
        self.abi
    }

    pub(in super::super) fn flavor(&self) -> Flavor {
        self.abi.generation.flavor()
    }

    pub(in super::super) fn version(&self) -> LibraryVersion {
        self.version
    }

    /// Calls one of the library's functions that make an object.
    pub(super) fn create(&self, symbol: &'static str) -> Result<*mut c_void, TrtError> {
        let failed = || TrtError::Failed { call: symbol, reported: Vec::new() };
        if self.abi.generation == Generation::V8_6 {
            // Without a GPU it makes no builder, and crashes making a runtime.
            Driver::get()?;
        }
        let logger = logger(self.abi)?;
        // SAFETY: TensorRT's functions of these names have this type.
        let create = unsafe { self.runtime.get::<Create>(symbol.as_bytes()) };
        let create = create.map_err(|_| failed())?;
        // SAFETY: the logger lives as long as the process.
        Ok(unsafe { create(logger, self.version_code) })
    }

    /// Calls one of the library's functions that make an object for another.
    ///
    /// # Safety
    /// The object is alive and of the class that the function takes.
    pub(super) unsafe fn create_for(
        &self,
        symbol: &'static str,
        object: *mut c_void,
    ) -> Result<*mut c_void, TrtError> {
        let logger = logger(self.abi)?;
        // SAFETY: TensorRT's functions of these names have this type.
        let create = unsafe { self.runtime.get::<CreateFor>(symbol.as_bytes()) };
        let failed = |_| TrtError::Failed { call: symbol, reported: Vec::new() };
        let create = create.map_err(failed)?;
        // SAFETY: of the caller; the logger lives as long as the process.
        Ok(unsafe { create(object, logger, self.version_code) })
    }

    /// The registry of plug-ins that all of the process shares.
    pub(super) fn plugin_registry(&self) -> Result<IPluginRegistry, TrtError> {
        const GET: &str = "getPluginRegistry";
        type Get = unsafe extern "C" fn() -> *mut c_void;
        let failed = || TrtError::Failed { call: GET, reported: Vec::new() };
        // SAFETY: TensorRT's function of this name has this type.
        let get = unsafe { self.runtime.get::<Get>(GET.as_bytes()) }.map_err(|_| failed())?;
        // SAFETY: it only returns an address.
        let registry = unsafe { get() };
        // SAFETY: the library's own registry, which lives as long as the process.
        unsafe { IPluginRegistry::from_raw(registry, self.abi) }.ok_or_else(failed)
    }

    /// The ONNX parser's library, loaded when first asked for: the runtime is there by then, as it
    /// must be.
    pub(super) fn parser(&self, path: &Path) -> Result<Arc<Loaded>, LibraryError> {
        let mut parser = self.parser.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parser) = &*parser {
            return Ok(Arc::clone(parser));
        }
        let loaded = Arc::new(open(path)?);
        register_standard(&loaded, self.abi);
        *parser = Some(Arc::clone(&loaded));
        Ok(loaded)
    }
}

/// The version that a number stands for: up to 9 the major version counts thousands, later (and in
/// TensorRT-RTX) ten thousands.
fn decode(code: i32) -> Option<LibraryVersion> {
    let code = u32::try_from(code).ok()?;
    let (major, rest) = match code {
        5_000..10_000 => (code / 1_000, code % 1_000),
        _ => (code / 10_000, code % 10_000),
    };
    Some(LibraryVersion { major, minor: rest / 100, patch: rest % 100, build: 0 })
}

/// Loads with lazy binding (the parser names libraries that it does not call) and into the global
/// scope (the parser and plugins find the runtime there).
fn open(path: &Path) -> Result<Loaded, LibraryError> {
    // SAFETY: TensorRT's initialisers set up its own tables; a library that does otherwise is one
    // that the user asked to load.
    unsafe { Loaded::open(Some(path), RTLD_LAZY | RTLD_GLOBAL) }.map_err(|error| {
        LibraryError::Load { path: path.to_owned(), reason: loaders_words(&error) }
    })
}

/// Why the loader did not load a file: what it said itself is behind the error.
pub(super) fn loaders_words(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
