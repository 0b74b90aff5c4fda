//! The CUDA layer over the stand-in driver: starting it, devices, and work.

use std::panic::{AssertUnwindSafe, catch_unwind};

use trt_pipeline::backend::cuda::{
    ALIGNMENT, Context, CudaError, CudaEvent, DeviceBuffer, Driver, Ledger, PinnedBuffer, Stream,
};

use crate::standin::Cuda;

pub fn told(error: &CudaError) -> String {
    format!("{error}; {}", error.help().unwrap_or("no help"))
}

#[test]
fn without_a_driver_the_error_names_what_was_searched() {
    Cuda::missing().unstarted().run(|| {
        let error = Driver::get().unwrap_err();
        assert_eq!(
            told(&error),
            "no CUDA driver: found none of libcuda.so, libcuda.so.12, libcuda.so.11, \
             libcuda.so.10, libcuda.so.9, libcuda.so.1 in LD_LIBRARY_PATH and the system's \
             folders; install the NVIDIA driver; in a container, start it with GPU access \
             (`--gpus all`), which brings the driver's libraries along"
        );
        assert_eq!(Context::new(0).unwrap_err(), error);
    });
}

#[test]
fn a_library_that_is_no_driver_is_refused() {
    Cuda::empty().unstarted().run(|| {
        assert_eq!(
            told(&Driver::get().unwrap_err()),
            "the CUDA driver library that was found has no `cuDriverGetVersion`; take folders \
             with another `libcuda` (the CUDA toolkit's `stubs`, say) off LD_LIBRARY_PATH"
        );
    });
}

#[test]
fn an_old_driver_is_refused_before_it_is_started() {
    Cuda::new().with("VERSION", 11_030).unstarted().run(|| {
        assert_eq!(
            told(&Driver::get().unwrap_err()),
            "the CUDA driver is too old: it supports CUDA 11.3, 11.4 is needed; install a newer \
             NVIDIA driver"
        );
    });
}

#[test]
fn a_driver_that_sees_no_device_is_an_error() {
    Cuda::new().with("DEVICES", 0).unstarted().run(|| {
        let error = Driver::get().unwrap_err();
        assert!(told(&error).starts_with("the CUDA driver (CUDA 12.2) sees no GPU; check that"));
    });
}

#[test]
fn a_driver_that_does_not_start_says_why_and_is_asked_once() {
    Cuda::new().with("FAIL", "cuInit:1=802").unstarted().run(|| {
        let error = Driver::get().unwrap_err();
        assert!(
            told(&error).starts_with(
                "failed to start the CUDA driver: CUDA_ERROR_SYSTEM_NOT_READY (system not yet \
                 initialized); the NVIDIA kernel module"
            ),
            "{}",
            told(&error)
        );
        assert_eq!(Driver::get().unwrap_err(), error);
    });
}

#[test]
fn a_code_that_no_driver_of_today_has_is_an_error_as_any_other() {
    Cuda::new().with("FAIL", "cuStreamCreate:1=12345").run(|| {
        let context = Context::new(0).unwrap();
        let error = Stream::new(&context).unwrap_err();
        assert_eq!(
            told(&error),
            "failed to make a CUDA stream: CUDA error 12345 (the driver has no words for it); no \
             help"
        );
        Stream::new(&context).unwrap();
    });
}

#[test]
fn devices_are_described_with_their_properties_and_what_tensorrt_compares() {
    let setup = Cuda::new().with("DEVICES", 2).with("NAME", "Some GPU").with("CAPABILITY", "8.6");
    setup.with("MEMORY", 4096).with("VERSION", 13_010).run(|| {
        let devices = Driver::get().unwrap().devices().unwrap();
        let [first, second] = &devices[..] else { panic!("{devices:?}") };
        assert_eq!((first.ordinal, second.ordinal), (0, 1));
        assert_eq!(first.name, "Some GPU");
        assert_eq!(first.uuid, "GPU-f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfe00");
        assert_eq!(second.uuid, "GPU-f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfe01");
        assert_eq!(first.compute_capability, (8, 6));
        assert_eq!((first.total_memory, first.multiprocessors), (4096, 132));
        assert_eq!(first.pci_bus_id, "0000:3a:00.0");
        assert_eq!(second.pci_bus_id, "0000:3b:00.0");
        let properties = &first.properties;
        assert_eq!((properties.warp_size, properties.max_threads_per_block), (32, 1024));
        assert_eq!((properties.clock_khz, properties.copy_engines), (1_980_000, 3));
        assert_eq!(first.driver_version.to_string(), "13.1");
        let attributes: Vec<String> =
            first.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            attributes.join(" "),
            "clock_khz=1980000 integrated=0 l2_cache_bytes=62914560 max_grid_x=2147483647 \
             max_grid_y=65535 max_grid_z=65535 max_persisting_l2_bytes=39321600 \
             max_texture_1d=268435456 max_threads_per_block=1024 memory_bus_bits=6144 \
             memory_clock_khz=3201000 shared_bytes_per_block=49152 \
             shared_bytes_per_multiprocessor=233472 texture_alignment_bytes=512"
        );
        assert_eq!(
            told(&Context::new(2).unwrap_err()),
            "there is no GPU 2: the CUDA driver sees 2, numbered from 0; choose another GPU; \
             `nvidia-smi -L` lists them"
        );
    });
}

