//! The CUDA driver, as TensorRT needs it: devices, contexts, streams, events, memory, accounting.
//!
//! Owns every call into `libcuda`, which is loaded when [`Driver::get`] is first asked for and
//! never linked: the program starts and works without it; and, in `monitor`, those into NVML. Must
//! not know engines or backends.
//!
//! Safe code cannot free memory that the device still works on: copies are submitted inside
//! [`Stream::scope`], which borrows their buffers until the device is done, or are done when the
//! call returns. Each handle keeps its [`Context`] alive and is released on drop, in any order and
//! on any thread. A GPU whose context broke is lost: nothing of it is used or released any more.
//! `unsafe` stands in `driver`, `context`, `stream`, `event`, `graph`, `memory` and `fault` only.

mod allocator;
mod context;
mod device;
mod driver;
mod error;
mod event;
mod fault;
mod gpu;
mod graph;
mod ledger;
mod memory;
mod monitor;
mod numa;
mod release;
mod slot;
#[cfg(test)]
pub(crate) mod standin;
mod stream;
mod stream_pool;

pub use allocator::DeviceAllocator;
pub use context::Context;
pub use device::{DeviceInfo, DeviceProperties};
pub use driver::{CudaVersion, Driver};
pub use error::CudaError;
pub use event::CudaEvent;
pub use graph::CudaGraph;
pub use ledger::{Ledger, MemoryInfo, MemoryKind};
pub(in crate::backend) use memory::host_memory;
pub use memory::{ALIGNMENT, DeviceBuffer, PinnedBuffer};
pub use monitor::{GpuClocks, GpuMonitor, GpuState, ThrottleReason};
pub use release::driver_release;
pub use slot::Slot;
pub use stream::{Stream, Submission};
pub use stream_pool::{PooledStream, StreamPool, StreamPoolStatistics};
