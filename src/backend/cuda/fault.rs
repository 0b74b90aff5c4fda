//! [`Fault`]: a GPU that breaks when it is told to, for tests of what has to survive that.
//!
//! The environment variable `TRT_PIPELINE_CUDA_FAULT` orders it, as
//! `device=1,after=5000,kind=kernel`, several faults apart by `;`:
//!
//! - `device` is the GPU's number;
//! - `after` is how many pieces of work are submitted to it and waited for ([`Stream::scope`]: each
//!   run of an engine is one) before the one that goes wrong;
//! - `kind` is `error`, where every call for the GPU is reported as `CUDA_ERROR_ILLEGAL_ADDRESS` from
//!   then on, or `kernel`, where a kernel runs that writes to an address that is not there, so that
//!   the driver itself breaks the context.
//!
//! Anything else in it is an error, and no GPU can be used. It is read once; without it, a piece of
//! work costs one comparison more.

#![expect(unsafe_code, reason = "the driver is a C library that launches kernels")]

use std::env;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{CudaError, ILLEGAL_ADDRESS};
use super::gpu::GpuDriver;
use super::stream::Stream;

/// What the faults are read from.
pub(super) const VARIABLE: &str = "TRT_PIPELINE_CUDA_FAULT";

/// Writes to address 0. The driver compiles it for whatever GPU it is.
const KERNEL: &std::ffi::CStr = c".version 6.0
.target sm_50
.address_size 64
.visible .entry fault()
{
    .reg .b32 %r<2>;
    .reg .b64 %rd<2>;
    mov.u64 %rd1, 0;
    mov.u32 %r1, 1;
    st.global.u32 [%rd1], %r1;
    ret;
}
";

/// How a GPU breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By what this module says of it.
    Error,
    /// By a kernel.
    Kernel,
}

/// A GPU that is to break.
#[derive(Debug)]
pub(super) struct Fault {
    device: u32,
    after: u64,
    kind: Kind,
    /// Pieces of work so far.
    submitted: AtomicU64,
}

impl Fault {
    /// The faults that the environment orders, for a machine of so many GPUs.
    pub(super) fn ordered(devices: u32) -> Result<Vec<Self>, CudaError> {
        let Some(value) = env::var_os(VARIABLE) else { return Ok(Vec::new()) };
        let value = value.to_string_lossy();
        parse(&value, devices)
            .ok_or_else(|| CudaError::Fault { variable: VARIABLE, value: value.into_owned() })
    }

    /// The GPU that it is for.
    pub(super) fn device(&self) -> u32 {
        self.device
    }

    /// Work is about to be submitted to a stream.
    pub(super) fn strike(&self, driver: GpuDriver, stream: &Stream) -> Result<(), CudaError> {
        if self.submitted.fetch_add(1, Ordering::Relaxed) != self.after {
            return Ok(());
        }
        match self.kind {
            Kind::Error => driver.check("run on the GPU, as ordered", ILLEGAL_ADDRESS),
            Kind::Kernel => launch(driver, stream),
        }
    }
}

/// Submits the kernel.
fn launch(driver: GpuDriver, stream: &Stream) -> Result<(), CudaError> {
    stream.context().make_current()?;
    let (functions, mut module, mut kernel) = (driver.functions, null_mut(), null_mut());
    // SAFETY: a context is current; the text ends in NUL; the driver writes one handle.
    let code = unsafe { (functions.module_load)(&raw mut module, KERNEL.as_ptr().cast()) };
    driver.check("load the kernel that fails", code)?;
    // SAFETY: the module is loaded, and stays so; the driver writes one handle.
    let code = unsafe { (functions.module_function)(&raw mut kernel, module, c"fault".as_ptr()) };
    driver.check("find the kernel that fails", code)?;
    let (stream, none) = (stream.raw(), null_mut());
    // SAFETY: kernel and stream are there; it is one thread, and takes no arguments. Where it
    // writes, nothing of this process is.
    let code =
        unsafe { (functions.kernel_launch)(kernel, 1, 1, 1, 1, 1, 1, 0, stream, none, none) };
    driver.check("launch the kernel that fails", code)
}

fn parse(text: &str, devices: u32) -> Option<Vec<Fault>> {
    let faults = text.split(';').map(one).collect::<Option<Vec<_>>>()?;
    let mut numbers: Vec<u32> = faults.iter().map(|fault| fault.device).collect();
    numbers.sort_unstable();
    let is_fine = numbers.is_sorted_by(|a, b| a < b) && numbers.iter().all(|it| *it < devices);
    is_fine.then_some(faults)
}

/// All three, each once, in any order.
fn one(text: &str) -> Option<Fault> {
    let (mut device, mut after, mut kind) = (None, None, None);
    for setting in text.split(',') {
        let (name, value) = setting.split_once('=')?;
        let is_again = match name {
            "device" => device.replace(value.parse().ok()?).is_some(),
            "after" => after.replace(value.parse().ok()?).is_some(),
            "kind" => {
                let known = match value {
                    "error" => Kind::Error,
                    "kernel" => Kind::Kernel,
                    _ => return None,
                };
                kind.replace(known).is_some()
            }
            _ => return None,
        };
        if is_again {
            return None;
        }
    }
    Some(Fault { device: device?, after: after?, kind: kind?, submitted: AtomicU64::new(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ordered_is_read_whole_or_not_at_all() {
        let read = |text| {
            let faults = parse(text, 2)?;
            Some(faults.iter().map(|it| (it.device, it.after, it.kind)).collect::<Vec<_>>())
        };
        assert_eq!(read("device=1,after=5000,kind=error"), Some(vec![(1, 5000, Kind::Error)]));
        assert_eq!(
            read("kind=kernel,device=0,after=0;device=1,after=7,kind=error"),
            Some(vec![(0, 0, Kind::Kernel), (1, 7, Kind::Error)])
        );
        for text in [
            "",
            ";",
            "1",
            "device=1",
            "device=1,after=5",
            "device=2,after=5,kind=error",
            "device=-1,after=5,kind=error",
            "device=1,after=5,kind=fire",
            "device=1,after=5,kind=error,",
            "device=1,after=5,kind=error,more=1",
            "device=1,device=1,after=5,kind=error",
            "device=1,after=5,kind=error;device=1,after=6,kind=error",
            "device=1, after=5, kind=error",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
