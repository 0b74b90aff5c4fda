//! [`OutputAllocator`]: memory for an output whose shape is known only when it was computed.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::cuda::{Context, CudaError, DeviceBuffer, Ledger};

use super::super::error::TrtError;
use super::super::sys::{Abi, Dims, IOutputAllocatorFunctions};
use super::callback::{Callback, SharedTable, guarded, state_of, type_info};

static TABLE: SharedTable = SharedTable::new();

#[derive(Debug, Default)]
struct Output {
    /// Kept from run to run; it only grows.
    buffer: Option<Arc<DeviceBuffer>>,
    dims: Option<Dims>,
    failure: Option<CudaError>,
}

#[derive(Debug)]
struct State {
    abi: Abi,
    context: Context,
    ledger: Arc<Ledger>,
    output: Mutex<Output>,
}

impl State {
    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives TensorRT the memory of one output and hears its shape.
#[derive(Debug)]
pub(super) struct OutputAllocator(Arc<Callback<State>>);

impl OutputAllocator {
    pub(super) fn new(abi: Abi, context: &Context, ledger: &Arc<Ledger>) -> Result<Self, TrtError> {
        let functions = IOutputAllocatorFunctions {
            get_interface_version,
            reallocate_output,
            notify_shape,
            reallocate_output_async,
        };
        let table = TABLE.get(abi, || functions.table(abi, type_info))?;
        let (context, ledger) = (context.clone(), Arc::clone(ledger));
        let state = State { abi, context, ledger, output: Mutex::default() };
        Ok(Self(Callback::new(table, state)))
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }

    /// Forgets the shape and the failure of the run before.
    pub(super) fn start(&self) {
        let mut output = self.0.state().output();
        (output.dims, output.failure) = (None, None);
    }

    /// The shape and the memory of the last run's output, where it got that far.
    pub(super) fn result(&self) -> Option<(Dims, Arc<DeviceBuffer>)> {
        let output = self.0.state().output();
        Some((output.dims?, Arc::clone(output.buffer.as_ref()?)))
    }

    /// Takes why memory was refused in the last run.
    pub(super) fn take_failure(&self) -> Option<CudaError> {
        self.0.state().output().failure.take()
    }
}

/// # Safety
/// `object` is the address of a live [`OutputAllocator`].
unsafe fn at_least(object: *mut c_void, bytes: u64, alignment: u64) -> *mut c_void {
    // SAFETY: of the caller.
    let state: &State = unsafe { state_of(object) };
    guarded("IOutputAllocator::reallocateOutput", null_mut(), || {
        let [bytes, alignment] =
            [bytes, alignment].map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        let mut output = state.output();
        let fits = |buffer: &&Arc<DeviceBuffer>| {
            let is_aligned = alignment == 0 || buffer.as_ptr().addr().is_multiple_of(alignment);
            buffer.len() >= bytes && is_aligned
        };
        if let Some(buffer) = output.buffer.as_ref().filter(fits) {
            return buffer.as_ptr();
        }
        // The content need not be kept, so both need not be there at once.
        output.buffer = None;
        match DeviceBuffer::aligned(&state.context, &state.ledger, bytes, alignment) {
            Ok(buffer) => output.buffer.insert(Arc::new(buffer)).as_ptr(),
            Err(error) => {
                output.failure = Some(error);
                null_mut()
            }
        }
    })
}

/// Asked by 8.6 alone.
unsafe extern "C" fn get_interface_version(_object: *mut c_void) -> i32 {
    1
}

unsafe extern "C" fn reallocate_output(
    object: *mut c_void,
    _name: *mut c_void,
    _memory: *mut c_void,
    bytes: u64,
    alignment: u64,
) -> *mut c_void {
    // SAFETY: C++ calls the table's functions on the object it belongs to.
    unsafe { at_least(object, bytes, alignment) }
}

/// The driver waits for the device before it frees what was there, so for the stream too.
unsafe extern "C" fn reallocate_output_async(
    object: *mut c_void,
    _name: *mut c_void,
    _memory: *mut c_void,
    bytes: u64,
    alignment: u64,
    _stream: *mut c_void,
) -> *mut c_void {
    // SAFETY: as above.
    unsafe { at_least(object, bytes, alignment) }
}

unsafe extern "C" fn notify_shape(object: *mut c_void, _name: *mut c_void, dims: *mut c_void) {
    // SAFETY: as above.
    let state: &State = unsafe { state_of(object) };
    guarded("IOutputAllocator::notifyShape", (), || {
        // SAFETY: TensorRT passes its `Dims` by reference.
        let dims = unsafe { Dims::read(dims, state.abi) };
        state.output().dims = Some(dims);
    });
}
