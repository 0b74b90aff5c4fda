//! Loading engines, and what can fail then and later, over the stand-ins.

use std::sync::Arc;

use trt_pipeline::backend::cuda::{Ledger, MemoryKind};
use trt_pipeline::backend::tensorrt::TensorRtBackend;
use trt_pipeline::backend::{Backend, BackendError, Engine, LoadOptions};
use trt_pipeline::tensor::Shape;

use crate::standin::Cuda;
use crate::tensorrt_engines::{Built, fill, gpu, rtx, run, v8_6, v10};

const DIGITS: &str = "      profiles:
        - image: { min: [1, 1, 8, 8], opt: [8, 1, 8, 8], max: [32, 1, 8, 8] }
";

/// One failure after another, then all is well: the process goes on.
fn works(engine: &Arc<dyn Engine>) {
    let mut context = Arc::clone(engine).new_context().unwrap();
    fill(context.as_mut(), 0, &[2, 1, 8, 8]);
    context.run().unwrap();
    context.output(0).unwrap();
}

fn nothing_is_held() {
    for kind in [MemoryKind::Device, MemoryKind::Pinned] {
        assert_eq!(Ledger::process().stats(kind).live, 0, "{kind}");
    }
}

fn refusal(loaded: Result<Arc<dyn Engine>, BackendError>) -> String {
    match loaded.map(|_| ()).unwrap_err() {
        BackendError::Load { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn damaged_plans_are_refused_in_tensorrts_words_and_a_good_one_loads_after_them() {
    run(&v8_6(), gpu(), || {
        let built = Built::new("digits_fp32", DIGITS);
        let plan = built.plan();
        let cut = refusal(built.load_bytes(&plan[..plan.len() / 2]));
        insta::assert_snapshot!(
            cut,
            @"deserializeCudaEngine failed: IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion sizeRead == static_cast<uint64_t>(mEnd - mCurrent) failed.Size specified in header does not match archive size) (kUNSPECIFIED_ERROR); build it again here"
        );
        let mut damaged = plan.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(refusal(built.load_bytes(&damaged)).contains("Checksum"));
        assert!(refusal(built.load_bytes(b"")).contains("Magic tag does not match"));
        assert!(refusal(built.load_bytes(&[7; 4096])).contains("Magic tag does not match"));
        let other = refusal(built.load_bytes(b"vtrt and so on"));
        assert!(other.starts_with("it is an engine of TensorRT-RTX"), "{other}");
        nothing_is_held();
        works(&built.load().unwrap());
    });
}

#[test]
fn an_engine_of_another_version_or_for_another_gpu_is_refused_before_it_is_loaded() {
    run(&v10(), gpu(), || {
        let mut built = Built::new("digits_fp32", DIGITS);
        let facts = built.manifest.tensorrt.clone().unwrap();
        let mut edited = facts.clone();
        edited.version = "8.6.0.12".to_owned();
        built.manifest.tensorrt = Some(edited);
        insta::assert_snapshot!(
            refusal(built.load()),
            @"it was built by TensorRT 8.6.0.12 and runs with that version only; here is 10.13.3: build it again here"
        );
        let mut edited = facts.clone();
        edited.compute_capabilities = vec!["9.0".to_owned()];
        built.manifest.tensorrt = Some(edited);
        insta::assert_snapshot!(
            refusal(built.load()),
            @"it is for GPUs of compute capability 9.0 (Stand-in GPU); GPU 0 here is of 8.9 (Stand-in GPU): build it again here, or leave that GPU out"
        );
        built.manifest.tensorrt = Some(facts);
        built.manifest.inputs[0].name = "picture".to_owned();
        insta::assert_snapshot!(
            refusal(built.load()),
            @"engine.json lists input `picture`, which the plan does not have"
        );
        nothing_is_held();
    });
}

#[test]
fn tensorrt_rtx_says_itself_that_an_engine_does_not_run_here() {
    run(&rtx(), Cuda::new().with("CAPABILITY", "12.0"), || {
        let mut built =
            Built::new("digits_fp32", &format!("{DIGITS}      compute_capabilities: [\"8.9\"]\n"));
        built.manifest.tensorrt.as_mut().unwrap().compute_capabilities = Vec::new();
        insta::assert_snapshot!(
            refusal(built.load()),
            @"TensorRT-RTX does not run it here: it is not for this GPU's compute capability; build it again here"
        );
        insta::assert_snapshot!(
            refusal(built.load_bytes(b"no plan")),
            @"TensorRT-RTX does not run it here: it is damaged, or no engine at all; build it again here"
        );
        nothing_is_held();
    });
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_with_help() {
    run(&v10(), gpu(), || {
        let built = Built::new("digits_fp32", DIGITS);
        let loaded =
            TensorRtBackend.load(&built.folder(), &built.manifest, &LoadOptions::on(Some(3)));
        let error = loaded.map(|_| ()).unwrap_err();
        insta::assert_snapshot!(
            format!("{error}; {}", error.help().unwrap()),
            @"backend `tensorrt` is not available: there is no GPU 3: the CUDA driver sees 1, numbered from 0; choose another GPU; `nvidia-smi -L` lists them"
        );
    });
}

/// Fails one call, of TensorRT or of the driver, and checks what is told of it.
macro_rules! failures {
    ($($test:ident: $variable:literal, $call:literal, |$error:ident| $check:expr;)+) => {
        $(#[test]
        fn $test() {
            run(&v10(), gpu().and($variable, $call), || {
                let built = Built::new("digits_fp32", DIGITS);
                let tried = || -> Result<(), BackendError> {
                    let mut context = built.load()?.new_context()?;
                    let image = Shape(vec![2, 1, 8, 8]);
                    context.input_mut(0, &image)?.fill(1);
                    context.run().map(|_| ())
                };
                let $error = tried().unwrap_err();
                assert!($check, "{:?}", $error);
                nothing_is_held();
                // The next attempt, in the same process, works.
                works(&built.load().unwrap());
            });
        })+
    };
}

failures! {
    a_failing_deserialisation_is_told:
        "STANDIN_TENSORRT_FAIL", "IRuntime::deserializeCudaEngine:1",
        |error| tells(&error, "deserializeCudaEngine");
    a_context_that_cannot_be_made_is_told:
        "STANDIN_TENSORRT_FAIL", "ICudaEngine::createExecutionContext:1",
        |error| tells(&error, "createExecutionContext");
    an_allocator_that_cannot_be_set_is_told:
        "STANDIN_TENSORRT_FAIL", "IExecutionContext::setTemporaryStorageAllocator:1",
        |error| tells(&error, "setTemporaryStorageAllocator");
    a_stream_that_cannot_be_made_is_told:
        "STANDIN_CUDA_FAIL", "cuStreamCreate:1=999",
        |error| error.to_string().contains("failed to make a CUDA stream");
    a_shape_that_cannot_be_set_is_told:
        "STANDIN_TENSORRT_FAIL", "IExecutionContext::setInputShape:1",
        |error| tells(&error, "setInputShape");
    an_address_that_cannot_be_set_is_told:
        "STANDIN_TENSORRT_FAIL", "IExecutionContext::setTensorAddress:1",
        |error| tells(&error, "setTensorAddress");
    a_run_that_cannot_be_submitted_is_told:
        "STANDIN_TENSORRT_FAIL", "IExecutionContext::enqueueV3:1",
        |error| tells(&error, "enqueueV3");
    shapes_that_cannot_be_worked_out_are_told:
        "STANDIN_TENSORRT_FAIL", "IExecutionContext::inferShapes:2",
        |error| tells(&error, "inferShapes");
    out_of_device_memory_for_the_engine_is_an_error_of_its_own:
        "STANDIN_CUDA_FAIL", "cuMemAlloc_v2:1=2",
        |error| is_out_of_memory(&error, "loading the engine");
    out_of_device_memory_for_a_context_is_an_error_of_its_own:
        "STANDIN_CUDA_FAIL", "cuMemAlloc_v2:2=2",
        |error| is_out_of_memory(&error, "making an execution context");
    out_of_device_memory_for_inputs_is_an_error_of_its_own:
        "STANDIN_CUDA_FAIL", "cuMemAlloc_v2:3=2",
        |error| is_out_of_memory(&error, "preparing a run");
    out_of_device_memory_for_outputs_is_an_error_of_its_own:
        "STANDIN_CUDA_FAIL", "cuMemAlloc_v2:4=2",
        |error| is_out_of_memory(&error, "preparing a run");
    out_of_pinned_memory_for_inputs_is_an_error_of_its_own:
        "STANDIN_CUDA_FAIL", "cuMemHostAlloc:1=2",
        |error| is_out_of_memory(&error, "staging an input");
    out_of_pinned_memory_for_outputs_is_an_error_of_its_own:
        "STANDIN_CUDA_FAIL", "cuMemHostAlloc:2=2",
        |error| is_out_of_memory(&error, "preparing a run");
}

fn tells(error: &BackendError, call: &str) -> bool {
    let text = error.to_string();
    text.contains(&format!("{call} failed")) && text.contains("failure on demand")
}

fn is_out_of_memory(error: &BackendError, expected: &str) -> bool {
    match error {
        BackendError::OutOfMemory { doing, reason } => {
            doing == expected && reason.contains("bytes of") && reason.contains("are free")
        }
        _ => false,
    }
}

#[test]
fn out_of_memory_for_an_output_whose_shape_depends_on_the_data_is_told_and_the_next_run_works() {
    run(&v10(), gpu().with("FAIL", "cuMemAlloc_v2:4=2"), || {
        let samples = "      profiles:\n        - x: { min: [1, 4], opt: [2, 4], max: [8, 4] }\n";
        let mut context = Built::new("dynamic_output", samples).context();
        fill(context.as_mut(), 0, &[2, 4]);
        let error = context.run().unwrap_err();
        assert!(is_out_of_memory(&error, "running the engine"), "{error:?}");
        assert!(context.output(0).is_err());
        context.run().unwrap();
        context.output(0).unwrap();
    });
}

#[test]
fn a_failing_copy_or_wait_of_cuda_is_told_and_the_next_run_works() {
    let cuda = gpu().with("FAIL", "cuMemcpyHtoDAsync_v2:1=999,cuStreamSynchronize:3=802");
    run(&v10(), cuda, || {
        let engine = Built::new("digits_fp32", DIGITS).load().unwrap();
        let mut context = Arc::clone(&engine).new_context().unwrap();
        fill(context.as_mut(), 0, &[2, 1, 8, 8]);
        let told = context.run().unwrap_err().to_string();
        assert!(told.contains("CUDA_ERROR_UNKNOWN"), "{told}");
        assert!(context.output(0).is_err());
        context.run().unwrap();
        let told = context.run().unwrap_err().to_string();
        assert!(told.contains("CUDA_ERROR_SYSTEM_NOT_READY"), "{told}");
        context.run().unwrap();
    });
}
