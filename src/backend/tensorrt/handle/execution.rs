//! [`Execution`]: TensorRT's execution context, without memory and without a stream.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use crate::backend::cuda::{DeviceBuffer, Stream};

use super::super::error::TrtError;
use super::super::sys::{Dims, IExecutionContext};
use super::engine::{EngineHandle, EngineTensor};
use super::owned::Owned;
use super::recorder::Recorder;
use super::runtime::leave;

/// An execution context. It knows memory by address only; whoever has it sees to the memory.
///
/// Tensors are named by their place in [`EngineHandle::tensors`].
#[derive(Debug)]
pub(super) struct Execution {
    object: Owned<IExecutionContext>,
    recorder: Recorder,
    // Contexts go before their engine.
    engine: Arc<EngineHandle>,
}

// SAFETY: TensorRT ties a context to no thread. It is for one thread at a time: not `Sync`.
unsafe impl Send for Execution {}

impl Execution {
    /// Takes over an execution context that its caller owns.
    pub(super) fn new(
        object: Owned<IExecutionContext>,
        engine: &Arc<EngineHandle>,
    ) -> Result<Self, TrtError> {
        let recorder = Recorder::new(engine.runtime().abi())?;
        // Whole before the object learns of the recorder: however this ends, the fields are then
        // dropped in their order.
        let execution = Self { object, recorder, engine: Arc::clone(engine) };
        let object = execution.object.get();
        // SAFETY: the recorder outlives the context: it is dropped after it.
        unsafe { object.set_error_recorder(execution.recorder.as_ptr()) };
        let allocator = execution.engine.runtime().allocator().as_ptr();
        // SAFETY: the allocator is the runtime's, which outlives the context.
        let set = unsafe { object.set_temporary_storage_allocator(allocator) };
        execution.recorder.hold("setTemporaryStorageAllocator", set)?;
        Ok(execution)
    }

    pub(super) fn engine(&self) -> &Arc<EngineHandle> {
        &self.engine
    }

    /// Tells it the memory for what layers pass on to each other: as much as
    /// [`EngineHandle::device_memory`] says.
    ///
    /// # Safety
    /// Runs and graphs of them use the memory: it must be there as long as there are any, and no
    /// two of them may use it at the same time.
    pub(super) unsafe fn set_device_memory(&self, memory: &DeviceBuffer) {
        let object = self.object.get();
        let len = i64::try_from(memory.len()).unwrap_or(i64::MAX);
        // SAFETY: the context is alive; of the memory, the caller has promised.
        let told = unsafe { object.set_device_memory_v2(memory.as_ptr(), len) };
        if told.is_err() {
            // SAFETY: as above; this library takes no length.
            unsafe { object.set_device_memory(memory.as_ptr()) };
        }
    }

    /// The profile that is chosen; `None` where none is yet.
    pub(super) fn profile(&self) -> Option<usize> {
        // SAFETY: the context is alive.
        let profile = unsafe { self.object.get().get_optimization_profile() };
        usize::try_from(profile).ok()
    }

    /// Chooses a profile, by way of a stream on which nothing else is under way. All shapes must be
    /// set anew.
    pub(super) fn set_profile(&self, profile: usize, stream: &Stream) -> Result<(), TrtError> {
        self.engine.runtime().start()?;
        let number = i32::try_from(profile).unwrap_or(i32::MAX);
        let object = self.object.get();
        // SAFETY: context and stream are alive.
        let chosen = unsafe { object.set_optimization_profile_async(number, stream.as_ptr()) };
        // What it copies must have arrived before anybody can free what it copies from.
        stream.synchronize()?;
        if chosen { Ok(()) } else { Err(self.failed("setOptimizationProfileAsync")) }
    }

    /// Sets the shape of an input.
    pub(super) fn set_shape(&self, at: usize, dims: &Dims) -> Result<(), TrtError> {
        if let Some(extent) = dims.too_wide(self.engine.runtime().abi()) {
            return Err(TrtError::TooWide(extent));
        }
        let name = &self.tensor(at).name;
        // SAFETY: the context is alive.
        let set = unsafe { self.object.get().set_input_shape(name, dims) };
        self.recorder.hold("setInputShape", set)
    }

    /// A tensor's extents, as TensorRT has them.
    pub(super) fn dims(&self, at: usize) -> Dims {
        // SAFETY: the context is alive.
        unsafe { self.object.get().get_tensor_shape(&self.tensor(at).name) }
    }

    /// Tells it where a tensor is.
    ///
    /// # Safety
    /// Host memory is read when shapes are worked out: it must be there until another is told. The
    /// rest is used by runs and graphs of them only, and must be there as long as there are any.
    pub(super) unsafe fn set_address(
        &self,
        at: usize,
        address: *mut c_void,
    ) -> Result<(), TrtError> {
        let name = &self.tensor(at).name;
        // SAFETY: the context is alive; of the memory, the caller has promised.
        let told = unsafe { self.object.get().set_tensor_address(name, address) };
        self.recorder.hold("setTensorAddress", told)
    }

    /// Tells it who allocates an output.
    ///
    /// # Safety
    /// It must be an `IOutputAllocator` of the library's generation, there as long as this is
    /// unless it is refused.
    pub(super) unsafe fn set_output_allocator(
        &self,
        at: usize,
        allocator: *mut c_void,
    ) -> Result<(), TrtError> {
        let name = &self.tensor(at).name;
        // SAFETY: the context is alive; of the allocator, the caller has promised.
        let set = unsafe { self.object.get().set_output_allocator(name, allocator) };
        self.recorder.hold("setOutputAllocator", set)
    }

    /// Works out the shapes that follow from those of the inputs, and from the values of inputs
    /// that hold shapes.
    pub(super) fn infer_shapes(&self) -> Result<(), TrtError> {
        self.engine.runtime().start()?;
        self.recorder.take();
        // SAFETY: the context is alive, and so is the memory that it reads shapes from; no names
        // are asked for.
        let missing = unsafe { self.object.get().infer_shapes(0, null_mut()) };
        self.recorder.hold("inferShapes", missing == 0)
    }

    /// Submits a run to a stream whose context is current.
    ///
    /// # Safety
    /// Every tensor must have memory enough, which is neither freed nor used otherwise before the
    /// run is over, and the stream must be of the engine's GPU.
    pub(super) unsafe fn enqueue(&self, stream: &Stream) -> Result<(), TrtError> {
        self.engine.runtime().start_in_scope()?;
        // SAFETY: context and stream are alive; of the rest, the caller has promised.
        let submitted = unsafe { self.object.get().enqueue_v3(stream.as_ptr()) };
        if submitted { Ok(()) } else { Err(self.failed("enqueueV3")) }
    }

    /// The error of a call that failed.
    pub(super) fn failed(&self, call: &'static str) -> TrtError {
        self.engine.runtime().failed(call, &self.recorder)
    }

    pub(super) fn tensor(&self, at: usize) -> &EngineTensor {
        &self.engine.tensors()[at]
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        leave(self.engine.runtime().context(), &mut self.object);
    }
}
