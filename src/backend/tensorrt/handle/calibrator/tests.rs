//! Calibrators as TensorRT uses them: through the function table that it is given.

use std::ffi::CString;
use std::path::Path;

use super::*;
use crate::backend::cuda::{MemoryKind, standin::with_driver};
use crate::backend::tensorrt::calibration::algorithm_name;
use crate::backend::tensorrt::generation::Generation;
use crate::backend::tensorrt::handle::standin::{MODEL, StandIn};
use crate::backend::tensorrt::sys::{BuilderFlag, v8_6, v10};
use crate::backend::tensorrt::{BatchInput, Flavor};
use crate::calibration::CalibrationCache;
use crate::tensor::{DType, Dim, TensorSpec};

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Entropy, Algorithm::Minmax];

fn abi(generation: Generation) -> Abi {
    let (major, minor, _) = generation.known();
    Abi { generation, version: (major, minor, 0) }
}

fn abis() -> [Abi; 2] {
    [abi(Generation::V8_6), abi(Generation::V10)]
}

/// A calibrator as C++ sees it.
struct Caller {
    object: *mut c_void,
    get_batch_size: unsafe extern "C" fn(*mut c_void) -> i32,
    get_batch: unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, i32) -> bool,
    read_cache: unsafe extern "C" fn(*mut c_void, *mut c_void) -> *mut c_void,
    write_cache: unsafe extern "C" fn(*mut c_void, *mut c_void, u64),
    get_algorithm: unsafe extern "C" fn(*mut c_void) -> i32,
}

macro_rules! caller {
    ($calibrator:expr, $generation:ident::$table:ident) => {{
        let object = $calibrator.as_ptr();
        // SAFETY: an object begins with the address of its table.
        let table = unsafe { *object.cast::<*const $generation::$table>() };
        // SAFETY: the table lives as long as the process.
        let table = unsafe { &*table };
        Caller {
            object,
            get_batch_size: table.getBatchSize.unwrap(),
            get_batch: table.getBatch.unwrap(),
            read_cache: table.readCalibrationCache.unwrap(),
            write_cache: table.writeCalibrationCache.unwrap(),
            get_algorithm: table.getAlgorithm.unwrap(),
        }
    }};
}

impl Caller {
    fn new(calibrator: &Calibrator, algorithm: Algorithm, abi: Abi) -> Self {
        match (abi.generation, algorithm) {
            (Generation::V8_6, Algorithm::Entropy) => {
                caller!(calibrator, v8_6::IInt8EntropyCalibrator2_table)
            }
            (Generation::V8_6, Algorithm::Minmax) => {
                caller!(calibrator, v8_6::IInt8MinMaxCalibrator_table)
            }
            (_, Algorithm::Entropy) => caller!(calibrator, v10::IInt8EntropyCalibrator2_table),
            (_, Algorithm::Minmax) => caller!(calibrator, v10::IInt8MinMaxCalibrator_table),
        }
    }

    fn batch_size(&self) -> i32 {
        // SAFETY: the calibrator is alive.
        unsafe { (self.get_batch_size)(self.object) }
    }

    fn algorithm(&self) -> i32 {
        // SAFETY: the calibrator is alive.
        unsafe { (self.get_algorithm)(self.object) }
    }

    /// The bytes on the device of each named input, or `None` where there is no further batch.
    fn batch(&self, inputs: &[(&str, usize)]) -> Option<Vec<Vec<u8>>> {
        let names: Vec<CString> =
            inputs.iter().map(|(name, _)| CString::new(*name).unwrap()).collect();
        let mut names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let mut bindings = vec![std::ptr::null_mut::<c_void>(); inputs.len()];
        let count = i32::try_from(inputs.len()).unwrap();
        // SAFETY: the calibrator is alive; there are as many names and places as it is told.
        let given = unsafe {
            (self.get_batch)(
                self.object,
                bindings.as_mut_ptr().cast(),
                names.as_mut_ptr().cast(),
                count,
            )
        };
        let read = |(binding, (_, bytes)): (*mut c_void, &(&str, usize))| {
            // SAFETY: device memory of the stand-in is host memory; the buffer has these bytes.
            unsafe { std::slice::from_raw_parts(binding.cast::<u8>(), *bytes) }.to_vec()
        };
        given.then(|| bindings.into_iter().zip(inputs).map(read).collect())
    }

    fn cache(&self) -> Option<Vec<u8>> {
        let mut length = usize::MAX;
        // SAFETY: the calibrator is alive; the length is written to where it is told.
        let bytes = unsafe { (self.read_cache)(self.object, (&raw mut length).cast()) };
        if bytes.is_null() {
            assert_eq!(length, 0);
            return None;
        }
        // SAFETY: there are as many bytes as it says.
        Some(unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length) }.to_vec())
    }

    fn write(&self, cache: &mut [u8]) {
        // SAFETY: the calibrator is alive; there are as many bytes as it is told.
        unsafe { (self.write_cache)(self.object, cache.as_mut_ptr().cast(), cache.len() as u64) }
    }
}

