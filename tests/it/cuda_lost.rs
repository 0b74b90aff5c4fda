//! GPUs whose context breaks, over the stand-in for the driver.

use trt_pipeline::backend::cuda::{
    Context, CudaError, DeviceBuffer, Driver, Ledger, PinnedBuffer, Stream,
};

use crate::standin::Cuda;

/// What orders the faults.
const FAULT: &str = "TRT_PIPELINE_CUDA_FAULT";

fn fill(stream: &Stream, buffer: &DeviceBuffer) -> Result<(), CudaError> {
    stream.scope(|work| work.fill(buffer, 7))
}

/// Works on both GPUs until the second one breaks, which it must do in its third piece of work.
fn break_the_second() {
    let ledger = Ledger::new();
    let [(a, one, first), (b, two, second)] = [0, 1].map(|ordinal| {
        let context = Context::new(ordinal).unwrap();
        let stream = Stream::new(&context).unwrap();
        let buffer = DeviceBuffer::new(&context, &ledger, 64).unwrap();
        (context, stream, buffer)
    });
    for _ in 0..2 {
        fill(&one, &first).unwrap();
        fill(&two, &second).unwrap();
    }
    let error = fill(&two, &second).unwrap_err();
    let CudaError::DeviceLost { device: 1, reason } = &error else { panic!("{error:?}") };
    assert!(reason.contains("CUDA_ERROR_ILLEGAL_ADDRESS"), "{reason}");
    assert!(error.help().unwrap().contains("start the program again"));
    // From now on everything fails for the same reason, at once.
    assert_eq!(fill(&two, &second).unwrap_err(), error);
    assert_eq!(DeviceBuffer::new(&b, &ledger, 1).unwrap_err(), error);
    assert_eq!(PinnedBuffer::new(&b, &ledger, 1).unwrap_err(), error);
    assert_eq!(Context::new(1).unwrap_err(), error);
    assert_eq!((b.probe().unwrap_err(), b.hold().unwrap_err()), (error.clone(), error));
    // The other one goes on.
    a.probe().unwrap();
    fill(&one, &first).unwrap();
    drop((one, two, first, second, a, b));
    assert_eq!(Driver::get().unwrap().failed_releases(), 0, "nothing was asked of it");
}

/// What is on the lost GPU stays there.
const LEFT: &str = "contexts=1 streams=1 events=0 device=1 pinned=0 graphs=0 executables=0";

#[test]
fn a_gpu_that_is_ordered_to_fail_is_lost_and_the_other_goes_on() {
    let cuda = Cuda::new().with("DEVICES", 2).leaving(LEFT);
    cuda.and(FAULT, "device=1,after=2,kind=error").run(|| {
        break_the_second();
    });
}

#[test]
fn a_kernel_that_writes_to_an_illegal_address_breaks_its_gpu_and_no_other() {
    let cuda = Cuda::new().with("DEVICES", 2).with("DEFER", 1).leaving(LEFT);
    cuda.and(FAULT, "device=1,after=2,kind=kernel").run(|| {
        break_the_second();
    });
}

#[test]
fn a_code_of_the_driver_that_says_that_the_context_is_broken_loses_the_gpu() {
    let left = "contexts=1 streams=1 events=0 device=1 pinned=0 graphs=0 executables=0";
    Cuda::new().with("FAIL", "cuStreamSynchronize:2=719").leaving(left).run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let stream = Stream::new(&context).unwrap();
        let buffer = DeviceBuffer::new(&context, &ledger, 64).unwrap();
        fill(&stream, &buffer).unwrap();
        assert_eq!(
            fill(&stream, &buffer).unwrap_err().to_string(),
            "GPU 0 is lost: failed to finish the work on the GPU: CUDA_ERROR_LAUNCH_FAILED \
             (unspecified launch failure)"
        );
    });
}

#[test]
fn an_order_that_means_nothing_keeps_every_gpu_from_being_used() {
    let cuda = Cuda::new().with("DEVICES", 2).leaving(crate::standin::NOTHING);
    cuda.and(FAULT, "device=2,after=2,kind=error").run(|| {
        let error = Context::new(0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`TRT_PIPELINE_CUDA_FAULT` is `device=2,after=2,kind=error`, which orders no fault"
        );
        assert!(error.help().unwrap().contains("unset it"));
    });
}
