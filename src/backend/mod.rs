//! What can compile and run a model: [`Backend`], [`Engine`], [`ExecutionContext`], and the list
//! of backends.
//!
//! A backend is one folder here plus one line in [`BACKENDS`]. It is chosen by name; a backend
//! that is not available here is an error, never a silent change to another. Backends know
//! nothing of pipelines, artifacts or HTTP.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Add;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::deployment::CudaGraphs;
use crate::process::CancelToken;
use crate::progress::Progress;
use crate::tensor::{Shape, Tensor, TensorSpec};

#[cfg(test)]
pub(crate) mod conformance;
mod contain;
pub mod cpu;
pub mod cuda;
#[cfg(test)]
pub(crate) mod fake;
mod fault;
mod host;
pub mod install;
pub mod library;
mod manifest;
mod model_file;
#[cfg(test)]
mod node_tests;
pub mod onnxruntime;
mod regular;
mod shapes;
#[cfg(test)]
pub(crate) mod small_models;
pub mod tensorrt;

pub use manifest::EngineManifest;

/// Every backend of this build.
pub static BACKENDS: &[&dyn Backend] =
    &[&cpu::CpuBackend, &onnxruntime::OnnxRuntimeBackend, &tensorrt::TensorRtBackend];

/// Finds a backend by its name in specs.
pub fn by_name(name: &str) -> Result<&'static dyn Backend, BackendError> {
    #[cfg(test)]
    if name == fake::NAME {
        return Ok(&fake::FakeBackend);
    }
    BACKENDS.iter().copied().find(|backend| backend.name() == name).ok_or_else(|| {
        let known: Vec<&str> = BACKENDS.iter().map(|backend| backend.name()).collect();
        BackendError::Unavailable {
            backend: name.to_owned(),
            reason: "this build of trt-pipeline does not contain it".to_owned(),
            help: format!("backends of this build: {}", known.join(", ")),
        }
    })
}

/// What tells this machine from others: its `cpu` and `gpu` facts, without software versions. No
/// library is searched for.
pub fn hardware() -> BTreeMap<String, String> {
    let cpu = cpu::CpuBackend.tools(&tensorrt::Options::default()).unwrap_or_default();
    let facts = cpu.into_iter().chain(tensorrt::gpu_facts());
    facts.filter(|(name, _)| name.starts_with("cpu") || name.starts_with("gpu")).collect()
}

/// The range of shapes one optimization profile allows an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeRange {
    /// Smallest extents.
    pub min: Shape,
    /// The extents to optimise for.
    pub opt: Shape,
    /// Largest extents.
    pub max: Shape,
}

impl ShapeRange {
    /// Whether a shape lies in the range on every axis.
    pub fn contains(&self, shape: &Shape) -> bool {
        let ends = self.min.0.iter().zip(&self.max.0);
        self.min.rank() == shape.rank()
            && self.max.rank() == shape.rank()
            && ends.zip(&shape.0).all(|((low, high), extent)| (low..=high).contains(&extent))
    }
}

/// An optimization profile: a shape range per input.
pub type Profile = BTreeMap<String, ShapeRange>;

/// What to compile, and into what.
pub struct CompileRequest<'a> {
    /// The ONNX file.
    pub model: &'a Path,
    /// Optimization profiles, already checked against the model's inputs.
    pub profiles: &'a [Profile],
    /// Settings that only TensorRT knows.
    pub tensorrt: &'a tensorrt::Options,
    /// The files those settings name.
    pub files: &'a tensorrt::Files,
    /// How often to build, to keep the fastest engine: 1 or more.
    pub builds: u32,
    /// How long it may take altogether.
    pub timeout: Option<Duration>,
    /// An empty folder that receives the engine's files.
    pub out: &'a Path,
    /// Another empty folder, deleted afterwards.
    pub scratch: &'a Path,
    /// A folder that outlives the run, for what makes the next one faster and changes no result.
    pub kept: &'a Path,
    /// Where to tell progress.
    pub progress: &'a dyn Progress,
    /// Tells when to stop early.
    pub cancel: &'a CancelToken,
}

