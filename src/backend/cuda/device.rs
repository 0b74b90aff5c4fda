//! What a GPU is: its name and the numbers that TensorRT compares.

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
    /// Bytes of its memory.
    pub total_memory: u64,
    /// Number of its streaming multiprocessors.
    pub multiprocessors: u32,
    /// The other numbers that TensorRT compares, by name.
    pub attributes: BTreeMap<&'static str, u32>,
    /// The newest CUDA that its driver supports.
    pub driver_version: CudaVersion,
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
            total_memory: self.device_memory(device)?,
            multiprocessors: ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
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
