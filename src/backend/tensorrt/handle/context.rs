//! [`ContextHandle`]: one run at a time of an engine, with the memory that it runs in.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use crate::backend::cuda::{Context, DeviceBuffer, PinnedBuffer, Stream, Submission};

use super::super::error::TrtError;
use super::super::sys::{Dims, IExecutionContext};
use super::engine::{EngineHandle, EngineTensor};
use super::output_allocator::OutputAllocator;
use super::owned::Owned;
use super::recorder::Recorder;
use super::runtime::leave;

/// An extent that is known only when the tensor was computed.
const OPEN: i64 = -1;

/// An execution context, its stream, and the memory of its inputs and outputs. TensorRT knows the
/// memory by address only; that it is there and large enough for a run's shapes, [`Self::settle`]
/// sees to.
///
/// Tensors are named by their place in [`EngineHandle::tensors`].
#[derive(Debug)]
pub(in super::super) struct ContextHandle {
    object: Owned<IExecutionContext>,
    recorder: Recorder,
    bindings: Vec<Binding>,
    /// Whether every binding is large enough for the shapes that are set.
    is_settled: bool,
    stream: Stream,
    // Contexts go before their engine.
    engine: Arc<EngineHandle>,
}

// SAFETY: TensorRT ties a context to no thread. It is for one thread at a time: not `Sync`.
unsafe impl Send for ContextHandle {}

/// The memory that one tensor is in.
#[derive(Debug, Default)]
enum Binding {
    #[default]
    None,
    Device(DeviceBuffer),
    Host(PinnedBuffer),
    Allocated(OutputAllocator),
}

impl Binding {
    fn capacity(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Device(buffer) => Some(buffer.len()),
            Self::Host(buffer) => Some(buffer.len()),
            Self::Allocated(_) => Some(usize::MAX),
        }
    }

    /// What TensorRT is told as the tensor's address.
    fn address(&self) -> Option<*mut c_void> {
        match self {
            Self::None | Self::Allocated(_) => None,
            Self::Device(buffer) => Some(buffer.as_ptr()),
            Self::Host(buffer) => Some(buffer.address()),
        }
    }
}

impl ContextHandle {
    pub(super) fn new(
        object: Owned<IExecutionContext>,
        engine: &Arc<EngineHandle>,
    ) -> Result<Self, TrtError> {
        let recorder = Recorder::new(engine.runtime().abi())?;
        let stream = Stream::new(engine.runtime().context())?;
        let bindings = engine.tensors().iter().map(|_| Binding::None).collect();
        let engine = Arc::clone(engine);
        // Whole before the object learns of the recorder: however this ends, the fields are then
        // dropped in their order.
        let context = Self { object, recorder, bindings, is_settled: false, stream, engine };
        let object = context.object.get();
        // SAFETY: the recorder outlives the context: it is dropped after it.
        unsafe { object.set_error_recorder(context.recorder.as_ptr()) };
        let allocator = context.engine.runtime().allocator().as_ptr();
        // SAFETY: the allocator is the runtime's, which outlives the context.
        let set = unsafe { object.set_temporary_storage_allocator(allocator) };
        context.recorder.hold("setTemporaryStorageAllocator", set)?;
        Ok(context)
    }