/// How an engine is loaded, where that is not a matter of the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The device to load it on, for backends that have several; the first by default.
    pub device: Option<usize>,
    /// Which of its runs are submitted as one CUDA graph, for backends that have such.
    pub cuda_graphs: CudaGraphs,
}

impl LoadOptions {
    /// As by default, on a device.
    pub fn on(device: Option<usize>) -> Self {
        Self { device, ..Self::default() }
    }
}

/// Memory that an engine and its contexts hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EngineMemory {
    /// On the device.
    pub device: MemoryStats,
    /// Pinned host memory.
    pub pinned: MemoryStats,
}

/// What is in use on a device.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DeviceUsage {
    /// Bytes of device and pinned memory that this process holds by the backend's own count.
    pub accounted: u64,
    /// Bytes in use on the device, by whatever program.
    pub used: u64,
    /// Bytes that the device has.
    pub total: u64,
    /// The part of the last moments in which the device computed, for whatever program: from 0 to
    /// 1; `None` where nobody tells.
    pub utilization: Option<f64>,
}

/// What was allocated of one kind of memory, in bytes and pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryStats {
    /// Bytes held now.
    pub current: u64,
    /// Most bytes ever held at once.
    pub peak: u64,
    /// Bytes ever allocated.
    pub total: u64,
    /// Allocations ever made.
    pub allocations: u64,
    /// Allocations that are not freed yet.
    pub live: u64,
}

impl Add for EngineMemory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { device: self.device + other.device, pinned: self.pinned + other.pinned }
    }
}

impl Add for MemoryStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            current: self.current + other.current,
            peak: self.peak + other.peak,
            total: self.total + other.total,
            allocations: self.allocations + other.allocations,
            live: self.live + other.live,
        }
    }
}

/// Durations of the parts of one [`ExecutionContext::run`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunTimes {
    /// Host to device copies.
    pub upload: Duration,
    /// Execution.
    pub compute: Duration,
    /// Device to host copies.
    pub download: Duration,
}

/// How runs are submitted to a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmittedAs {
    /// Each kernel by itself.
    Kernels {
        /// Why there is no graph.
        reason: String,
    },
    /// All kernels at once.
    CudaGraph {
        /// How many kernels, copies and so on there are.
        nodes: usize,
    },
}

/// Why a backend could not do what it was asked.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum BackendError {
    /// The backend, or something it needs, is not on this machine.
    #[error("backend `{backend}` is not available: {reason}")]
    Unavailable {
        /// Its name.
        backend: String,
        /// What is missing.
        reason: String,
        /// What to install or choose instead.
        help: String,
    },
    /// The model needs something the backend cannot do correctly.
    #[error("backend `{backend}` cannot run node `{node}` ({op}): {reason}")]
    Unsupported {
        /// The backend.
        backend: Cow<'static, str>,
        /// The node's name, or its first output where it has none.
        node: String,
        /// The operator type.
        op: String,
        /// Why it is refused.
        reason: String,
    },
    /// The model as a whole was refused.
    #[error("failed to compile `{model}`: {reason}")]
    Compile {
        /// The file.
        model: String,
        /// The backend's words.
        reason: String,
    },
    /// The compiling process ended without an outcome.
    #[error("failed to compile `{model}`: the compiling process {ending}")]
    Crashed {
        /// The file.
        model: String,
        /// How it ended, and the last it said.
        ending: String,
    },
    /// An engine file is damaged or not for this machine.
    #[error("failed to load engine `{path}`: {reason}")]
    Load {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// An input does not fit the engine.
    #[error("input `{input}` of shape {shape} does not fit: {reason}")]
    Input {
        /// The input's name.
        input: String,
        /// The shape offered.
        shape: Shape,
        /// What the engine accepts.
        reason: String,
    },
    /// Execution failed.
    #[error("failed to run the engine: {reason}")]
    Run {
        /// The backend's words.
        reason: String,
    },
    /// The device broke for good; others may still work.
    #[error("device {device} is lost: {reason}")]
    DeviceLost {
        /// Its number.
        device: usize,
        /// What was reported of it first.
        reason: String,
    },
    /// A setting that the library found here does not have, or that does not fit.
    #[error("`{setting}`: {reason}")]
    Setting {
        /// The setting as specs write it, such as `tensorrt.tf32`.
        setting: String,
        /// Why it cannot be had.
        reason: String,
        /// What to change.
        help: String,
    },
    /// Not enough memory.
    #[error("out of memory while {doing}: {reason}")]
    OutOfMemory {
        /// What was done, such as `loading the engine`.
        doing: Cow<'static, str>,
        /// What was asked for and what there was, as far as known.
        reason: String,
    },
    /// The work took longer than it may.
    #[error("compiling took longer than {seconds} s and was ended")]
    TimedOut {
        /// The limit.
        seconds: f64,
    },
    /// The run was told to stop.
    #[error("cancelled")]
    Cancelled,
}

