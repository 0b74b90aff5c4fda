//! The CUDA layer over the stand-in driver.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use trt_pipeline::backend::MemoryStats;
use trt_pipeline::backend::cuda::{
    ALIGNMENT, Context, CudaError, DeviceAllocator, DeviceBuffer, Driver, Event, Ledger,
    MemoryInfo, MemoryKind, PinnedBuffer, Stream,
};

use crate::standin::Cuda;

fn told(error: &CudaError) -> String {
    format!("{error}; {}", error.help().unwrap_or("no help"))
}

fn stats(ledger: &Ledger, kind: MemoryKind) -> (u64, u64) {
    let stats = ledger.stats(kind);
    (stats.current, stats.live)
}

#[test]
fn without_a_driver_the_error_names_what_was_searched() {
    Cuda::missing().run_unstarted(|| {
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
    Cuda::empty().run_unstarted(|| {
        assert_eq!(
            told(&Driver::get().unwrap_err()),
            "the CUDA driver library that was found has no `cuDriverGetVersion`; take folders \
             with another `libcuda` (the CUDA toolkit's `stubs`, say) off LD_LIBRARY_PATH"
        );
    });
}

#[test]
fn an_old_driver_is_refused_before_it_is_started() {
    Cuda::new().with("VERSION", 11_030).run_unstarted(|| {
        assert_eq!(
            told(&Driver::get().unwrap_err()),
            "the CUDA driver is too old: it supports CUDA 11.3, 11.4 is needed; install a newer \
             NVIDIA driver"
        );
    });
}

#[test]
fn a_driver_that_sees_no_device_is_an_error() {
    Cuda::new().with("DEVICES", 0).run_unstarted(|| {
        let error = Driver::get().unwrap_err();
        assert!(told(&error).starts_with("the CUDA driver (CUDA 12.2) sees no GPU; check that"));
    });
}

#[test]
fn a_driver_that_does_not_start_says_why_and_is_asked_once() {
    Cuda::new().with("FAIL", "cuInit:1=802").run_unstarted(|| {
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
fn devices_are_described_with_the_numbers_that_tensorrt_compares() {
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
    setup.with("FAIL", "cuMemcpyDtoHAsync_v2:2=700,cuStreamSynchronize:2=719").run(|| {
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
            "failed to copy from the GPU: CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access \
             was encountered)"
        );
        let failed = stream.scope(|work| work.fill(&device, 0));
        assert_eq!(
            failed.unwrap_err().to_string(),
            "failed to finish the work on the GPU: CUDA_ERROR_LAUNCH_FAILED (unspecified launch \
             failure)"
        );
        stream.scope(|work| work.fill(&device, 0)).unwrap();
    });
}

#[test]
fn events_measure_the_time_between_them() {
    Cuda::new().with("DEFER", 1).run(|| {
        let context = Context::new(0).unwrap();
        let stream = Stream::new(&context).unwrap();
        let [start, end] = [(); 2].map(|()| Event::new(&context).unwrap());
        let failure = || end.since(&start).unwrap_err().to_string();
        let failed = "failed to read the time between CUDA events: ";
        assert_eq!(
            failure(),
            format!("{failed}CUDA_ERROR_INVALID_HANDLE (invalid resource handle)")
        );
        stream.record(&start).unwrap();
        stream.record(&end).unwrap();
        assert_eq!(failure(), format!("{failed}CUDA_ERROR_NOT_READY (device not ready)"));
        stream.synchronize().unwrap();
        thread::sleep(Duration::from_millis(2));
        stream.record(&end).unwrap();
        stream.synchronize().unwrap();
        let time = end.since(&start).unwrap();
        assert!((Duration::from_millis(1)..Duration::from_secs(60)).contains(&time), "{time:?}");
        assert_eq!(start.since(&end).unwrap(), Duration::ZERO);
    });
}

#[test]
fn out_of_device_memory_is_an_error_of_its_own_after_which_all_goes_on() {
    Cuda::new().with("MEMORY", 1000).run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let held = DeviceBuffer::new(&context, &ledger, 600).unwrap();
        let allocator = DeviceAllocator::new(&context, &ledger);
        for refused in [
            DeviceBuffer::new(&context, &ledger, 401).unwrap_err(),
            allocator.allocate(401, 0).unwrap_err(),
        ] {
            let available = Some(MemoryInfo { free: 400, total: 1000 });
            let kind = MemoryKind::Device;
            assert_eq!(refused, CudaError::OutOfMemory { kind, requested: 401, available });
            assert!(told(&refused).starts_with(
                "failed to allocate 401 bytes of device memory: 400 of 1000 bytes are free; end \
                 other programs"
            ));
        }
        assert!(DeviceBuffer::new(&context, &ledger, usize::MAX).is_err());
        assert_eq!(stats(&ledger, MemoryKind::Device), (600, 1));
        let stream = Stream::new(&context).unwrap();
        stream.scope(|work| work.fill(&held, 1)).unwrap();
        let rest = DeviceBuffer::new(&context, &ledger, 400).unwrap();
        assert_eq!(context.memory_info().unwrap(), MemoryInfo { free: 0, total: 1000 });
        drop((held, rest));
        DeviceBuffer::new(&context, &ledger, 1000).unwrap();
    });
}

#[test]
fn out_of_pinned_memory_is_an_error_of_its_own_after_which_all_goes_on() {
    Cuda::new().with("PINNED", 1000).run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let refused = PinnedBuffer::new(&context, &ledger, 1001).unwrap_err();
        let CudaError::OutOfMemory { kind, requested, available } = refused else {
            panic!("{refused}")
        };
        assert_eq!((kind, requested), (MemoryKind::Pinned, 1001));
        let host = available.unwrap();
        assert!(host.free > 1001 && host.total > host.free, "{host:?}");
        assert_eq!(ledger.stats(MemoryKind::Pinned), MemoryStats::default());
        PinnedBuffer::new(&context, &ledger, 1000).unwrap().fill(1);
    });
}

