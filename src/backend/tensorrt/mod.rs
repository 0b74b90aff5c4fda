//! The TensorRT backend: engines for NVIDIA GPUs, through whatever TensorRT is installed.
//!
//! `discover` finds the library, `sys` calls it, `handle` owns its objects, `compiler` builds
//! engines in a process of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cuda::{Context, CudaError, Driver, GpuMonitor, Ledger, MemoryKind};
use super::{
    Backend, BackendError, CompileRequest, DeviceUsage, Engine, EngineManifest, LoadOptions,
    LoadedEngine, regular,
};

mod calibration;
mod compatible;
pub mod compiler;
mod context;
pub mod discover;
mod engine;
mod error;
mod facts;
mod fastest;
mod generation;
mod graphs;
mod handle;
mod layers;
mod options;
mod plan;
mod staging;
mod stopwatch;
mod sys;
mod timing_cache;
mod trial;

pub use calibration::{BatchInput, BatchSpec, CalibrationError, CalibrationSource, DatasetSource};
pub(super) use error::names_a_gpu_too_old;
pub use facts::{BuildFacts, EngineFacts, Flavor};
pub use generation::{Generation, InvalidVersion, LibraryVersion, UnknownGeneration};
pub use layers::Layer;
pub use options::{
    ByteSize, Calibration, Calibrator, ComputeCapability, Files, HardwareCompatibility,
    InvalidByteSize, LayerPrecision, MessageLevel, Options, Precision, PrecisionConstraints,
    PreviewFeatures, ProfilingVerbosity, Refit, SettingError, Settings, TacticSource, Tiling,
};

use discover::{Found, TensorRtSelection};
use engine::{Plan, TensorRtEngine};
use error::TrtError;
use handle::Library;

/// The backend's name in specs.
pub const NAME: &str = "tensorrt";

/// The engine's file.
const PLAN: &str = "engine.plan";

/// The TensorRT backend.
#[derive(Debug, Clone, Copy)]
pub struct TensorRtBackend;

impl Backend for TensorRtBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tools(&self, options: &Options) -> Result<BTreeMap<String, String>, BackendError> {
        let mut tools = discover::tool_facts(&find(options)?)?;
        if options.compute_capabilities.is_empty() {
            tools.extend(gpu_facts());
        }
        Ok(tools)
    }

    fn has_devices(&self) -> bool {
        true
    }

    fn devices(&self) -> Result<Vec<Option<usize>>, BackendError> {
        let failed = |error: CudaError| {
            TrtError::from(error)
                .into_error("looking for GPUs", |reason| BackendError::Run { reason })
        };
        let count = Driver::get().map_err(failed)?.device_count();
        Ok((0..count as usize).map(Some).collect())
    }

    fn usage(&self, device: Option<usize>) -> Option<DeviceUsage> {
        let context = Context::new(u32::try_from(device.unwrap_or(0)).ok()?).ok()?;
        let memory = context.memory_info().ok()?;
        let held = |kind| Ledger::process().stats(kind).current;
        Some(DeviceUsage {
            accounted: held(MemoryKind::Device) + held(MemoryKind::Pinned),
            used: memory.total - memory.free,
            total: memory.total,
            utilization: self.monitor(device).and_then(GpuMonitor::utilization),
        })
    }

    fn monitor(&self, device: Option<usize>) -> Option<&'static GpuMonitor> {
        GpuMonitor::of(u32::try_from(device.unwrap_or(0)).ok()?)
    }

    fn compile(&self, request: &CompileRequest<'_>) -> Result<EngineManifest, BackendError> {
        compiler::compile(request)
    }

    fn load(
        &self,
        folder: &Path,
        manifest: &EngineManifest,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Engine>, BackendError> {
        Opened::new(folder, manifest)?.load(folder, manifest, options)
    }

    fn load_each(
        &self,
        folder: &Path,
        manifest: &EngineManifest,
        options: &[LoadOptions],
    ) -> Result<Vec<LoadedEngine>, BackendError> {
        let opened = Opened::new(folder, manifest)?;
        Ok(options.iter().map(|options| opened.load(folder, manifest, options)).collect())
    }

    fn reference(
        &self,
        model: &Path,
        _outputs: &[String],
    ) -> Result<Arc<dyn Engine>, BackendError> {
        Err(BackendError::Load {
            path: model.display().to_string(),
            reason: "TensorRT optimises whatever it runs and is no reference".to_owned(),
        })
    }
}

/// A plan that was read, and the library that loads it.
struct Opened {
    path: PathBuf,
    plan: Vec<u8>,
    found: Found,
    library: &'static Library,
}

impl Opened {
    fn new(folder: &Path, manifest: &EngineManifest) -> Result<Self, BackendError> {
        let path = folder.join(&manifest.file);
        let refused = |reason| BackendError::Load { path: path.display().to_string(), reason };
        let plan = regular::read(&path).map_err(|error| refused(error.to_string()))?;
        let flavor = manifest.tensorrt.as_ref().map(|facts| facts.flavor);
        let selection = TensorRtSelection { flavor, ..TensorRtSelection::default() };
        let found = discover::find(&selection).map_err(|error| error.loading(&path))?;
        let library = Library::open(&found.runtime, found.flavor)
            .map_err(|error| TrtError::from(error).into_error("loading the engine", refused))?;
        Ok(Self { path, plan, found, library })
    }

    fn load(
        &self,
        folder: &Path,
        manifest: &EngineManifest,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Engine>, BackendError> {
        let Self { path, plan, found, library } = self;
        let plan = Plan { bytes: plan, path, folder, found };
        Ok(TensorRtEngine::load(library, plan, manifest, options)?)
    }
}

/// The library that the settings ask for; their paths are absolute.
fn find(options: &Options) -> Result<Found, BackendError> {
    let settings = &options.settings;
    let selection = TensorRtSelection {
        flavor: settings.flavor,
        version: settings.version.clone(),
        library: settings.library.clone(),
    };
    Ok(discover::find(&selection)?)
}

/// What of the GPU goes into the key of an engine that is built on it.
pub(super) fn gpu_facts() -> BTreeMap<String, String> {
    let Ok(devices) = Driver::get().and_then(Driver::devices) else { return BTreeMap::new() };
    let Some(device) = devices.into_iter().next() else { return BTreeMap::new() };
    let (major, minor) = device.compute_capability;
    let mut facts = BTreeMap::from([
        ("gpu".to_owned(), device.name),
        ("gpu_compute_capability".to_owned(), format!("{major}.{minor}")),
        ("gpu_memory".to_owned(), device.total_memory.to_string()),
        ("gpu_multiprocessors".to_owned(), device.multiprocessors.to_string()),
        ("cuda_driver".to_owned(), device.driver_version.to_string()),
    ]);
    let attributes = device.attributes.into_iter();
    facts.extend(attributes.map(|(name, value)| (format!("gpu_{name}"), value.to_string())));
    facts
}