impl BackendError {
    /// What the user can do next, where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unavailable { help, .. } | Self::Setting { help, .. } => Some(help.clone()),
            Self::OutOfMemory { .. } => Some(
                "end other programs on the GPU, or use smaller shapes, fewer engines or fewer \
                 contexts"
                    .into(),
            ),
            Self::Crashed { .. } => Some(
                "`--log-level debug` shows what the library did last; another version of it may not \
                 fail"
                    .into(),
            ),
            Self::Compile { reason, .. } if tensorrt::names_a_gpu_too_old(reason) => Some(
                "leave that compute capability out of `compute_capabilities`, or give the model \
                 another precision: FP8 needs 8.9, BF16 8.0, and 7.5 multiplies in FP16 and INT8 \
                 only"
                    .into(),
            ),
            Self::DeviceLost { .. } => Some(
                "start the program again to use it; `dmesg` shows what the kernel module of the GPU \
                 said of it"
                    .into(),
            ),
            Self::TimedOut { .. } => Some("raise `timeout_seconds`".into()),
            Self::Unsupported { backend, .. } if backend == "cpu" => {
                Some("`backend: onnxruntime` may run it; or export the model without it".into())
            }
            _ => None,
        }
    }
}

/// Something that compiles models into engines and loads them.
pub trait Backend: Send + Sync {
    /// Its name in specs.
    fn name(&self) -> &'static str;

    /// The facts about this machine and this backend that can change a compiled engine. They go
    /// into the cache key as `tools`.
    fn tools(&self, tensorrt: &tensorrt::Options)
    -> Result<BTreeMap<String, String>, BackendError>;

    /// Whether its engines run on one of several numbered devices.
    fn has_devices(&self) -> bool {
        false
    }

    /// Host bytes that a loaded engine takes per byte of its files, loading included, once it ran
    /// on so many different shapes: an estimate. By default those of an engine that lives on a
    /// device: its file while it is read, and what is unpacked of it.
    fn host_bytes_per_byte(&self, _shapes: usize) -> f64 {
        2.0
    }

    /// The devices that its engines can be loaded on, without those that are lost; a single `None`
    /// where it has no numbered ones.
    fn devices(&self) -> Result<Vec<Option<usize>>, BackendError> {
        Ok(vec![None])
    }

    /// What this process holds on a device, where the backend counts it.
    fn usage(&self, _device: Option<usize>) -> Option<DeviceUsage> {
        None
    }