    /// The stream that it runs on.
    pub(in super::super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The GPU that it runs on.
    pub(in super::super) fn gpu(&self) -> &Context {
        self.engine.runtime().context()
    }

    /// The profile that is chosen; `None` where none is yet.
    pub(in super::super) fn profile(&self) -> Option<usize> {
        // SAFETY: the context is alive.
        let profile = unsafe { self.object.get().get_optimization_profile() };
        usize::try_from(profile).ok()
    }

    /// Chooses a profile. All shapes must be set anew.
    pub(in super::super) fn set_profile(&mut self, profile: usize) -> Result<(), TrtError> {
        const CALL: &str = "setOptimizationProfileAsync";
        self.is_settled = false;
        self.engine.runtime().start()?;
        let number = i32::try_from(profile).unwrap_or(i32::MAX);
        let context = self.object.get();
        // SAFETY: context and stream are alive; all that runs goes to this stream.
        let chosen =
            unsafe { context.set_optimization_profile_async(number, self.stream.as_ptr()) };
        // What it copies must have arrived before anybody can free what it copies from.
        self.stream.synchronize()?;
        if !chosen {
            return Err(self.failed(CALL));
        }
        let mut bindings = self.bindings.iter().enumerate();
        bindings.try_for_each(|(at, binding)| self.tell_address(at, binding))
    }

    /// Sets the shape of an input.
    pub(in super::super) fn set_shape(&mut self, at: usize, dims: &Dims) -> Result<(), TrtError> {
        self.is_settled = false;
        if let Some(extent) = dims.too_wide(self.engine.runtime().abi()) {
            return Err(TrtError::TooWide(extent));
        }
        let name = &self.tensor(at).name;
        // SAFETY: the context is alive.
        let set = unsafe { self.object.get().set_input_shape(name, dims) };
        self.recorder.hold("setInputShape", set)
    }

    /// A tensor's extents, -1 where they are known only when it was computed. `None` where the
    /// inputs do not tell them.
    pub(in super::super) fn extents(&self, at: usize) -> Option<Vec<i64>> {
        // SAFETY: the context is alive.
        let dims = unsafe { self.object.get().get_tensor_shape(&self.tensor(at).name) };
        dims.extents().map(<[i64]>::to_vec)
    }

    /// Sees to memory of at least so many bytes for a tensor, where the engine has it. What was in
    /// it is lost if it has to grow.
    pub(in super::super) fn reserve(&mut self, at: usize, bytes: usize) -> Result<(), TrtError> {
        if self.bindings[at].capacity().is_some_and(|capacity| capacity >= bytes) {
            return Ok(());
        }
        self.is_settled = false;
        let runtime = self.engine.runtime();
        let (gpu, ledger) = (runtime.context(), runtime.ledger());
        let binding = if self.tensor(at).on_host {
            // Read when shapes are worked out, so the old one stays until the new one is told.
            Binding::Host(PinnedBuffer::new(gpu, ledger, bytes)?)
        } else {
            // Used by runs only, and there is none before all is settled: old and new need not be
            // there at once.
            self.bindings[at] = Binding::None;
            Binding::Device(DeviceBuffer::new(gpu, ledger, bytes)?)
        };
        self.tell_address(at, &binding)?;
        self.bindings[at] = binding;
        Ok(())
    }

    /// The device memory of a tensor that [`Self::reserve`] saw to.
    pub(in super::super) fn device(&self, at: usize) -> Option<&DeviceBuffer> {
        match &self.bindings[at] {
            Binding::Device(buffer) => Some(buffer),
            _ => None,
        }
    }

    /// The host memory of an input that [`Self::reserve`] saw to: TensorRT only reads it.
    pub(in super::super) fn host(&self, at: usize) -> Option<&[u8]> {
        match &self.bindings[at] {
            Binding::Host(buffer) if self.tensor(at).is_input => Some(buffer),
            _ => None,
        }
    }

    /// The host memory of an output. TensorRT writes it in a run, which borrows this, so nobody
    /// else may have it then.
    pub(in super::super) fn host_output(&mut self, at: usize) -> Option<&[u8]> {
        match &self.bindings[at] {
            Binding::Host(buffer) => Some(buffer),
            _ => None,
        }
    }

    /// The host memory of an input, to write. Shapes may follow from it, so they must be settled
    /// again.
    pub(in super::super) fn host_mut(&mut self, at: usize) -> Option<&mut [u8]> {
        self.is_settled = false;
        match &mut self.bindings[at] {
            Binding::Host(buffer) => Some(buffer),
            _ => None,
        }
    }

    /// The extents and the memory that an output of the last run turned out to have.
    pub(in super::super) fn allocated(&self, at: usize) -> Option<(Vec<i64>, Arc<DeviceBuffer>)> {
        let Binding::Allocated(allocator) = &self.bindings[at] else { return None };
        let (dims, buffer) = allocator.result()?;
        Some((dims.extents()?.to_vec(), buffer))
    }

    /// Whether nothing changed since [`Self::settle`].
    pub(in super::super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Works out the shapes that follow from those of the inputs, and from the values of inputs
    /// that hold shapes.
    pub(in super::super) fn infer_shapes(&mut self) -> Result<(), TrtError> {
        self.engine.runtime().start()?;
        self.recorder.take();
        // SAFETY: the context is alive, and so is the memory that it reads shapes from; no names
        // are asked for.
        let missing = unsafe { self.object.get().infer_shapes(0, null_mut()) };
        self.recorder.hold("inferShapes", missing == 0)
    }

    /// Works out shapes, and sees to memory enough for all of them.
    pub(in super::super) fn settle(&mut self) -> Result<(), TrtError> {
        self.infer_shapes()?;
        for at in 0..self.bindings.len() {
            let extents = self.extents(at).ok_or_else(|| self.failed("getTensorShape"))?;
            if extents.contains(&OPEN) {
                self.allocate_as_needed(at)?;
                continue;
            }
            let bytes = self.tensor(at).bytes(&extents);
            let bytes = bytes.ok_or_else(|| self.failed("getTensorShape"))?;
            self.reserve(at, bytes)?;
        }
        self.is_settled = true;
        Ok(())
    }

    /// Lets an output have what memory it turns out to need.
    fn allocate_as_needed(&mut self, at: usize) -> Result<(), TrtError> {
        if matches!(self.bindings[at], Binding::Allocated(_)) {
            return Ok(());
        }
        let runtime = self.engine.runtime();
        let allocator = OutputAllocator::new(runtime.abi(), runtime.context(), runtime.ledger())?;
        let name = &self.tensor(at).name;
        // SAFETY: the context is alive; the allocator is kept until it is gone, unless it is
        // refused.
        let set = unsafe { self.object.get().set_output_allocator(name, allocator.as_ptr()) };
        self.recorder.hold("setOutputAllocator", set)?;
        self.bindings[at] = Binding::Allocated(allocator);
        Ok(())
    }

    /// Submits a run to the context's own stream, within a [`Stream::scope`] of it.
    pub(in super::super) fn enqueue<'env>(
        &'env self,
        work: &Submission<'_, 'env>,
    ) -> Result<(), TrtError> {
        assert!(self.is_settled, "the memory of a run was not settled");
        let stream = self.stream.as_ptr();
        assert!(work.stream().as_ptr() == stream, "a context runs on its own stream only");
        for binding in &self.bindings {
            if let Binding::Allocated(allocator) = binding {
                allocator.start();
            }
        }
        self.engine.runtime().start()?;
        // SAFETY: context and stream are alive. Every tensor has memory enough, which is neither
        // freed nor written from here before the scope has waited: all of it is in `self`, which
        // is borrowed for longer. What TensorRT writes on the host, nobody reads meanwhile: that
        // takes a mutable borrow.
        if unsafe { self.object.get().enqueue_v3(stream) } {
            return Ok(());
        }
        Err(self.failed("enqueueV3"))
    }

    fn failed(&self, call: &'static str) -> TrtError {
        let failure = self.bindings.iter().find_map(|binding| match binding {
            Binding::Allocated(allocator) => allocator.take_failure(),
            _ => None,
        });
        let reported = self.engine.runtime().failed(call, &self.recorder);
        failure.map_or(reported, TrtError::Cuda)
    }

    fn tell_address(&self, at: usize, binding: &Binding) -> Result<(), TrtError> {
        let Some(address) = binding.address() else { return Ok(()) };
        let name = &self.tensor(at).name;
        // SAFETY: the context is alive. It uses host memory when it works out shapes: that is kept
        // until another is told. It uses the rest in runs only, and those need settled memory.
        let told = unsafe { self.object.get().set_tensor_address(name, address) };
        self.recorder.hold("setTensorAddress", told)
    }

    fn tensor(&self, at: usize) -> &EngineTensor {
        &self.engine.tensors()[at]
    }
}

impl Drop for ContextHandle {
    fn drop(&mut self) {
        leave(self.engine.runtime().context(), &mut self.object);
    }
}
