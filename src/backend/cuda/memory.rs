//! Memory that is released on drop and recorded in a ledger: a device's, and pinned host memory.

#![expect(unsafe_code, reason = "the driver is a C library that hands out memory")]

use std::ffi::{c_int, c_void};
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use cudarc::driver::sys::CU_MEMHOSTALLOC_PORTABLE;

use super::context::Context;
use super::driver::{DeviceAddress, Functions};
use super::error::{CudaError, OUT_OF_MEMORY};
use super::ledger::{Charge, Ledger, MemoryInfo, MemoryKind};

/// What the driver aligns all device memory to.
pub const ALIGNMENT: usize = 256;

/// Memory on a device, with any content.
///
/// It is an address, no memory of this process: no reference to what is in it ever exists, so
/// sharing it between threads, or a device writing to it, breaks no rule of Rust's. What must not
/// happen is that it is freed while the device works on it; see [`super::Stream::scope`].
#[derive(Debug)]
pub struct DeviceBuffer {
    context: Context,
    address: DeviceAddress,
    /// Bytes before those that are used.
    skipped: usize,
    len: usize,
    // Dropped after the memory is freed.
    _charge: Charge,
}

impl DeviceBuffer {
    /// Allocates device memory that begins at a multiple of `alignment`, which may be more than
    /// the driver promises: then memory is taken that has such a multiple in it.
    pub fn aligned(
        context: &Context,
        ledger: &Arc<Ledger>,
        len: usize,
        alignment: usize,
    ) -> Result<Self, CudaError> {
        let buffer = Self::new(context, ledger, len)?;
        if alignment == 0 || buffer.address.is_multiple_of(alignment) {
            return Ok(buffer);
        }
        drop(buffer);
        let mut buffer = Self::new(context, ledger, len.saturating_add(alignment))?;
        buffer.skipped = buffer.address.wrapping_neg() % alignment;
        buffer.len = len;
        Ok(buffer)
    }

    /// Allocates device memory, aligned to [`ALIGNMENT`].
    pub fn new(context: &Context, ledger: &Arc<Ledger>, len: usize) -> Result<Self, CudaError> {
        context.make_current()?;
        let driver = context.driver();
        let bytes = at_least_one(len);
        let mut address = 0;
        // SAFETY: a context is current; the driver writes one address to where it is told.
        let code = unsafe { (driver.functions.memory_allocate)(&raw mut address, bytes) };
        if code == OUT_OF_MEMORY {
            let available = context.memory_info().ok();
            return Err(out_of_memory(MemoryKind::Device, len, available));
        }
        driver.check("allocate device memory", code)?;
        let charge = ledger.charge(MemoryKind::Device, bytes);
        Ok(Self { context: context.clone(), address, skipped: 0, len, _charge: charge })
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes; it has an address all the same.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its address on the device, as other libraries take it: never null, not to be dereferenced.
    pub fn as_ptr(&self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.address())
    }

    /// Copies host memory to its start, and returns when the device has it. A copy beside other
    /// work, which is the faster way, is [`super::Submission::upload`]; this one takes no stream
    /// and waits for none of ours.
    ///
    /// ```no_run
    /// use trt_pipeline::backend::cuda::{Context, CudaError, DeviceBuffer, Ledger};
    ///
    /// # fn main() -> Result<(), CudaError> {
    /// let (context, ledger) = (Context::new(0)?, Ledger::new());
    /// let buffer = DeviceBuffer::new(&context, &ledger, 4)?;
    /// buffer.copy_from_host(&[1, 2, 3, 4])?;
    /// let mut back = [0; 4];
    /// buffer.copy_to_host(&mut back)?;
    /// assert_eq!(back, [1, 2, 3, 4]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy_from_host(&self, from: &[u8]) -> Result<(), CudaError> {
        self.copy_now("copy to the GPU", from.len(), &[self], |functions| {
            // SAFETY: both ranges are there, of this length at least, which `copy_now` has checked.
            unsafe {
                (functions.copy_to_device_now)(self.address(), from.as_ptr().cast(), from.len())
            }
        })
    }

    /// Fills host memory from its start, and returns when it is filled.
    pub fn copy_to_host(&self, to: &mut [u8]) -> Result<(), CudaError> {
        self.copy_now("copy from the GPU", to.len(), &[self], |functions| {
            // SAFETY: as in `copy_from_host`; the host's bytes are borrowed mutably, and any byte
            // is a value of theirs.
            unsafe {
                (functions.copy_to_host_now)(to.as_mut_ptr().cast(), self.address(), to.len())
            }
        })
    }

    /// Copies the first `len` bytes of another buffer to its start, and returns when they are here.
    pub fn copy_from_device(&self, from: &Self, len: usize) -> Result<(), CudaError> {
        self.copy_now("copy on the GPU", len, &[from, self], |functions| {
            // SAFETY: as in `copy_from_host`, with two device ranges.
            unsafe { (functions.copy_on_device_now)(self.address(), from.address(), len) }
        })
    }

    /// Makes a copy of `len` bytes, which the buffers must have, and waits until it is made.
    fn copy_now(
        &self,
        operation: &'static str,
        len: usize,
        buffers: &[&Self],
        call: impl FnOnce(&Functions) -> c_int,
    ) -> Result<(), CudaError> {
        check_bounds(operation, len, buffers)?;
        if len == 0 {
            return Ok(());
        }
        self.context.make_current()?;
        let driver = self.context.driver();
        driver.check(operation, call(driver.functions))?;
        // The driver returns before the device has the bytes where those are not pinned, or are a
        // device's: only streams that wait for the default stream would not see that.
        // SAFETY: a context is current; null is its default stream, which these copies go to.
        let waited = unsafe { (driver.functions.stream_synchronize)(null_mut()) };
        driver.check(operation, waited)
    }

    pub(super) fn address(&self) -> DeviceAddress {
        self.address + self.skipped
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        let driver = self.context.driver();
        let free = || {
            self.context.make_current()?;
            // SAFETY: the address came from this driver, is freed only here, and no copy of this
            // module's works on it: those have borrowed the buffer until they were done.
            let code = unsafe { (driver.functions.memory_free)(self.address) };
            driver.check("free device memory", code)
        };
        driver.released(free());
    }
}

