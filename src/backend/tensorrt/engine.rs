//! [`TensorRtEngine`]: a plan, loaded onto a GPU.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::cuda::{Context, CudaError, DeviceInfo, Driver, Ledger, MemoryKind};
use crate::backend::{
    BackendError, Engine, EngineManifest, EngineMemory, ExecutionContext, LoadOptions, Profile,
};
use crate::deployment::CudaGraphs;
use crate::tensor::TensorSpec;

use super::compatible::{Here, objection};
use super::context::TensorRtContext;
use super::discover::Found;
use super::error::TrtError;
use super::facts::EngineFacts;
use super::handle::{ContextHandle, EngineHandle, Library, Runtime, Validity, refit_from_onnx};
use super::plan::{self, ValueRanges};
use super::staging::Port;

/// A loaded engine, and the ledger of what it and its contexts hold.
pub(super) struct TensorRtEngine {
    handle: Arc<EngineHandle>,
    ledger: Arc<Ledger>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    profiles: Vec<Profile>,
    /// How inputs and outputs are those of the plan.
    ports: (Vec<Port>, Vec<Port>),
    /// The plan's own profiles: of all inputs, those of fixed shape too.
    ranges: Vec<Profile>,
    values: Vec<ValueRanges>,
    cuda_graphs: CudaGraphs,
    /// Why runs are not submitted as graphs, as far as that was told.
    told: Mutex<BTreeSet<String>>,
    /// Bytes of input from which on graphs are no faster than plain runs, as far as is known.
    slow_graphs_from: AtomicUsize,
}

/// A plan, and where to find what it needs beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) bytes: &'a [u8],
    /// What messages call it.
    pub(super) path: &'a Path,
    /// The folder that the files of its facts are in.
    pub(super) folder: &'a Path,
    /// The library to load it with, whose parser puts weights back.
    pub(super) found: &'a Found,
}

impl TensorRtEngine {
    /// Loads a plan onto a GPU.
    pub(super) fn load(
        library: &'static Library,
        plan: Plan<'_>,
        manifest: &EngineManifest,
        options: &LoadOptions,
    ) -> Result<Arc<Self>, BackendError> {
        let Plan { bytes, path, folder, found } = plan;
        let refused = |reason| BackendError::Load { path: path.display().to_string(), reason };
        let failed = |error: TrtError| error.into_error("loading the engine", refused);
        let (gpu, context) =
            open(options.device.unwrap_or(0)).map_err(|error| failed(error.into()))?;
        let here = Here {
            flavor: library.flavor(),
            version: library.version(),
            device: gpu.ordinal,
            gpu: &gpu.name,
            compute_capability: gpu.compute_capability,
        };
        let facts = manifest.tensorrt.as_ref();
        if let Some(reason) = objection(bytes, facts, here) {
            return Err(refused(reason));
        }
        let ledger = Ledger::new();
        let runtime = runtime(library, (&context, &ledger), folder, facts).map_err(failed)?;
        if let Some(reason) = runtime.validity(bytes).and_then(|validity| doubts(&validity, path)) {
            let reason =
                format!("TensorRT-RTX does not run it here: {reason}; build it again here");
            return Err(refused(reason));
        }
        let mut handle = runtime.deserialize(bytes).map_err(|error| {
            error.into_error("loading the engine", |reason| {
                refused(format!("{reason}; build it again here"))
            })
        })?;
        if let Some(weights) = facts.and_then(|facts| facts.weights.as_ref()) {
            let (parser, weights) = (found.parser()?, folder.join(weights));
            refit_from_onnx(library, &mut handle, parser, &weights).map_err(failed)?;
        }
        Self::new(handle, ledger, manifest, options.cuda_graphs.clone()).map_err(refused)
    }

    fn new(
        handle: EngineHandle,
        ledger: Arc<Ledger>,
        manifest: &EngineManifest,
        cuda_graphs: CudaGraphs,
    ) -> Result<Arc<Self>, String> {
        let (inputs, outputs) = (manifest.inputs.clone(), manifest.outputs.clone());
        let ports = (plan::ports(&handle, &inputs, true)?, plan::ports(&handle, &outputs, false)?);
        let values = manifest.tensorrt.as_ref().map_or(&[][..], |facts| &facts.shape_values);
        let (ranges, values) =
            (plan::profiles(&handle), plan::value_ranges(&handle, &ports.0, values));
        Ok(Arc::new(Self {
            handle: Arc::new(handle),
            ledger,
            inputs,
            outputs,
            profiles: manifest.profiles.clone(),
            ports,
            ranges,
            values,
            cuda_graphs,
            told: Mutex::default(),
            slow_graphs_from: AtomicUsize::new(usize::MAX),
        }))
    }

    /// How each input is one of the plan.
    pub(super) fn input_ports(&self) -> &[Port] {
        &self.ports.0
    }

    /// How each output is one of the plan.
    pub(super) fn output_ports(&self) -> &[Port] {
        &self.ports.1
    }

