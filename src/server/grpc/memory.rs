//! The calls of the shared memory extensions.

use crate::kserve::system_shared_memory_status_response::RegionStatus;
use crate::kserve::{
    CudaSharedMemoryStatusResponse, SystemSharedMemoryRegisterRequest,
    SystemSharedMemoryRegisterResponse, SystemSharedMemoryStatusResponse,
    SystemSharedMemoryUnregisterResponse,
};
use crate::server::protocol::{ProtocolError, clipped};
use crate::server::{App, SharedMemoryError};

/// One region, or all where there is no name.
fn named(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

pub(super) fn status(
    app: &App,
    name: &str,
) -> Result<SystemSharedMemoryStatusResponse, ProtocolError> {
    let regions = app.shared_memory.status(named(name))?.into_iter().map(|region| {
        let status = RegionStatus {
            name: region.name.clone(),
            key: region.key,
            offset: region.offset,
            byte_size: region.byte_size,
        };
        (region.name, status)
    });
    Ok(SystemSharedMemoryStatusResponse { regions: regions.collect() })
}

pub(super) fn register(
    app: &App,
    request: &SystemSharedMemoryRegisterRequest,
) -> Result<SystemSharedMemoryRegisterResponse, ProtocolError> {
    let SystemSharedMemoryRegisterRequest { name, key, offset, byte_size } = request;
    app.shared_memory.register(name, key, *offset, *byte_size)?;
    Ok(SystemSharedMemoryRegisterResponse {})
}

pub(super) fn unregister(app: &App, name: &str) -> SystemSharedMemoryUnregisterResponse {
    app.shared_memory.unregister(named(name));
    SystemSharedMemoryUnregisterResponse {}
}

/// There are none, whatever the name.
pub(super) fn cuda_status(name: &str) -> Result<CudaSharedMemoryStatusResponse, ProtocolError> {
    match named(name) {
        None => Ok(CudaSharedMemoryStatusResponse::default()),
        Some(name) => {
            let (name, registered) = (clipped(name), "none, this server takes none".to_owned());
            Err(SharedMemoryError::Unknown { name, registered }.into())
        }
    }
}