/// Host memory that a device copies from and to directly, with zeros at first.
#[derive(Debug)]
pub struct PinnedBuffer {
    context: Context,
    start: NonNull<u8>,
    len: usize,
    // Dropped after the memory is freed.
    _charge: Charge,
}

// SAFETY: it owns its bytes alone, as a `Box<[u8]>` does, and the driver frees them from any thread.
unsafe impl Send for PinnedBuffer {}
// SAFETY: a shared reference gives shared access to plain bytes and nothing else.
unsafe impl Sync for PinnedBuffer {}

impl PinnedBuffer {
    /// Allocates pinned host memory, aligned to [`ALIGNMENT`] at least, and near the device where
    /// the machine's memory is nearer to some devices than to others.
    pub fn new(context: &Context, ledger: &Arc<Ledger>, len: usize) -> Result<Self, CudaError> {
        match context.near() {
            Some(processors) => processors.visit(|| Self::here(context, ledger, len)),
            None => Self::here(context, ledger, len),
        }
    }

    /// In the memory of the processor that this thread is on.
    fn here(context: &Context, ledger: &Arc<Ledger>, len: usize) -> Result<Self, CudaError> {
        context.make_current()?;
        let driver = context.driver();
        let bytes = at_least_one(len);
        let mut start = null_mut();
        // SAFETY: a context is current; the driver writes one address to where it is told.
        let code = unsafe {
            (driver.functions.host_allocate)(&raw mut start, bytes, CU_MEMHOSTALLOC_PORTABLE)
        };
        if code == OUT_OF_MEMORY {
            return Err(out_of_memory(MemoryKind::Pinned, len, host_memory()));
        }
        driver.check("allocate pinned host memory", code)?;
        let Some(start) = NonNull::new(start.cast::<u8>()) else {
            return Err(out_of_memory(MemoryKind::Pinned, len, host_memory()));
        };
        // SAFETY: the driver allocated that many bytes here, and nobody else knows of them.
        unsafe { start.write_bytes(0, bytes) };
        let charge = ledger.charge(MemoryKind::Pinned, bytes);
        Ok(Self { context: context.clone(), start, len, _charge: charge })
    }

    /// Its address, as other libraries take it, which may write there: never null. Whoever tells
    /// them sees to it that no reference to the bytes is in use meanwhile.
    pub fn address(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }
}

impl Deref for PinnedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes are allocated until `drop` and were written by `new`; whoever writes
        // them, the device included, has borrowed the buffer mutably, or has its `address` and
        // keeps all others away. No allocation is longer than `isize::MAX`: half the address space
        // is not a process's.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for PinnedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; the mutable borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        let driver = self.context.driver();
        let free = || {
            self.context.make_current()?;
            // SAFETY: the address came from this driver, is freed only here, and no copy works on
            // it: those have borrowed the buffer until they were done.
            let code = unsafe { (driver.functions.host_free)(self.start.as_ptr().cast()) };
            driver.check("free pinned host memory", code)
        };
        driver.released(free());
    }
}

/// Whether every buffer has so many bytes.
pub(super) fn check_bounds(
    operation: &'static str,
    requested: usize,
    buffers: &[&DeviceBuffer],
) -> Result<(), CudaError> {
    match buffers.iter().find(|buffer| requested > buffer.len()) {
        Some(small) => Err(CudaError::OutOfBounds { operation, requested, available: small.len() }),
        None => Ok(()),
    }
}

/// The driver refuses to allocate nothing, but a tensor of no elements needs an address too.
fn at_least_one(len: usize) -> usize {
    len.max(1)
}

fn out_of_memory(kind: MemoryKind, requested: usize, available: Option<MemoryInfo>) -> CudaError {
    CudaError::OutOfMemory { kind, requested, available }
}

/// How much memory the host has.
pub(in crate::backend) fn host_memory() -> Option<MemoryInfo> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(MemoryInfo { free: bytes("MemAvailable:")?, total: bytes("MemTotal:")? })
}