    /// What tells the clocks of a device and how busy it is, where it is a GPU that tells them.
    fn monitor(&self, _device: Option<usize>) -> Option<&'static cuda::GpuMonitor> {
        None
    }

    /// Compiles a model: writes the engine's files and returns the manifest that describes them
    /// (the caller writes it as `engine.json`).
    fn compile(&self, request: &CompileRequest<'_>) -> Result<EngineManifest, BackendError>;

    /// Loads a compiled engine from its folder.
    fn load(
        &self,
        folder: &Path,
        manifest: &EngineManifest,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Engine>, BackendError>;

    /// Loads a compiled engine as often as there are options, for several devices say; each may fail
    /// by itself. Its files are read once where the backend can.
    fn load_each(
        &self,
        folder: &Path,
        manifest: &EngineManifest,
        options: &[LoadOptions],
    ) -> Result<Vec<LoadedEngine>, BackendError> {
        Ok(options.iter().map(|options| self.load(folder, manifest, options)).collect())
    }

    /// Loads a model as it is, with every intermediate value computed in the model's own
    /// precision and no optimisation that may change results: the reference of `validate` and
    /// the executor of constant folding. `outputs` selects tensors by name, intermediates
    /// included; empty means the model's outputs.
    fn reference(&self, model: &Path, outputs: &[String]) -> Result<Arc<dyn Engine>, BackendError>;

    /// Loads a model as [`Backend::reference`] does, but as fast as the backend can without
    /// changing the values of `outputs` beyond rounding: the executor of calibration.
    fn observer(&self, model: &Path, outputs: &[String]) -> Result<Arc<dyn Engine>, BackendError> {
        self.reference(model, outputs)
    }

    /// Loads a model as [`Backend::reference`] does, without the warnings: for the many models of a
    /// search, of which one is loaded with them.
    fn another(&self, model: &Path) -> Result<Arc<dyn Engine>, BackendError> {
        self.reference(model, &[])
    }
}

/// What became of loading an engine.
pub type LoadedEngine = Result<Arc<dyn Engine>, BackendError>;

/// A loaded engine, shared by its contexts.
pub trait Engine: Send + Sync {
    /// Inputs in the model's order.
    fn inputs(&self) -> &[TensorSpec];
    /// Outputs in the model's order.
    fn outputs(&self) -> &[TensorSpec];
    /// Optimization profiles; empty where any shape the model allows will do.
    fn profiles(&self) -> &[Profile];
    /// Whether it computes on this machine's own processor: whoever runs it keeps a core busy, and
    /// does not wait.
    fn is_on_host(&self) -> bool {
        false
    }
    /// What the engine and its contexts hold, where the backend counts it.
    fn memory(&self) -> Option<EngineMemory> {
        None
    }
    /// The batch worth running for so many samples where up to `most` may run together: at least
    /// as many, at most `most`, and always the same for the same numbers. The caller fills the
    /// surplus with zeros. An engine that prepares itself for each size it meets says a few sizes.
    fn batch_for(&self, samples: usize, most: usize) -> usize {
        shapes::batch_in_profiles(self.profiles(), samples).min(most).max(samples)
    }
    /// A context of its own for one caller at a time.
    fn new_context(self: Arc<Self>) -> Result<Box<dyn ExecutionContext>, BackendError>;
}

/// One run at a time of one engine, with its own staging memory (256-byte aligned).
pub trait ExecutionContext: Send {
    /// Sets the shape of input `index` and gives its bytes to fill.
    fn input_mut(&mut self, index: usize, shape: &Shape) -> Result<&mut [u8], BackendError>;
    /// Sets input `index`, called `name`, to the shape and bytes of a tensor.
    fn fill(&mut self, index: usize, name: &str, tensor: &Tensor) -> Result<(), BackendError> {
        let bytes = self.input_mut(index, tensor.shape())?;
        if bytes.len() != tensor.bytes().len() {
            return Err(BackendError::Input {
                input: name.to_owned(),
                shape: tensor.shape().clone(),
                reason: format!("the engine set aside {} bytes for it", bytes.len()),
            });
        }
        bytes.copy_from_slice(tensor.bytes());
        Ok(())
    }
    /// Runs on the inputs as they are. The times may be those of an earlier run with the same
    /// shapes: on a GPU, measuring the parts of every run would make each slower.
    fn run(&mut self) -> Result<RunTimes, BackendError>;
    /// From now on a run ends early, as [`BackendError::Cancelled`], once this says so: as soon as
    /// the backend can. By default it is finished.
    fn stop_at(&mut self, _cancel: &CancelToken) {}
    /// How runs like the last one are submitted, where they are submitted to a GPU.
    fn submitted_as(&self) -> Option<SubmittedAs> {
        None
    }
    /// Shape and bytes of output `index` of the last run.
    fn output(&self, index: usize) -> Result<(&Shape, &[u8]), BackendError>;
}
