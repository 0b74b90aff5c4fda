//! [`Runtime`]: makes an engine of a plan.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::cuda::{Context, CudaError, Ledger};

use super::super::error::TrtError;
use super::super::sys::{Abi, EngineInvalidityDiagnostics, EngineValidity, IRuntime};
use super::allocator::GpuAllocator;
use super::engine::EngineHandle;
use super::library::Library;
use super::owned::{Class, Owned};
use super::plugins::Plugins;
use super::recorder::Recorder;

/// Makes one engine on one GPU: its allocator counts for that engine alone.
#[derive(Debug)]
pub(in super::super) struct Runtime {
    // They leave the runtime's registry before it goes.
    plugins: Vec<Plugins>,
    object: Owned<IRuntime>,
    recorder: Recorder,
    allocator: GpuAllocator,
    ledger: Arc<Ledger>,
    context: Context,
    abi: Abi,
}

// SAFETY: TensorRT ties a runtime to no thread, and what it points at (logger, recorder, allocator)
// may be used from all. Not `Sync`: nothing here needs it.
unsafe impl Send for Runtime {}

/// What TensorRT-RTX says of a plan before it makes an engine of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Validity {
    pub(in super::super) runs: bool,
    /// It runs, but not as fast as one that is built here.
    pub(in super::super) is_slow: bool,
    /// What it has against the plan.
    pub(in super::super) reasons: Vec<&'static str>,
}

impl Runtime {
    pub(in super::super) fn new(
        library: &'static Library,
        context: &Context,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, TrtError> {
        const CREATE: &str = "createInferRuntime_INTERNAL";
        context.make_current()?;
        let abi = library.abi();
        let recorder = Recorder::new(abi)?;
        let allocator = GpuAllocator::new(abi, context, ledger)?;
        let raw = library.create(CREATE)?;
        // SAFETY: the function gives null or a runtime that the caller owns.
        let object = unsafe { IRuntime::from_raw(raw, abi) };
        let object = recorder.check(CREATE, object)?;
        // SAFETY: as above; the library is never unloaded.
        let object = unsafe { Owned::new(object) };
        // SAFETY: the recorder outlives the runtime: it is dropped after it.
        unsafe { object.get().set_error_recorder(recorder.as_ptr()) };
        // SAFETY: the allocator outlives the runtime, and the runtime all that it makes.
        unsafe { object.get().set_gpu_allocator(allocator.as_ptr()) };
        let (ledger, context) = (Arc::clone(ledger), context.clone());
        Ok(Self { plugins: Vec::new(), object, recorder, allocator, ledger, context, abi })
    }

    /// Loads the libraries of plug-ins that a plan was built with, in this order.
    pub(in super::super) fn load_plugins(&mut self, files: &[PathBuf]) -> Result<(), TrtError> {
        // SAFETY: the runtime is alive.
        let registry = unsafe { self.object.get().get_plugin_registry() };
        // SAFETY: the registry is the runtime's; the plug-ins are dropped before it, and after the
        // engine, which holds the runtime.
        self.plugins.push(unsafe { Plugins::load(registry, files, &self.recorder) }?);
        Ok(())
    }

    /// Lets a plan run the code that it brings along: a version-compatible plan holds its own
    /// runtime.
    pub(in super::super) fn allow_host_code(&self) {
        // SAFETY: the runtime is alive.
        unsafe { self.object.get().set_engine_host_code_allowed(true) };
    }

    /// Asks whether a plan runs here. `None` where the library cannot be asked.
    pub(in super::super) fn validity(&self, plan: &[u8]) -> Option<Validity> {
        let mut bits = 0_u64;
        let (data, size) = (plan.as_ptr().cast_mut().cast(), i64::try_from(plan.len()).ok()?);
        self.context.make_current().ok()?;
        // SAFETY: the runtime is alive; the plan has that many bytes and is only read; the bits
        // are written to where it is told.
        let validity =
            unsafe { self.object.get().get_engine_validity(data, size, (&raw mut bits).cast()) };
        self.recorder.take();
        let validity = validity.ok()??;
        let reasons = EngineInvalidityDiagnostics::ALL
            .iter()
            .filter(|reason| reason.value(self.abi.generation).is_some_and(|bit| bits & bit != 0));
        Some(Validity {
            runs: validity != EngineValidity::Invalid,
            is_slow: validity == EngineValidity::Suboptimal,
            reasons: reasons.copied().map(words).collect(),
        })
    }

    /// Makes the engine; the plan is not needed afterwards.
    pub(in super::super) fn deserialize(self, plan: &[u8]) -> Result<EngineHandle, TrtError> {
        self.start()?;
        let recorder = Recorder::new(self.abi)?;
        let (data, size) = (plan.as_ptr().cast_mut().cast(), plan.len() as u64);
        // SAFETY: the runtime is alive; the plan has that many bytes, which TensorRT copies.
        let object = unsafe { self.object.get().deserialize_cuda_engine(data, size) };
        let Some(object) = object else {
            return Err(self.failed("deserializeCudaEngine", &self.recorder));
        };
        // SAFETY: the caller owns the new engine; `EngineHandle` drops it before its runtime.
        let object = unsafe { Owned::new(object) };
        Ok(EngineHandle::new(object, recorder, self))
    }

    /// Makes the GPU's context current, and forgets the failures of earlier calls.
    pub(super) fn start(&self) -> Result<(), TrtError> {
        self.allocator.take_failure();
        Ok(self.context.make_current()?)
    }

    /// As [`Self::start`], within a [`crate::backend::cuda::Stream::scope`].
    pub(super) fn start_in_scope(&self) -> Result<(), TrtError> {
        self.allocator.take_failure();
        Ok(self.context.keep_current()?)
    }

    /// The error of a call that failed: a GPU that is lost, memory that was refused, or what the
    /// recorder heard.
    pub(super) fn failed(&self, call: &'static str, recorder: &Recorder) -> TrtError {
        let reported = recorder.failed(call);
        let lost = self.context.probe().err();
        lost.or(self.allocator.take_failure()).map_or(reported, TrtError::Cuda)
    }

    pub(super) fn abi(&self) -> Abi {
        self.abi
    }

    pub(super) fn allocator(&self) -> &GpuAllocator {
        &self.allocator
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        leave(&self.context, &mut self.object);
    }
}

/// Makes the GPU's context current for the deletion of an object that holds memory there. On a GPU
/// that is lost it is not deleted: TensorRT would ask the driver for what may hang or crash.
pub(super) fn leave<C: Class>(context: &Context, object: &mut Owned<C>) {
    match context.make_current() {
        Ok(()) => {}
        Err(CudaError::DeviceLost { .. }) => object.abandon(),
        Err(error) => tracing::error!("{error}"),
    }
}

fn words(reason: EngineInvalidityDiagnostics) -> &'static str {
    match reason {
        EngineInvalidityDiagnostics::VersionMismatch => "another version built it",
        EngineInvalidityDiagnostics::UnsupportedCc => "it is not for this GPU's compute capability",
        EngineInvalidityDiagnostics::OldCudaDriver => "it needs a newer CUDA driver",
        EngineInvalidityDiagnostics::OldCudaRuntime => "it needs a newer CUDA runtime",
        EngineInvalidityDiagnostics::InsufficientGpuMemory => "the GPU has not enough memory",
        EngineInvalidityDiagnostics::MalformedEngine => "it is damaged, or no engine at all",
        EngineInvalidityDiagnostics::CudaError => "CUDA failed",
    }
}
