//! [`ContextHandle`]: one run at a time of an engine, with the memory that it runs in.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;

use crate::backend::cuda::{Context, DeviceBuffer, PinnedBuffer, Stream, Submission};

use super::super::error::TrtError;
use super::super::sys::Dims;
use super::captured::CapturedRun;
use super::engine::{EngineHandle, EngineTensor};
use super::execution::Execution;
use super::output_allocator::OutputAllocator;

/// An extent that is known only when the tensor was computed.
const OPEN: i64 = -1;

/// An execution context, its stream, and the memory that it runs in. TensorRT knows the memory by
/// address only; that it is there and large enough for a run's shapes, [`Self::settle`] sees to.
///
/// Tensors are named by their place in [`EngineHandle::tensors`].
#[derive(Debug)]
pub(in super::super) struct ContextHandle {
    // They go before the memory that they use.
    captured: BTreeMap<GraphId, CapturedRun>,
    /// The last number that was given to a graph.
    last_graph: u64,
    execution: Execution,
    bindings: Vec<Binding>,
    /// What layers pass on to each other.
    scratch: DeviceBuffer,
    /// Whether every binding is large enough for the shapes that are set.
    is_settled: bool,
    stream: Stream,
}

/// A captured run of a context. It is never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct GraphId(u64);

#[cfg(test)]
impl GraphId {
    /// One that no context has given.
    pub(in super::super) fn of(number: u64) -> Self {
        Self(number)
    }
}

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

    /// The address that every run of the same shapes has it at, on the device.
    fn device_address(&self) -> Option<*mut c_void> {
        match self {
            Self::Device(buffer) => Some(buffer.as_ptr()),
            Self::None | Self::Host(_) | Self::Allocated(_) => None,
        }
    }
}

impl ContextHandle {
    pub(super) fn new(engine: &Arc<EngineHandle>) -> Result<Self, TrtError> {
        let runtime = engine.runtime();
        let (gpu, ledger) = (runtime.context(), runtime.ledger());
        let bytes = usize::try_from(engine.device_memory().unwrap_or(0)).unwrap_or(usize::MAX);
        let scratch = DeviceBuffer::new(gpu, ledger, bytes)?;
        let stream = Stream::new(gpu)?;
        let execution = engine.new_execution()?;
        // SAFETY: runs are submitted to one stream, so there is one at a time; the memory is
        // dropped after the execution and the graphs.
        unsafe { execution.set_device_memory(&scratch) };
        let bindings = engine.tensors().iter().map(|_| Binding::None).collect();
        let captured = BTreeMap::new();
        let (last_graph, is_settled) = (0, false);
        Ok(Self { captured, last_graph, execution, bindings, scratch, is_settled, stream })
    }

