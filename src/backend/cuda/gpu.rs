//! [`Gpu`]: what this process knows of one GPU, and [`GpuDriver`]: the driver as it is called for
//! that GPU.
//!
//! A GPU whose context the driver reports as broken is lost for as long as the process lives: from
//! then on every use of it fails at once, and what is on it is never released, for the driver may
//! hang or crash over it.

use std::ffi::c_int;
use std::path::Path;
use std::sync::OnceLock;

use cudarc::driver::sys::CUdevice;

use super::driver::{Driver, Functions};
use super::error::{CudaError, breaks_context};
use super::fault::Fault;
use super::numa::{self, Processors};
use super::stream::Stream;

/// One GPU.
pub(super) struct Gpu {
    ordinal: u32,
    /// Why it is lost.
    loss: OnceLock<String>,
    /// What is to go wrong on it, for tests.
    fault: Option<Fault>,
    /// The processors near it, where there are others.
    near: OnceLock<Option<Processors>>,
}

impl Gpu {
    pub(super) fn new(ordinal: u32, fault: Option<Fault>) -> Self {
        Self { ordinal, loss: OnceLock::new(), fault, near: OnceLock::new() }
    }

    /// An error where it is lost.
    pub(super) fn hold(&self) -> Result<(), CudaError> {
        self.loss.get().map_or(Ok(()), |reason| Err(self.lost(reason)))
    }

    /// It is lost, for the reason that was known first.
    pub(super) fn lose(&self, reason: &CudaError) -> CudaError {
        let reason = self.loss.get_or_init(|| {
            tracing::error!("GPU {} is lost until this program ends: {reason}", self.ordinal);
            reason.to_string()
        });
        self.lost(reason)
    }

    fn lost(&self, reason: &str) -> CudaError {
        CudaError::DeviceLost { device: self.ordinal, reason: reason.to_owned() }
    }
}

/// The driver, as it is called for one GPU.
#[derive(Clone, Copy)]
pub(super) struct GpuDriver {
    pub(super) functions: &'static Functions,
    driver: &'static Driver,
    gpu: &'static Gpu,
}

impl GpuDriver {
    pub(super) fn new(driver: &'static Driver, gpu: &'static Gpu) -> Self {
        Self { functions: &driver.functions, driver, gpu }
    }

    /// An error where the code of a call is one. Where it says that the context is broken, the GPU
    /// is lost.
    pub(super) fn check(self, operation: &'static str, code: c_int) -> Result<(), CudaError> {
        self.driver
            .check(operation, code)
            .map_err(|error| if breaks_context(code) { self.gpu.lose(&error) } else { error })
    }

    /// Logs and counts where the release of an object failed; of what is on a lost GPU, nothing is
    /// released.
    pub(super) fn released(self, outcome: Result<(), CudaError>) {
        if !matches!(outcome, Err(CudaError::DeviceLost { .. })) {
            self.driver.released(outcome);
        }
    }

    /// An error where the GPU is lost.
    pub(super) fn hold(self) -> Result<(), CudaError> {
        self.gpu.hold()
    }

    /// Work is about to be submitted to a stream of the GPU: lets happen to it what is ordered.
    pub(super) fn strike(self, stream: &Stream) -> Result<(), CudaError> {
        match &self.gpu.fault {
            Some(fault) => fault.strike(self, stream),
            None => Ok(()),
        }
    }

    /// The processors near the GPU, where the machine has others.
    pub(super) fn near(self, device: CUdevice) -> Option<&'static Processors> {
        let find = || {
            let bus = self.driver.device_bus(device).ok()?;
            numa::near(Path::new("/sys"), &bus.to_ascii_lowercase())
        };
        self.gpu.near.get_or_init(find).as_ref()
    }
}