    /// The plan's own profiles: of all inputs, those of fixed shape too.
    pub(super) fn ranges(&self) -> &[Profile] {
        &self.ranges
    }

    /// Whether shapes can change from run to run: only then has a profile to be chosen.
    pub(super) fn is_dynamic(&self) -> bool {
        self.handle.is_dynamic()
    }

    /// The values that each profile allows of inputs that hold shapes.
    pub(super) fn values(&self) -> &[ValueRanges] {
        &self.values
    }

    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Which runs are to be graphs.
    pub(super) fn cuda_graphs(&self) -> &CudaGraphs {
        &self.cuda_graphs
    }

    /// Whether a graph may be faster than plain runs for inputs of so many bytes: the more there is
    /// to compute, the less the time counts that submitting takes.
    pub(super) fn may_graphs_pay(&self, input_bytes: usize) -> bool {
        input_bytes < self.slow_graphs_from.load(Ordering::Relaxed)
    }

    /// Remembers, for all contexts, that a graph was no faster.
    pub(super) fn graphs_do_not_pay(&self, input_bytes: usize) {
        self.slow_graphs_from.fetch_min(input_bytes, Ordering::Relaxed);
    }

    /// Warns once, for all contexts and shapes, that runs are not submitted as graphs.
    pub(super) fn warn_of_graphs(&self, reason: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(reason.to_owned()) {
            tracing::warn!("runs are submitted kernel by kernel, without a CUDA graph: {reason}");
        }
    }

    pub(super) fn new_handle(&self) -> Result<ContextHandle, TrtError> {
        self.handle.new_context()
    }
}

impl Engine for TensorRtEngine {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    fn memory(&self) -> Option<EngineMemory> {
        Some(EngineMemory {
            device: self.ledger.stats(MemoryKind::Device),
            pinned: self.ledger.stats(MemoryKind::Pinned),
        })
    }

    fn new_context(self: Arc<Self>) -> Result<Box<dyn ExecutionContext>, BackendError> {
        Ok(Box::new(TensorRtContext::new(self)?))
    }
}

fn open(device: usize) -> Result<(DeviceInfo, Context), CudaError> {
    let devices = Driver::get()?.devices()?;
    let ordinal = u32::try_from(device).unwrap_or(u32::MAX);
    let context = Context::new(ordinal)?;
    let count = u32::try_from(devices.len()).unwrap_or(u32::MAX);
    let info = devices.into_iter().nth(device);
    Ok((info.ok_or(CudaError::UnknownDevice { ordinal, count })?, context))
}

/// Why an engine of TensorRT-RTX does not run here.
fn doubts(validity: &Validity, path: &Path) -> Option<String> {
    if validity.is_slow {
        tracing::warn!(
            "engine `{}` runs here, and would be faster if it were built here",
            path.display()
        );
    }
    // Where it gives no reason, loading does.
    (!validity.runs && !validity.reasons.is_empty()).then(|| validity.reasons.join(", "))
}

/// What a plan tells of itself once it is loaded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Description {
    /// Bytes that a context needs beyond inputs and outputs.
    pub(super) device_memory: Option<u64>,
    /// As the engine inspector describes them.
    pub(super) layers: Vec<serde_json::Value>,
}

/// A runtime that has what a plan needs. A version-compatible plan has code of its own.
fn runtime(
    library: &'static Library,
    (context, ledger): (&Context, &Arc<Ledger>),
    folder: &Path,
    facts: Option<&EngineFacts>,
) -> Result<Runtime, TrtError> {
    let mut runtime = Runtime::new(library, context, ledger)?;
    if let Some(facts) = facts {
        if facts.version_compatible {
            runtime.allow_host_code();
        }
        let plugins: Vec<PathBuf> = facts.plugins.iter().map(|file| folder.join(file)).collect();
        runtime.load_plugins(&plugins)?;
    }
    Ok(runtime)
}

/// Describes a plan that was just built. `None` where it does not load here: there is no GPU, or
/// it is for another one.
pub(super) fn describe(
    library: &'static Library,
    plan: &[u8],
    folder: &Path,
    facts: &EngineFacts,
) -> Option<Description> {
    let load = || -> Result<EngineHandle, TrtError> {
        let (_, context) = open(0)?;
        let memory = (&context, &Ledger::new());
        runtime(library, memory, folder, Some(facts))?.deserialize(plan)
    };
    let handle = load().inspect_err(|error| tracing::debug!("not loaded after building: {error}"));
    let handle = handle.ok()?;
    let inspected = handle.inspect().inspect_err(|error| tracing::debug!("{error}"));
    let layers = inspected.ok().and_then(|mut json| match json.get_mut("Layers")?.take() {
        serde_json::Value::Array(layers) => Some(layers),
        _ => None,
    });
    Some(Description { device_memory: handle.device_memory(), layers: layers.unwrap_or_default() })
}
