//! The primary context of a device: what every other object belongs to.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::cell::Cell;
use std::fmt;
use std::ptr::null_mut;
use std::sync::Arc;

use cudarc::driver::sys::{CUcontext, CUdevice};

use super::driver::Driver;
use super::error::CudaError;
use super::gpu::GpuDriver;
use super::ledger::MemoryInfo;
use super::numa::Processors;

thread_local! {
    /// The context that [`Context::make_current`] made current last; null where that failed.
    static CURRENT: Cell<CUcontext> = const { Cell::new(null_mut()) };
}

/// A device's primary context, the one TensorRT uses too. Clones share it; it is released when the
/// last clone and the last object made in it are gone.
#[derive(Clone)]
pub struct Context {
    primary: Arc<PrimaryContext>,
}

struct PrimaryContext {
    driver: GpuDriver,
    ordinal: u32,
    device: CUdevice,
    raw: CUcontext,
}

// SAFETY: `raw` is the driver's name for a context that this value keeps retained, not memory of
// ours. The driver's functions may be called from every thread, with one context current on several
// at once; release and use cannot meet, since they need the last reference and any reference.
unsafe impl Send for PrimaryContext {}
// SAFETY: as above; and nothing in it changes.
unsafe impl Sync for PrimaryContext {}

impl Context {
    /// Retains the primary context of a device, which must not be lost.
    pub fn new(ordinal: u32) -> Result<Self, CudaError> {
        let driver = Driver::get()?;
        let device = driver.device(ordinal)?;
        let driver = GpuDriver::new(driver, driver.gpu(ordinal)?);
        driver.hold()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: the driver is started and the device its own; it writes one handle.
        let code = unsafe { (driver.functions.context_retain)(&raw mut raw, device) };
        driver.check("open a context on the GPU", code)?;
        Ok(Self { primary: Arc::new(PrimaryContext { driver, ordinal, device, raw }) })
    }

    /// The device's number.
    pub fn ordinal(&self) -> u32 {
        self.primary.ordinal
    }

    /// Makes this the context that CUDA calls of this thread work in. Everything in this module
    /// does so by itself; a call into another library that uses CUDA must be preceded by it. An
    /// error where the device is lost: then nothing may be asked of it.
    pub fn make_current(&self) -> Result<(), CudaError> {
        CURRENT.set(null_mut());
        // SAFETY: the context is retained.
        let code = unsafe { (self.driver().functions.context_set_current)(self.primary.raw) };
        self.driver().check("make the GPU's context current", code)?;
        CURRENT.set(self.primary.raw);
        self.hold()
    }

    /// As [`Self::make_current`], for calls that follow each other closely: nobody but this module
    /// may have made another context current since. It saves a call of the driver for each.
    pub(in crate::backend) fn keep_current(&self) -> Result<(), CudaError> {
        if CURRENT.get() == self.primary.raw { self.hold() } else { self.make_current() }
    }

    /// How much memory the device has.
    pub fn memory_info(&self) -> Result<MemoryInfo, CudaError> {
        self.make_current()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: a context is current; the driver writes two sizes to where it is told.
        let code = unsafe { (self.driver().functions.memory_info)(&raw mut free, &raw mut total) };
        self.driver().check("ask the GPU for its free memory", code)?;
        Ok(MemoryInfo { free: free as u64, total: total as u64 })
    }

    /// An error where the device is lost, as far as is known.
    pub fn hold(&self) -> Result<(), CudaError> {
        self.driver().hold()
    }

    /// Asks the driver whether the device is lost: for when another library only says that
    /// something failed.
    pub fn probe(&self) -> Result<(), CudaError> {
        match self.memory_info() {
            Err(error @ CudaError::DeviceLost { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// The processors near the device, where the machine has others.
    pub(super) fn near(&self) -> Option<&'static Processors> {
        self.driver().near(self.primary.device)
    }

    pub(super) fn driver(&self) -> GpuDriver {
        self.primary.driver
    }
}

impl Drop for PrimaryContext {
    fn drop(&mut self) {
        let release = || {
            self.driver.hold()?;
            // SAFETY: retained once by the constructor, and not used after this.
            let code = unsafe { (self.driver.functions.context_release)(self.device) };
            self.driver.check("release the GPU's context", code)
        };
        self.driver.released(release());
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context(GPU {})", self.ordinal())
    }
}