#[test]
fn every_owner_and_the_process_know_their_memory_and_end_at_zero() {
    Cuda::new().run(|| {
        let context = Context::new(0).unwrap();
        let (engine, other) = (Ledger::new(), Ledger::new());
        let device = |ledger, n| DeviceBuffer::new(&context, ledger, n).unwrap();
        let first = device(&engine, 100);
        drop(device(&engine, 300));
        let foreign = device(&other, 50);
        let staging = PinnedBuffer::new(&context, &engine, 40).unwrap();
        let expected = MemoryStats { current: 100, peak: 400, total: 400, allocations: 2, live: 1 };
        assert_eq!(engine.stats(MemoryKind::Device), expected);
        assert_eq!(engine.stats(MemoryKind::Pinned).peak, 40);
        let expected = MemoryStats { current: 150, peak: 400, total: 450, allocations: 3, live: 2 };
        assert_eq!(Ledger::process().stats(MemoryKind::Device), expected);
        drop((first, foreign, staging));
        for ledger in [&engine, &other, Ledger::process()] {
            assert_eq!(stats(ledger, MemoryKind::Device), (0, 0));
            assert_eq!(stats(ledger, MemoryKind::Pinned), (0, 0));
        }
        assert_eq!(engine.stats(MemoryKind::Device).peak, 400);
    });
}

#[test]
fn objects_can_go_in_any_order() {
    Cuda::new().run(|| {
        // Every order of five objects, as the digits of a number in the factorial system.
        for mut order in 0..120 {
            let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
            let mut objects: Vec<Box<dyn Send>> = vec![
                Box::new(Stream::new(&context).unwrap()),
                Box::new(Event::new(&context).unwrap()),
                Box::new(DeviceBuffer::new(&context, &ledger, 1).unwrap()),
                Box::new(PinnedBuffer::new(&context, &ledger, 1).unwrap()),
                Box::new(context),
            ];
            while !objects.is_empty() {
                let next = order % objects.len();
                order /= objects.len();
                drop(objects.swap_remove(next));
            }
        }
        assert_eq!(Driver::get().unwrap().failed_releases(), 0);
    });
}