#[test]
fn copies_arrive_when_the_scope_ends() {
    Cuda::new().with("DEFER", 1).run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let stream = Stream::new(&context).unwrap();
        let [first, second] = [8, 6].map(|n| DeviceBuffer::new(&context, &ledger, n).unwrap());
        let mut back = PinnedBuffer::new(&context, &ledger, 8).unwrap();
        assert_eq!(*back, [0; 8], "pinned memory starts with zeros");
        for address in [first.as_ptr().addr(), second.as_ptr().addr(), back.as_ptr().addr()] {
            assert_eq!(address % ALIGNMENT, 0);
        }
        let work = stream.scope(|work| {
            work.fill(&first, 7)?;
            work.upload(&[1, 2, 3], &first)?;
            work.copy(&first, &second, 5)?;
            work.download(&second, &mut back[1..6])?;
            Ok::<_, CudaError>("submitted")
        });
        assert_eq!(work, Ok("submitted"));
        assert_eq!(*back, [0, 1, 2, 3, 7, 7, 0, 0]);
    });
}

#[test]
fn a_copy_that_does_not_fit_is_refused_and_an_empty_one_is_nothing() {
    Cuda::new().run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let stream = Stream::new(&context).unwrap();
        let [small, large, none] =
            [3, 4, 0].map(|n| DeviceBuffer::new(&context, &ledger, n).unwrap());
        assert!(none.is_empty() && !none.as_ptr().is_null());
        let mut bytes = [0; 4];
        stream
            .scope(|work| {
                let refused = work.upload(&[0; 4], &small).unwrap_err();
                assert_eq!(
                    refused.to_string(),
                    "failed to copy to the GPU: 4 bytes do not fit a device buffer of 3"
                );
                for refused in [
                    work.copy(&small, &large, 4),
                    work.copy(&large, &small, 4),
                    work.copy(&small, &none, 1),
                    work.download(&small, &mut bytes),
                ] {
                    assert!(matches!(refused, Err(CudaError::OutOfBounds { .. })), "{refused:?}");
                }
                work.upload(&[], &none)?;
                work.copy(&none, &small, 0)?;
                work.download(&none, &mut [])?;
                work.fill(&none, 1)
            })
            .unwrap();
    });
}

#[test]
fn a_panic_while_submitting_waits_for_what_was_submitted() {
    Cuda::new().with("DEFER", 1).run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let stream = Stream::new(&context).unwrap();
        let device = DeviceBuffer::new(&context, &ledger, 4).unwrap();
        let mut back = [0; 4];
        let submit = || {
            stream.scope(|work| -> Result<(), CudaError> {
                work.upload(&[1, 2, 3, 4], &device)?;
                work.download(&device, &mut back)?;
                panic!("on purpose")
            })
        };
        assert!(catch_unwind(AssertUnwindSafe(submit)).is_err());
        assert_eq!(back, [1, 2, 3, 4]);
    });
}

#[test]
fn a_failure_while_submitting_waits_for_what_was_submitted_and_is_the_one_told() {
    let setup = Cuda::new().with("DEFER", 1);
    setup.with("FAIL", "cuMemcpyDtoHAsync_v2:2=999,cuStreamSynchronize:2=802").run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let stream = Stream::new(&context).unwrap();
        let device = DeviceBuffer::new(&context, &ledger, 2).unwrap();
        let [mut first, mut second] = [[0; 2]; 2];
        let failed = stream.scope(|work| {
            work.upload(&[1, 2], &device)?;
            work.download(&device, &mut first)?;
            work.download(&device, &mut second)
        });
        assert_eq!(first, [1, 2]);
        assert_eq!(
            failed.unwrap_err().to_string(),
            "failed to copy from the GPU: CUDA_ERROR_UNKNOWN (unknown error)"
        );
        let failed = stream.scope(|work| work.fill(&device, 0));
        assert_eq!(
            failed.unwrap_err().to_string(),
            "failed to finish the work on the GPU: CUDA_ERROR_SYSTEM_NOT_READY (system not yet \
             initialized)"
        );
        stream.scope(|work| work.fill(&device, 0)).unwrap();
    });
}

#[test]
fn one_thread_works_on_two_devices_in_turn() {
    Cuda::new().with("DEVICES", 2).run(|| {
        let ledger = Ledger::new();
        let devices = [0, 1].map(|ordinal| {
            let context = Context::new(ordinal).unwrap();
            let stream = Stream::new(&context).unwrap();
            assert_eq!(stream.context().ordinal(), ordinal);
            let buffer = DeviceBuffer::new(&context, &ledger, 1).unwrap();
            (CudaEvent::new(&context).unwrap(), stream, buffer)
        });
        let mut back = [0; 2];
        let [first, second] = &mut back;
        let [(start, one, a), (end, two, b)] = &devices;
        one.scope(|outer| {
            outer.fill(a, 1)?;
            two.scope(|inner| {
                inner.fill(b, 2)?;
                inner.stream().record(end)?;
                inner.download(b, std::slice::from_mut(second))
            })?;
            outer.stream().record(start)?;
            outer.download(a, std::slice::from_mut(first))
        })
        .unwrap();
        assert_eq!(back, [1, 2]);
        // The thread's current context is now that of the first device.
        drop(devices);
    });
}
