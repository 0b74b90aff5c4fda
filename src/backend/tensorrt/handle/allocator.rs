//! [`GpuAllocator`]: TensorRT's device memory, from us and counted.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::cuda::{Context, CudaError, DeviceAllocator, Ledger};

use super::super::error::TrtError;
use super::super::sys::{Abi, IGpuAllocatorFunctions};
use super::callback::{Callback, SharedTable, guarded, state_of, type_info};

static TABLE: SharedTable = SharedTable::new();

#[derive(Debug)]
struct State {
    memory: DeviceAllocator,
    failure: Mutex<Option<CudaError>>,
}

/// Gives TensorRT device memory and takes it back, from any thread; what is given is in a ledger.
#[derive(Debug, Clone)]
pub(in super::super) struct GpuAllocator(Arc<Callback<State>>);

impl GpuAllocator {
    pub(in super::super) fn new(
        abi: Abi,
        context: &Context,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, TrtError> {
        let functions = IGpuAllocatorFunctions {
            allocate,
            free,
            reallocate,
            deallocate,
            allocate_async,
            deallocate_async,
        };
        let table = TABLE.get(abi, || functions.table(abi, type_info))?;
        let memory = DeviceAllocator::new(context, ledger);
        Ok(Self(Callback::new(table, State { memory, failure: Mutex::default() })))
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }

    /// Takes why memory was last refused. TensorRT itself learns only that it was.
    pub(in super::super) fn take_failure(&self) -> Option<CudaError> {
        self.0.state().failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// # Safety
/// `object` is the address of a live [`GpuAllocator`].
unsafe fn give(object: *mut c_void, bytes: u64, alignment: u64) -> *mut c_void {
    // SAFETY: of the caller.
    let state: &State = unsafe { state_of(object) };
    guarded("IGpuAllocator::allocate", null_mut(), || {
        if bytes == 0 {
            return null_mut();
        }
        let [bytes, alignment] =
            [bytes, alignment].map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        state.memory.allocate(bytes, alignment).unwrap_or_else(|error| {
            tracing::debug!("TensorRT asked for device memory: {error}");
            let mut failure = state.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *failure = Some(error);
            null_mut()
        })
    })
}

/// # Safety
/// As of [`give`].
unsafe fn take_back(object: *mut c_void, memory: *mut c_void) -> bool {
    // SAFETY: of the caller.
    let state: &State = unsafe { state_of(object) };
    guarded("IGpuAllocator::deallocate", false, || state.memory.free(memory))
}

unsafe extern "C" fn allocate(
    object: *mut c_void,
    bytes: u64,
    alignment: u64,
    _flags: u32,
) -> *mut c_void {
    // SAFETY: C++ calls the table's functions on the object it belongs to.
    unsafe { give(object, bytes, alignment) }
}

unsafe extern "C" fn free(object: *mut c_void, memory: *mut c_void) {
    // SAFETY: as above.
    unsafe { take_back(object, memory) };
}

/// Memory cannot grow in place: null says so, and TensorRT then allocates anew.
unsafe extern "C" fn reallocate(
    _object: *mut c_void,
    _memory: *mut c_void,
    _alignment: u64,
    _bytes: u64,
) -> *mut c_void {
    null_mut()
}

unsafe extern "C" fn deallocate(object: *mut c_void, memory: *mut c_void) -> bool {
    // SAFETY: as above.
    unsafe { take_back(object, memory) }
}

/// The memory is there at once, which is sooner than the stream needs it.
unsafe extern "C" fn allocate_async(
    object: *mut c_void,
    bytes: u64,
    alignment: u64,
    _flags: u32,
    _stream: *mut c_void,
) -> *mut c_void {
    // SAFETY: as above.
    unsafe { give(object, bytes, alignment) }
}

/// The driver waits for the device before it frees, so for the stream too.
unsafe extern "C" fn deallocate_async(
    object: *mut c_void,
    memory: *mut c_void,
    _stream: *mut c_void,
) -> bool {
    // SAFETY: as above.
    unsafe { take_back(object, memory) }
}