/// What a source does after its batches.
#[derive(Clone, Copy)]
enum Then {
    End,
    Fail,
    Panic,
    Lie,
}

/// So many batches, each byte of which is the batch's number, counted from 1.
struct Fake {
    batch: BatchSpec,
    given: u8,
    batches: u8,
    then: Then,
}

impl CalibrationSource for Fake {
    fn batch(&self) -> &BatchSpec {
        &self.batch
    }

    fn next_batch(&mut self) -> Result<Option<Vec<Tensor>>, CalibrationError> {
        if self.given == self.batches {
            return match self.then {
                Then::End => Ok(None),
                Then::Fail => {
                    let path = "samples.bin".into();
                    Err(CalibrationError::EndsEarly { path, expected: 8, found: 4 })
                }
                Then::Panic => panic!("the source's own mistake"),
                Then::Lie => Ok(Some(Vec::new())),
            };
        }
        self.given += 1;
        let filled = |input: &BatchInput| {
            let mut tensor = Tensor::zeros(input.dtype, input.shape.clone())?;
            tensor.bytes_mut().fill(self.given);
            Ok(tensor)
        };
        self.batch.inputs().iter().map(filled).collect::<Result<_, _>>().map(Some)
    }
}

/// Batches of four samples: `image` has 12 bytes a sample, `mask` one.
fn samples(batches: u8, then: Then) -> Samples {
    let input = |name: &str, dtype, extents: &[usize]| TensorSpec {
        name: name.to_owned(),
        dtype,
        dims: Some(extents.iter().copied().map(Dim::Fixed).collect()),
    };
    let inputs = [input("image", DType::Float32, &[4, 3]), input("mask", DType::Bool, &[4])];
    let batch = BatchSpec::new(&inputs, None, None).unwrap();
    let source = Box::new(Fake { batch, given: 0, batches, then });
    Samples { source, context: Context::new(0).unwrap(), ledger: Ledger::new() }
}

const BOTH: [(&str, usize); 2] = [("mask", 4), ("image", 48)];

#[test]
fn tensorrt_gets_every_batch_in_its_own_order_of_inputs_and_writes_the_cache() {
    with_driver(&[], || {
        for (abi, algorithm) in abis().into_iter().flat_map(|abi| ALGORITHMS.map(|one| (abi, one)))
        {
            let samples = samples(2, Then::End);
            let ledger = Arc::clone(&samples.ledger);
            let calibrator = Calibrator::new(abi, algorithm, Some(samples), Vec::new()).unwrap();
            let caller = Caller::new(&calibrator, algorithm, abi);
            let expected = match algorithm {
                Algorithm::Entropy => CalibrationAlgoType::EntropyCalibration2,
                Algorithm::Minmax => CalibrationAlgoType::MinmaxCalibration,
            };
            assert_eq!(Some(caller.algorithm()), expected.value(abi.generation));
            assert_eq!((caller.batch_size(), caller.cache()), (4, None));
            assert_eq!(ledger.stats(MemoryKind::Device).live, 0, "nothing before it is needed");
            for number in [1, 2] {
                let bytes = caller.batch(&BOTH).unwrap();
                assert_eq!(bytes, [vec![number; 4], vec![number; 48]]);
            }
            assert_eq!(caller.batch(&BOTH), None);
            assert_eq!(ledger.stats(MemoryKind::Device).allocations, 2, "once for all batches");
            caller.write(&mut b"TRT-8600-EntropyCalibration2\n".to_vec());
            assert_eq!(calibrator.written().unwrap(), b"TRT-8600-EntropyCalibration2\n");
            assert!(calibrator.failure().is_none());
            assert_eq!(calibrator.batches(), 2);
            drop(calibrator);
            assert_eq!(ledger.stats(MemoryKind::Device).live, 0);
        }
    });
}

/// What a calibration comes to of which TensorRT takes all it gets.
fn failure(samples: Samples, inputs: &[(&str, usize)]) -> (usize, String) {
    let [abi, _] = abis();
    let calibrator = Calibrator::new(abi, ALGORITHMS[0], Some(samples), Vec::new()).unwrap();
    let caller = Caller::new(&calibrator, ALGORITHMS[0], abi);
    let batches = std::iter::from_fn(|| caller.batch(inputs)).count();
    let failure = calibrator.failure().expect("a failure");
    assert_eq!(caller.batch(inputs), None, "no batch after a failure");
    assert!(Arc::ptr_eq(&failure, &calibrator.failure().unwrap()), "the first failure is kept");
    (batches, failure.to_string())
}

#[test]
fn a_source_that_fails_ends_the_batches_and_is_remembered() {
    with_driver(&[], || {
        let (batches, text) = failure(samples(1, Then::Fail), &BOTH);
        assert_eq!((batches, text.contains("ends early")), (1, true), "{text}");
        let (batches, text) = failure(samples(2, Then::Panic), &BOTH);
        assert_eq!((batches, text.contains("panicked")), (2, true), "{text}");
        let (batches, text) = failure(samples(1, Then::Lie), &BOTH);
        assert_eq!((batches, text.contains("do not fit")), (1, true), "{text}");
        let (batches, text) = failure(samples(1, Then::End), &[("imago", 1)]);
        assert_eq!((batches, text.contains("`imago`")), (0, true), "{text}");
    });
}

