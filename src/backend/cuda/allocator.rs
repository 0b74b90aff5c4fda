//! Device memory by address, for libraries that bring their own idea of who owns it.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::context::Context;
use super::error::CudaError;
use super::ledger::Ledger;
use super::memory::DeviceBuffer;

/// Allocates and frees device memory by address, from any thread, and records it in a ledger.
/// What is left when it is dropped is freed.
#[derive(Debug)]
pub struct DeviceAllocator {
    context: Context,
    ledger: Arc<Ledger>,
    live: Mutex<BTreeMap<usize, DeviceBuffer>>,
    unknown_frees: AtomicU64,
}

impl DeviceAllocator {
    /// An allocator of a device's memory.
    pub fn new(context: &Context, ledger: &Arc<Ledger>) -> Self {
        Self {
            context: context.clone(),
            ledger: Arc::clone(ledger),
            live: Mutex::default(),
            unknown_frees: AtomicU64::new(0),
        }
    }

    /// Allocates device memory that begins at a multiple of `alignment`, 0 for any; null for no
    /// bytes.
    pub fn allocate(&self, bytes: usize, alignment: usize) -> Result<*mut c_void, CudaError> {
        if bytes == 0 {
            return Ok(std::ptr::null_mut());
        }
        let buffer = DeviceBuffer::aligned(&self.context, &self.ledger, bytes, alignment)?;
        let address = buffer.as_ptr();
        self.live().insert(address.addr(), buffer);
        Ok(address)
    }

    /// Frees what [`Self::allocate`] gave, or null; the driver first lets the device finish. False
    /// where it did not give that, or it was freed before: that is logged and counted, no more.
    pub fn free(&self, pointer: *mut c_void) -> bool {
        if pointer.is_null() {
            return true;
        }
        // A statement of its own: the lock is not held while the driver frees.
        let buffer = self.live().remove(&pointer.addr());
        if buffer.is_none() {
            self.unknown_frees.fetch_add(1, Ordering::Relaxed);
            tracing::error!("asked to free device memory at {pointer:p}, which is not allocated");
        }
        buffer.is_some()
    }

    /// How many calls of [`Self::free`] named memory that is not allocated.
    pub fn unknown_frees(&self) -> u64 {
        self.unknown_frees.load(Ordering::Relaxed)
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<usize, DeviceBuffer>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
