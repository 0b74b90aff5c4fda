//! [`Calibrator`]: feeds TensorRT the samples from which it finds INT8 ranges.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_void};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::cuda::{Context, CudaError, DeviceBuffer, Ledger, Stream};
use crate::tensor::Tensor;

use super::super::calibration::{BatchSpec, CalibrationError, CalibrationSource};
use super::super::error::TrtError;
use super::super::options::Calibrator as Algorithm;
use super::super::sys::{
    Abi, CalibrationAlgoType, IInt8EntropyCalibrator2Functions, IInt8MinMaxCalibratorFunctions,
};
use super::callback::{Callback, SharedTable, guarded, state_of, text, type_info};

static ENTROPY: SharedTable = SharedTable::new();
static MINMAX: SharedTable = SharedTable::new();

/// Samples, and the GPU whose memory they are brought to.
pub(in super::super) struct Samples {
    pub(in super::super) source: Box<dyn CalibrationSource>,
    pub(in super::super) context: Context,
    pub(in super::super) ledger: Arc<Ledger>,
}

/// Gives TensorRT batches of samples, or a cache that makes them unnecessary, and takes the cache
/// that comes of it.
///
/// TensorRT learns of a failure only that there is no further batch, and would go on with those it
/// has: [`Self::failure`] tells why, and the build then counts as failed.
#[derive(Clone)]
pub(in super::super) struct Calibrator(Arc<Callback<State>>);

struct State {
    /// `CalibrationAlgoType`.
    algorithm: i32,
    batch_size: i32,
    /// Never changes: TensorRT gets its address.
    cache: Vec<u8>,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    samples: Option<Samples>,
    device: Option<Device>,
    batches: u64,
    written: Option<Vec<u8>>,
    failure: Option<Arc<CalibrationError>>,
}

/// Where batches are brought to, one after the other.
struct Device {
    stream: Stream,
    buffers: BTreeMap<String, DeviceBuffer>,
}

impl fmt::Debug for Calibrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Calibrator").field(&self.batches()).finish()
    }
}

impl State {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calibrator {
    /// `cache` is the text of a calibration cache, or empty.
    pub(in super::super) fn new(
        abi: Abi,
        algorithm: Algorithm,
        samples: Option<Samples>,
        cache: Vec<u8>,
    ) -> Result<Self, TrtError> {
        let (table, number) = match algorithm {
            Algorithm::Entropy => {
                let functions = IInt8EntropyCalibrator2Functions {
                    get_batch_size,
                    get_batch,
                    read_calibration_cache,
                    write_calibration_cache,
                    get_algorithm,
                };
                let number = CalibrationAlgoType::EntropyCalibration2.value(abi.generation);
                (ENTROPY.get(abi, || functions.table(abi, type_info))?, number)
            }
            Algorithm::Minmax => {
                let functions = IInt8MinMaxCalibratorFunctions {
                    get_batch_size,
                    get_batch,
                    read_calibration_cache,
                    write_calibration_cache,
                    get_algorithm,
                };
                let number = CalibrationAlgoType::MinmaxCalibration.value(abi.generation);
                (MINMAX.get(abi, || functions.table(abi, type_info))?, number)
            }
        };
        let batch_size = samples.as_ref().map_or(1, |samples| samples.source.batch().size());
        let state = State {
            // A library with the class has the number.
            algorithm: number.unwrap_or_default(),
            batch_size: i32::try_from(batch_size).unwrap_or(i32::MAX),
            cache,
            work: Mutex::new(Work { samples, ..Work::default() }),
        };
        Ok(Self(Callback::new(table, state)))
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }

    /// Why the samples ended before their end.
    pub(in super::super) fn failure(&self) -> Option<Arc<CalibrationError>> {
        self.0.state().work().failure.clone()
    }

    /// Batches that TensorRT took; none where the cache was enough.
    pub(in super::super) fn batches(&self) -> u64 {
        self.0.state().work().batches
    }

    /// The cache that TensorRT wrote, where it calibrated.
    pub(in super::super) fn written(&self) -> Option<Vec<u8>> {
        self.0.state().work().written.clone()
    }
}

impl Device {
    fn new(samples: &Samples) -> Result<Self, CudaError> {
        let Samples { source, context, ledger } = samples;
        let inputs = source.batch().inputs().iter();
        let buffers = inputs.map(|input| {
            let bytes = input.shape.checked_bytes(input.dtype).unwrap_or(usize::MAX);
            Ok((input.name.clone(), DeviceBuffer::new(context, ledger, bytes)?))
        });
        Ok(Self {
            buffers: buffers.collect::<Result<_, CudaError>>()?,
            stream: Stream::new(context)?,
        })
    }