    /// The stream that it runs on.
    pub(in super::super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The GPU that it runs on.
    pub(in super::super) fn gpu(&self) -> &Context {
        self.engine().runtime().context()
    }

    /// The profile that is chosen; `None` where none is yet.
    pub(in super::super) fn profile(&self) -> Option<usize> {
        self.execution.profile()
    }

    /// Chooses a profile. All shapes must be set anew.
    pub(in super::super) fn set_profile(&mut self, profile: usize) -> Result<(), TrtError> {
        self.is_settled = false;
        self.execution.set_profile(profile, &self.stream)?;
        let mut bindings = self.bindings.iter().enumerate();
        bindings.try_for_each(|(at, binding)| self.tell_address(at, binding))
    }

    /// Sets the shape of an input.
    pub(in super::super) fn set_shape(&mut self, at: usize, dims: &Dims) -> Result<(), TrtError> {
        self.is_settled = false;
        self.execution.set_shape(at, dims)
    }

    /// A tensor's extents, -1 where they are known only when it was computed. `None` where the
    /// inputs do not tell them.
    pub(in super::super) fn extents(&self, at: usize) -> Option<Vec<i64>> {
        self.execution.dims(at).extents().map(<[i64]>::to_vec)
    }

    /// Sees to memory of at least so many bytes for a tensor, where the engine has it. What was in
    /// it is lost if it has to grow.
    pub(in super::super) fn reserve(&mut self, at: usize, bytes: usize) -> Result<(), TrtError> {
        if self.bindings[at].capacity().is_some_and(|capacity| capacity >= bytes) {
            return Ok(());
        }
        self.is_settled = false;
        // They use the old one.
        self.captured.clear();
        let runtime = self.execution.engine().runtime();
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
        self.execution.infer_shapes()
    }

    /// Works out shapes, and sees to memory enough for all of them.
    pub(in super::super) fn settle(&mut self) -> Result<(), TrtError> {
        self.infer_shapes()?;
        for at in 0..self.bindings.len() {
            let failed = || self.execution.failed("getTensorShape");
            let extents = self.extents(at).ok_or_else(failed)?;
            if extents.contains(&OPEN) {
                self.allocate_as_needed(at)?;
                continue;
            }
            let bytes = self.tensor(at).bytes(&extents);
            let bytes = bytes.ok_or_else(failed)?;
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
        let runtime = self.engine().runtime();
        let allocator = OutputAllocator::new(runtime.abi(), runtime.context(), runtime.ledger())?;
        // SAFETY: the allocator is kept until the execution is gone, unless it is refused.
        unsafe { self.execution.set_output_allocator(at, allocator.as_ptr()) }?;
        self.bindings[at] = Binding::Allocated(allocator);
        Ok(())
    }

    /// Submits a run to the context's own stream, within a [`Stream::scope`] of it.
    pub(in super::super) fn enqueue<'env>(
        &'env self,
        work: &Submission<'_, 'env>,
    ) -> Result<(), TrtError> {
        assert!(self.is_settled, "the memory of a run was not settled");
        self.check_stream(work);
        for binding in &self.bindings {
            if let Binding::Allocated(allocator) = binding {
                allocator.start();
            }
        }
        // SAFETY: every tensor has memory enough, which is neither freed nor written from here
        // before the scope has waited: all of it is in `self`, which is borrowed for longer. What
        // TensorRT writes on the host, nobody reads meanwhile: that takes a mutable borrow.
        unsafe { self.execution.enqueue(&self.stream) }.map_err(|error| self.allocators_say(error))
    }

    /// Captures the run that is settled, as a graph that can be launched until memory has to grow.
    /// What is in outputs is lost.
    pub(in super::super) fn capture(&mut self) -> Result<GraphId, TrtError> {
        assert!(self.is_settled, "the memory of a run was not settled");
        let address = |(at, binding): (usize, &Binding)| {
            binding.device_address().ok_or_else(|| TrtError::NoGraph(self.tensor(at).name_text()))
        };
        let addresses = self.bindings.iter().enumerate().map(address);
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        // SAFETY: the memory is large enough, as it is settled, and is not replaced while there are
        // graphs; nobody uses it meanwhile, as `self` is borrowed mutably.
        let run =
            unsafe { CapturedRun::new(&self.execution, &self.scratch, &addresses, &self.stream) }?;
        self.last_graph += 1;
        let id = GraphId(self.last_graph);
        self.captured.insert(id, run);
        Ok(id)
    }

    /// A graph; `None` where it was released, or memory had to grow.
    pub(in super::super) fn graph(&self, id: GraphId) -> Option<&CapturedRun> {
        self.captured.get(&id)
    }

    /// Submits a captured run to the context's own stream, within a [`Stream::scope`] of it.
    pub(in super::super) fn launch<'env>(
        &'env self,
        id: GraphId,
        work: &Submission<'_, 'env>,
    ) -> Result<(), TrtError> {
        self.check_stream(work);
        Ok(self.captured[&id].launch(work)?)
    }

    /// Lets go of a graph.
    pub(in super::super) fn release(&mut self, id: GraphId) {
        self.captured.remove(&id);
    }

    fn check_stream(&self, work: &Submission<'_, '_>) {
        let own = work.stream().as_ptr() == self.stream.as_ptr();
        assert!(own, "a context runs on its own stream only");
    }

    /// Why memory for an output was refused, where that is why a run failed.
    fn allocators_say(&self, error: TrtError) -> TrtError {
        let failure = self.bindings.iter().find_map(|binding| match binding {
            Binding::Allocated(allocator) => allocator.take_failure(),
            _ => None,
        });
        failure.map_or(error, TrtError::Cuda)
    }

    fn tell_address(&self, at: usize, binding: &Binding) -> Result<(), TrtError> {
        let Some(address) = binding.address() else { return Ok(()) };
        // SAFETY: host memory is kept until another is told; the rest is used in runs only, and
        // those need settled memory.
        unsafe { self.execution.set_address(at, address) }
    }

    fn engine(&self) -> &Arc<EngineHandle> {
        self.execution.engine()
    }

    fn tensor(&self, at: usize) -> &EngineTensor {
        self.execution.tensor(at)
    }
}