#[test]
fn many_threads_use_one_device_at_once() {
    Cuda::new().run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let allocator = DeviceAllocator::new(&context, &ledger);
        let work = |seed: u8| {
            let stream = Stream::new(&context).unwrap();
            let mut kept = Vec::new();
            for round in 0..50 {
                let len = usize::from(seed) * 10 + round + 1;
                let mut staging = PinnedBuffer::new(&context, &ledger, len).unwrap();
                let device = DeviceBuffer::new(&context, &ledger, len).unwrap();
                let sent = vec![seed; len];
                let copies = stream.scope(|work| {
                    work.upload(&sent, &device)?;
                    work.download(&device, &mut staging)
                });
                copies.unwrap();
                assert_eq!(*staging, sent);
                let address = allocator.allocate(len, ALIGNMENT).unwrap();
                assert_eq!(address.addr() % ALIGNMENT, 0);
                if round % 2 == 0 {
                    assert!(allocator.free(address));
                } else {
                    kept.push((device, staging));
                }
            }
            kept
        };
        let kept: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|seed| scope.spawn(move || work(seed))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        // Made on other threads, freed here: 8 * 25 of each kind, and as many of the allocator's.
        assert_eq!(kept.len(), 200);
        assert_eq!(ledger.stats(MemoryKind::Device).live, 400);
        assert_eq!(ledger.stats(MemoryKind::Device).allocations, 800);
        drop((kept, allocator));
        assert_eq!(stats(&ledger, MemoryKind::Device), (0, 0));
        assert_eq!(stats(&ledger, MemoryKind::Pinned), (0, 0));
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
            (Event::new(&context).unwrap(), stream, buffer)
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

#[test]
fn the_allocator_counts_frees_of_what_it_did_not_allocate() {
    Cuda::new().run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let allocator = DeviceAllocator::new(&context, &ledger);
        let address = allocator.allocate(10, 256).unwrap();
        assert!(allocator.free(address));
        assert!(!allocator.free(address));
        let buffer = DeviceBuffer::new(&context, &ledger, 10).unwrap();
        assert!(!allocator.free(buffer.as_ptr()));
        assert!(allocator.free(std::ptr::null_mut()));
        assert_eq!(allocator.unknown_frees(), 2);
        assert_eq!(
            allocator.allocate(10, 512).unwrap_err().to_string(),
            "failed to align device memory to 512 bytes: the driver grants 256"
        );
        allocator.allocate(10, 1).unwrap();
        assert_eq!(stats(&ledger, MemoryKind::Device), (20, 2));
        drop(allocator);
        assert_eq!(stats(&ledger, MemoryKind::Device), (10, 1));
    });
}

#[test]
fn a_release_that_fails_is_counted() {
    let setup = Cuda::new().with("FAIL", "cuDevicePrimaryCtxRelease_v2:1=999");
    setup.leaving("contexts=1 streams=0 events=0 device=0 pinned=0").run(|| {
        drop(Context::new(0).unwrap());
        drop(Context::new(0).unwrap());
        assert_eq!(Driver::get().unwrap().failed_releases(), 1);
    });
}

#[test]
fn the_stand_in_ends_a_process_that_misuses_it() {
    const START: &str = "P c, s; D d; cuInit(0); cuDevicePrimaryCtxRetain(&c, 0);
        cuCtxSetCurrent(c); cuStreamCreate(&s, 0); cuMemAlloc_v2(&d, 8);";
    for (misuse, message) in [
        ("cuMemFree_v2(d); cuMemFree_v2(d);", "freed, which is no live allocation"),
        ("cuMemFree_v2(d + 1);", "freed, which is no live allocation"),
        ("cuMemsetD8Async(d, 0, 9, s);", "9 bytes at"),
        ("cuMemsetD8Async(d + 8, 0, 1, s);", "is in no live allocation"),
        (
            "cuMemsetD8Async(d, 0, 8, s); cuMemFree_v2(d); cuStreamSynchronize(s);",
            "is in no live allocation",
        ),
        ("cuStreamDestroy_v2(s); cuStreamSynchronize(s);", "is none of the live streams"),
        ("cuDevicePrimaryCtxRelease_v2(0);", "context of device 0 released before its device"),
    ] {
        let cuda = Cuda::new().with("DEFER", 1);
        let output = cuda.c_program(&format!("{START} {misuse}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(message), "{misuse}: {said}");
    }
    let cuda = Cuda::new();
    assert!(cuda.c_program(START).status.success());
    assert_eq!(cuda.live().unwrap(), "contexts=1 streams=1 events=0 device=1 pinned=0");
}