    fn upload(&self, batch: &BatchSpec, tensors: &[Tensor]) -> Result<(), CudaError> {
        self.stream.scope(|work| {
            for (input, tensor) in batch.inputs().iter().zip(tensors) {
                if let Some(buffer) = self.buffers.get(&input.name) {
                    work.upload(tensor.bytes(), buffer)?;
                }
            }
            Ok(())
        })
    }
}

impl Work {
    /// Brings the next batch to the GPU. Gives the address of each input's, in the order of the
    /// names; `None` at the end.
    fn next(&mut self, names: &[String]) -> Result<Option<Vec<*mut c_void>>, CalibrationError> {
        let samples = self.samples.as_mut().ok_or(CalibrationError::NoSource)?;
        let Some(tensors) = samples.source.next_batch()? else { return Ok(None) };
        let batch = samples.source.batch();
        if !batch.accepts(&tensors) {
            return Err(CalibrationError::NotABatch);
        }
        let device = match self.device.take() {
            Some(device) => device,
            None => Device::new(samples)?,
        };
        device.upload(batch, &tensors)?;
        let device = self.device.insert(device);
        self.batches += 1;
        let address = |name: &String| {
            let buffer = device.buffers.get(name);
            let buffer = buffer.ok_or_else(|| CalibrationError::UnknownInput(name.clone()))?;
            Ok(buffer.as_ptr())
        };
        names.iter().map(address).collect::<Result<_, _>>().map(Some)
    }
}

unsafe extern "C" fn get_batch_size(object: *mut c_void) -> i32 {
    // SAFETY: C++ calls the table's functions on the object it belongs to, a calibrator's.
    let state: &State = unsafe { state_of(object) };
    state.batch_size
}

unsafe extern "C" fn get_batch(
    object: *mut c_void,
    bindings: *mut c_void,
    names: *mut c_void,
    count: i32,
) -> bool {
    // SAFETY: as above.
    let state: &State = unsafe { state_of(object) };
    let count = usize::try_from(count).unwrap_or(0);
    let names: *const *const c_char = names.cast();
    let bindings: *mut *mut c_void = bindings.cast();
    let given = guarded("IInt8Calibrator::getBatch", Err(CalibrationError::Panicked), || {
        let names: Vec<String> = (0..count)
            .map(|at| {
                // SAFETY: TensorRT passes `count` names.
                let name = unsafe { names.add(at) };
                // SAFETY: as above.
                let name = unsafe { *name };
                // SAFETY: each is a C string.
                unsafe { text(name) }
            })
            .collect();
        let mut work = state.work();
        if work.failure.is_some() { Ok(None) } else { work.next(&names) }
    });
    let addresses = match given {
        Ok(Some(addresses)) => addresses,
        Ok(None) => return false,
        Err(error) => {
            state.work().failure = Some(Arc::new(error));
            return false;
        }
    };
    for (at, address) in addresses.into_iter().enumerate() {
        // SAFETY: TensorRT passes room for `count` addresses; there are as many as names.
        let place = unsafe { bindings.add(at) };
        // SAFETY: as above.
        unsafe { place.write(address) };
    }
    true
}

unsafe extern "C" fn read_calibration_cache(
    object: *mut c_void,
    length: *mut c_void,
) -> *mut c_void {
    // SAFETY: as above.
    let state: &State = unsafe { state_of(object) };
    // SAFETY: TensorRT passes a reference to a `size_t`.
    unsafe { length.cast::<usize>().write(state.cache.len()) };
    if state.cache.is_empty() {
        return std::ptr::null_mut();
    }
    // TensorRT only reads it.
    state.cache.as_ptr().cast_mut().cast()
}

unsafe extern "C" fn write_calibration_cache(object: *mut c_void, cache: *mut c_void, length: u64) {
    // SAFETY: as above.
    let state: &State = unsafe { state_of(object) };
    guarded("IInt8Calibrator::writeCalibrationCache", (), || {
        let length = usize::try_from(length).unwrap_or(0);
        if cache.is_null() || length == 0 {
            return;
        }
        // SAFETY: TensorRT passes that many bytes, which nobody changes meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(cache.cast::<u8>(), length) };
        state.work().written = Some(bytes.to_vec());
    });
}

unsafe extern "C" fn get_algorithm(object: *mut c_void) -> i32 {
    // SAFETY: as above.
    let state: &State = unsafe { state_of(object) };
    state.algorithm
}

#[cfg(test)]
mod tests;
