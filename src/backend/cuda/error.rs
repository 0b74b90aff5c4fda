//! What can go wrong with CUDA, and what to do about it.

use super::driver::{CudaVersion, MINIMUM};
use super::ledger::{MemoryInfo, MemoryKind};

/// Why CUDA could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// The driver's library is not on this machine.
    #[error(
        "no CUDA driver: found none of {} in LD_LIBRARY_PATH and the system's folders",
        searched.join(", ")
    )]
    NoLibrary {
        /// The names tried.
        searched: Vec<String>,
    },
    /// The library that was found is not a driver, or not a complete one.
    #[error("the CUDA driver library that was found has no `{symbol}`")]
    NotADriver {
        /// The first symbol it lacks.
        symbol: &'static str,
    },
    /// The driver is older than what is needed here.
    #[error("the CUDA driver is too old: it supports CUDA {found}, {MINIMUM} is needed")]
    TooOld {
        /// What it supports.
        found: CudaVersion,
    },
    /// The driver works, and sees no GPU.
    #[error("the CUDA driver (CUDA {driver}) sees no GPU")]
    NoDevice {
        /// What it supports.
        driver: CudaVersion,
    },
    /// There is no GPU of this number.
    #[error("there is no GPU {ordinal}: the CUDA driver sees {count}, numbered from 0")]
    UnknownDevice {
        /// The number asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// There is not enough memory; nothing was allocated and nothing is damaged.
    #[error("failed to allocate {requested} bytes of {kind}{}", left(*available))]
    OutOfMemory {
        /// Which memory.
        kind: MemoryKind,
        /// Bytes asked for.
        requested: usize,
        /// What there was, where that could be asked.
        available: Option<MemoryInfo>,
    },
    /// A copy would run past the end of a device buffer; nothing was copied.
    #[error("failed to {operation}: {requested} bytes do not fit a device buffer of {available}")]
    OutOfBounds {
        /// What was to be done.
        operation: &'static str,
        /// Bytes to copy.
        requested: usize,
        /// Bytes of the buffer.
        available: usize,
    },
    /// The driver reported that the GPU's context is broken: nothing can be done on that GPU any
    /// more, until this program is started again.
    #[error("GPU {device} is lost: {reason}")]
    DeviceLost {
        /// Its number.
        device: u32,
        /// What the driver reported first.
        reason: String,
    },
    /// A fault was ordered in words that mean none; no GPU is used.
    #[error("`{variable}` is `{value}`, which orders no fault")]
    Fault {
        /// The environment variable.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// A pool has as many streams as it may, and all are lent.
    #[error("all {limit} CUDA streams that a pool may have are lent")]
    NoStream {
        /// How many it may have.
        limit: usize,
    },
    /// A call failed for a reason of the driver's.
    #[error("failed to {operation}: {name} ({text})")]
    Call {
        /// What was to be done.
        operation: &'static str,
        /// The driver's number for the reason.
        code: i32,
        /// The driver's name for it.
        name: String,
        /// The driver's words.
        text: String,
    },
}

/// Results of the driver that mean something here.
pub(super) const SUCCESS: i32 = 0;
pub(super) const OUT_OF_MEMORY: i32 = 2;
pub(super) const NO_DEVICE: i32 = 100;
pub(super) const NOT_READY: i32 = 600;
pub(super) const ILLEGAL_ADDRESS: i32 = 700;
const STUB_LIBRARY: i32 = 34;
const SYSTEM_NOT_READY: i32 = 802;
const SYSTEM_DRIVER_MISMATCH: i32 = 803;

/// The codes that say that the context is broken. Of most of these the driver says that they leave
/// "the process in an inconsistent state and any further CUDA work will return the same error".
/// Beside them stand the errors of the hardware that no context survives, and those of a context
/// that is no longer there.
const BROKEN: [i32; 16] = [
    // Errors of memory and of NVLink, and what the GPU contained of either.
    214,
    220,
    226,
    ILLEGAL_ADDRESS,
    // A kernel that took too long; a context that was destroyed; an assert.
    702,
    709,
    710,
    // Of a kernel: stack, instruction, alignment, address space, counter, launch, tensor memory.
    714,
    715,
    716,
    717,
    718,
    719,
    721,
    // The MPS server ended this client: it has to be started again.
    810,
    // A device outside of CUDA failed.
    911,
];

/// Whether a code of the driver's says that the context is broken.
pub(super) fn breaks_context(code: i32) -> bool {
    BROKEN.contains(&code)
}

impl CudaError {
    /// What the user can do next, where that is known.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoLibrary { .. } => {
                "install the NVIDIA driver; in a container, start it with GPU access \
                 (`--gpus all`), which brings the driver's libraries along"
            }
            Self::NotADriver { .. } | Self::Call { code: STUB_LIBRARY, .. } => {
                "take folders with another `libcuda` (the CUDA toolkit's `stubs`, say) off \
                 LD_LIBRARY_PATH"
            }
            Self::TooOld { .. } => "install a newer NVIDIA driver",
            Self::NoDevice { .. } => {
                "check that `nvidia-smi` lists a GPU and that CUDA_VISIBLE_DEVICES does not hide \
                 it; in a container, start it with GPU access (`--gpus all`)"
            }
            Self::UnknownDevice { .. } => "choose another GPU; `nvidia-smi -L` lists them",
            Self::OutOfMemory { kind: MemoryKind::Device, .. } => {
                "end other programs on the GPU (`nvidia-smi` lists them), or use smaller shapes, \
                 fewer engines or fewer contexts"
            }
            Self::OutOfMemory { kind: MemoryKind::Pinned, .. } => {
                "free host memory or raise the limit on locked memory (`ulimit -l`)"
            }
            Self::Call { code: SYSTEM_NOT_READY | SYSTEM_DRIVER_MISMATCH, .. } => {
                "the NVIDIA kernel module and the driver's libraries do not work together: \
                 restart the machine, or start its NVIDIA services"
            }
            Self::DeviceLost { .. } => {
                "start the program again to use the GPU; `dmesg` shows what NVIDIA's kernel module \
                 said of it (`Xid`), `nvidia-smi -q` its counts of errors"
            }
            Self::Fault { .. } => {
                "unset it, or write `device=1,after=5000,kind=error` or `kind=kernel`, for a GPU \
                 that there is"
            }
            Self::NoStream { .. } => "give streams back sooner: drop what `lend` gave",
            Self::OutOfBounds { .. } | Self::Call { .. } => return None,
        })
    }
}

fn left(available: Option<MemoryInfo>) -> String {
    available.map_or_else(String::new, |memory| {
        format!(": {} of {} bytes are free", memory.free, memory.total)
    })
}
