//! What a GPU is: its name, its properties and the numbers that TensorRT compares.

use std::collections::BTreeMap;

use cudarc::driver::sys::CUdevice_attribute as Attribute;
use serde::Serialize;

use super::driver::{CudaVersion, Driver};
use super::error::CudaError;

/// The numbers that TensorRT writes into an engine and compares when it loads one, beside those
/// that [`DeviceInfo`] has as fields of their own.
const ATTRIBUTES: [(&str, Attribute); 14] = [
    ("clock_khz", Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
    ("integrated", Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED),
    ("l2_cache_bytes", Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE),
    ("max_grid_x", Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X),
    ("max_grid_y", Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y),
    ("max_grid_z", Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z),
    ("max_persisting_l2_bytes", Attribute::CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE),
    ("max_texture_1d", Attribute::CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH),
    ("max_threads_per_block", Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
    ("memory_bus_bits", Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH),
    ("memory_clock_khz", Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE),
    ("shared_bytes_per_block", Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK),
    (
        "shared_bytes_per_multiprocessor",
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
    ),
    ("texture_alignment_bytes", Attribute::CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT),
];

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// Its number among those the driver shows, from 0.
    pub ordinal: u32,
    /// `NVIDIA H200`.
    pub name: String,
    /// As `nvidia-smi -L` shows it.
    pub uuid: String,
    /// Major and minor: `(9, 0)`.
    pub compute_capability: (u32, u32),
    /// Where it is on the PCI bus, as Linux writes it: `0000:1b:00.0`.
    pub pci_bus_id: String,
    /// Bytes of its memory; [`super::Context::memory_info`] tells how many are free.
    pub total_memory: u64,
    /// Number of its streaming multiprocessors.
    pub multiprocessors: u32,
    /// What a program's kernels and copies can count on.
    pub properties: DeviceProperties,
    /// The other numbers that TensorRT compares, by name.
    pub attributes: BTreeMap<&'static str, u32>,
    /// The newest CUDA that its driver supports.
    pub driver_version: CudaVersion,
}

macro_rules! properties {
    ($($(#[$doc:meta])* $field:ident = $attribute:ident;)*) => {
        /// What kernels and copies on a GPU can count on, in the driver's numbers; flags are 0 or 1.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
        pub struct DeviceProperties {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl DeviceProperties {
            fn ask(ask: impl Fn(Attribute) -> Result<u32, CudaError>) -> Result<Self, CudaError> {
                Ok(Self { $($field: ask(Attribute::$attribute)?,)* })
            }
        }
    };
}

properties! {
    /// Threads of a warp.
    warp_size = CU_DEVICE_ATTRIBUTE_WARP_SIZE;
    /// Most threads of a block.
    max_threads_per_block = CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
    /// Most threads that a multiprocessor holds at once.
    max_threads_per_multiprocessor = CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR;
    /// 32-bit registers that a block can have.
    registers_per_block = CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK;
    /// 32-bit registers of a multiprocessor.
    registers_per_multiprocessor = CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR;
    /// Bytes of shared memory that a block has without asking for more.
    shared_bytes_per_block = CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK;
    /// Bytes of shared memory that a block can ask for.
    shared_bytes_per_block_optin = CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
    /// Bytes of shared memory of a multiprocessor.
    shared_bytes_per_multiprocessor = CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR;
    /// Bytes of constant memory.
    constant_bytes = CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY;
    /// Bytes of its L2 cache.
    l2_cache_bytes = CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE;
    /// Highest clock of its multiprocessors.
    clock_khz = CU_DEVICE_ATTRIBUTE_CLOCK_RATE;
    /// Highest clock of its memory.
    memory_clock_khz = CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE;
    /// Width of its memory bus.
    memory_bus_bits = CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH;
    /// Copies that it makes at once, beside kernels.
    copy_engines = CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT;
    /// Whether it runs several kernels at once.
    concurrent_kernels = CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS;
    /// Whether its memory is the host's.
    integrated = CU_DEVICE_ATTRIBUTE_INTEGRATED;
    /// Whether its memory corrects errors.
    ecc = CU_DEVICE_ATTRIBUTE_ECC_ENABLED;
    /// Whether it and the host share one address space.
    unified_addressing = CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING;
    /// Whether it has memory that moves between it and the host by itself.
    managed_memory = CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY;
}

impl Driver {
    /// Every GPU that the driver shows, in its order.
    pub fn devices(&self) -> Result<Vec<DeviceInfo>, CudaError> {
        (0..self.device_count()).map(|ordinal| self.device_info(ordinal)).collect()
    }

    fn device_info(&self, ordinal: u32) -> Result<DeviceInfo, CudaError> {
        let device = self.device(ordinal)?;
        let ask = |attribute| self.device_attribute(device, attribute);
        let named = |&(name, attribute): &(_, _)| Ok((name, ask(attribute)?));
        Ok(DeviceInfo {
            ordinal,
            name: self.device_name(device)?,
            uuid: uuid_text(self.device_uuid(device)?),
            compute_capability: (
                ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            pci_bus_id: self.device_bus(device)?.to_ascii_lowercase(),
            total_memory: self.device_memory(device)?,
            multiprocessors: ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            properties: DeviceProperties::ask(ask)?,
            attributes: ATTRIBUTES.iter().map(named).collect::<Result<_, CudaError>>()?,
            driver_version: self.version(),
        })
    }
}

/// The form `GPU-00112233-4455-6677-8899-aabbccddeeff`.
fn uuid_text(bytes: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &digits[group]);
    format!("GPU-{}", groups.join("-"))
}
