//! [`CapturedRun`]: a run of an engine as a CUDA graph.
//!
//! What is captured refers to the state of the execution context that submitted it, which changes
//! with its shapes. So each graph has an execution context of its own, whose shapes never change;
//! those of one [`super::ContextHandle`] share its memory, which only one run at a time uses.

use std::ffi::c_void;
use std::sync::Arc;

use crate::backend::cuda::{CudaError, CudaGraph, DeviceBuffer, MemoryKind, Stream, Submission};

use super::super::error::TrtError;
use super::engine::EngineHandle;
use super::execution::Execution;

/// What is reckoned for each node of a graph that is ready to be launched, as the driver does not
/// tell how much device memory it takes. Measured on an H200 with driver 580: 1.5 and 1.9 MiB for
/// graphs of about 60 nodes.
const NODE_BYTES: u64 = 32 << 10;

/// The run of one profile and one set of input shapes.
#[derive(Debug)]
pub(in super::super) struct CapturedRun {
    // Goes before what it was captured from.
    graph: CudaGraph,
    execution: Execution,
    device_bytes: u64,
}

impl CapturedRun {
    /// Captures the run that `like` is set up for. `addresses` are those of the tensors, by their
    /// place.
    ///
    /// # Safety
    /// All the memory must be there, and large enough for the shapes of `like`, as long as this is,
    /// and nobody may use it while this runs; nothing else is submitted to the stream meanwhile.
    pub(super) unsafe fn new(
        like: &Execution,
        scratch: &DeviceBuffer,
        addresses: &[*mut c_void],
        stream: &Stream,
    ) -> Result<Self, TrtError> {
        let engine = like.engine();
        let before = device_bytes(engine);
        let execution = engine.new_execution()?;
        // SAFETY: the caller has promised that it is there and nobody else uses it.
        unsafe { execution.set_device_memory(scratch) };
        let profile = like.profile().filter(|_| engine.is_dynamic());
        if let Some(profile) = profile.filter(|_| execution.profile() != profile) {
            execution.set_profile(profile, stream)?;
        }
        for (at, (tensor, address)) in engine.tensors().iter().zip(addresses).enumerate() {
            if tensor.is_input {
                execution.set_shape(at, &like.dims(at))?;
            }
            // SAFETY: as above.
            unsafe { execution.set_address(at, *address) }?;
        }
        // It makes the GPU's context current, too.
        execution.infer_shapes()?;
        // The first run of a shape prepares what a capture could not: it copies and allocates.
        // SAFETY: as above.
        let flushed = unsafe { execution.enqueue(stream) };
        stream.synchronize()?;
        flushed?;
        let mut graph = CudaGraph::new(engine.runtime().context());
        let submit = |work: &Submission<'_, '_>| {
            // SAFETY: as above, for every launch of the graph.
            unsafe { execution.enqueue(work.stream()) }
        };
        // SAFETY: as above; the kernels are those of the engine, which the execution keeps loaded.
        unsafe { graph.capture(stream, submit) }?;
        stream.synchronize()?;
        let nodes = u64::try_from(graph.nodes()).unwrap_or(u64::MAX);
        let own = device_bytes(engine).saturating_sub(before);
        let device_bytes = own.saturating_add(nodes.saturating_mul(NODE_BYTES));
        Ok(Self { graph, execution, device_bytes })
    }

    /// Submits the run.
    pub(super) fn launch<'env>(&'env self, work: &Submission<'_, 'env>) -> Result<(), CudaError> {
        self.graph.launch(work)
    }

    /// About how much device memory it takes that its context does not need otherwise.
    pub(in super::super) fn device_bytes(&self) -> u64 {
        self.device_bytes
    }

    /// How many kernels, copies and so on it consists of.
    pub(in super::super) fn nodes(&self) -> usize {
        self.graph.nodes()
    }

    /// The extents of a tensor in this run.
    pub(in super::super) fn extents(&self, at: usize) -> Option<Vec<i64>> {
        self.execution.dims(at).extents().map(<[i64]>::to_vec)
    }
}

fn device_bytes(engine: &Arc<EngineHandle>) -> u64 {
    engine.runtime().ledger().stats(MemoryKind::Device).current
}