#[test]
fn a_gpu_without_memory_for_a_batch_ends_the_batches_and_is_remembered() {
    with_driver(&[("STANDIN_CUDA_MEMORY", "40")], || {
        let (batches, text) = failure(samples(1, Then::End), &BOTH);
        assert_eq!((batches, text.contains("48 bytes of device memory")), (0, true), "{text}");
    });
}

#[test]
fn a_copy_that_fails_ends_the_batches_and_is_remembered() {
    with_driver(&[("STANDIN_CUDA_FAIL", "cuMemcpyHtoDAsync_v2:3=999")], || {
        let (batches, text) = failure(samples(3, Then::End), &BOTH);
        assert_eq!((batches, text.contains("CUDA_ERROR_UNKNOWN")), (1, true), "{text}");
    });
}

#[test]
fn a_cache_needs_neither_samples_nor_a_gpu_until_tensorrt_refuses_it() {
    for (abi, algorithm) in abis().into_iter().flat_map(|abi| ALGORITHMS.map(|one| (abi, one))) {
        let calibrator = Calibrator::new(abi, algorithm, None, b"TRT-8600-..".to_vec()).unwrap();
        let caller = Caller::new(&calibrator, algorithm, abi);
        assert_eq!((caller.batch_size(), caller.cache().unwrap()), (1, b"TRT-8600-..".to_vec()));
        assert!(calibrator.failure().is_none() && calibrator.written().is_none());
        assert_eq!(caller.batch(&BOTH), None);
        assert!(matches!(*calibrator.failure().unwrap(), CalibrationError::NoSource));
    }
}

/// Batches of four of the stand-in's model.
fn samples_of_the_model(batches: u8, then: Then) -> Samples {
    let dims = [4, 1, 8, 8].map(Dim::Fixed).to_vec();
    let input = TensorSpec { name: "image".to_owned(), dtype: DType::Float32, dims: Some(dims) };
    let batch = BatchSpec::new(&[input], None, None).unwrap();
    let source = Box::new(Fake { batch, given: 0, batches, then });
    Samples { source, context: Context::new(0).unwrap(), ledger: Ledger::new() }
}

/// Builds the stand-in's model with a calibrator.
fn build(standin: &StandIn, calibrator: &Calibrator) -> Result<usize, TrtError> {
    let _gpu = Context::new(0).unwrap();
    let (builder, parsed, mut config) = standin.ready(Path::new(MODEL), &[BuilderFlag::Int8]);
    config.set_int8_calibrator(calibrator.clone())?;
    Ok(builder.build(parsed.network(), &config)?.bytes().len())
}

/// A build calibrates with samples, or with the cache that came of them; one that gets but a part
/// of its samples fails, although TensorRT does not.
fn builds_calibrate(version: &str, algorithm: Algorithm) {
    let standin = StandIn::new(Flavor::Standard, version);
    let abi = standin.library.abi();
    let new = |samples, cache| Calibrator::new(abi, algorithm, samples, cache).unwrap();

    let first = new(Some(samples_of_the_model(3, Then::End)), Vec::new());
    build(&standin, &first).unwrap();
    let cache = String::from_utf8(first.written().unwrap()).unwrap();
    let parsed: CalibrationCache = cache.parse().unwrap();
    assert_eq!(parsed.algorithm, algorithm_name(algorithm));
    assert_eq!(parsed.version, standin.library.version().number());
    assert_eq!((parsed.to_string(), first.batches()), (cache.clone(), 3));

    let second = new(Some(samples_of_the_model(3, Then::End)), cache.into_bytes());
    build(&standin, &second).unwrap();
    assert_eq!(second.batches(), 0, "the cache is enough");

    let third = new(Some(samples_of_the_model(2, Then::Fail)), Vec::new());
    let error = build(&standin, &third).unwrap_err();
    assert!(matches!(&error, TrtError::Calibration(_)), "{error}");
    assert!(third.written().is_some(), "TensorRT went on with the batches it had");
}

#[test]
fn builds_of_tensorrt_8_6_calibrate() {
    with_driver(&[], || builds_calibrate("8.6.0.12", Algorithm::Entropy));
}

#[test]
fn builds_of_tensorrt_10_calibrate() {
    with_driver(&[], || builds_calibrate("10.13.0.1", Algorithm::Minmax));
}

#[test]
fn libraries_without_calibrators_say_so() {
    for generation in [Generation::V11, Generation::Rtx1_4, Generation::Rtx1] {
        for algorithm in ALGORITHMS {
            let made = Calibrator::new(abi(generation), algorithm, None, Vec::new());
            assert!(matches!(made, Err(TrtError::Missing(_))), "{generation:?}");
        }
    }
}
