//! The CUDA layer over the stand-in driver: memory, its accounts, and who releases what.

use std::thread;

use trt_pipeline::backend::MemoryStats;
use trt_pipeline::backend::cuda::{
    ALIGNMENT, Context, CudaError, CudaEvent, DeviceAllocator, DeviceBuffer, Driver, Ledger,
    MemoryInfo, MemoryKind, PinnedBuffer, Stream,
};

use crate::cuda::told;
use crate::standin::Cuda;

fn stats(ledger: &Ledger, kind: MemoryKind) -> (u64, u64) {
    let stats = ledger.stats(kind);
    (stats.current, stats.live)
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
                Box::new(CudaEvent::new(&context).unwrap()),
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
fn the_allocator_counts_frees_of_what_it_did_not_allocate() {
    Cuda::new().run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let allocator = DeviceAllocator::new(&context, &ledger);
        let address = allocator.allocate(10, 256).unwrap();
        assert!(allocator.free(address));
        assert!(!allocator.free(address));
        let buffer = DeviceBuffer::new(&context, &ledger, 10).unwrap();
        assert!(!allocator.free(buffer.as_ptr()));
        let nothing = allocator.allocate(0, 256).unwrap();
        assert!(nothing.is_null() && allocator.free(nothing));
        assert_eq!(allocator.unknown_frees(), 2);
        // More than the driver promises, most of which no allocation begins at by chance.
        let aligned = allocator.allocate(10, 1 << 20).unwrap();
        assert_eq!(aligned.addr() % (1 << 20), 0);
        assert!(allocator.free(aligned));
        allocator.allocate(10, 1).unwrap();
        assert_eq!(stats(&ledger, MemoryKind::Device), (20, 2));
        drop(allocator);
        assert_eq!(stats(&ledger, MemoryKind::Device), (10, 1));
    });
}

#[test]
fn a_release_that_fails_is_counted() {
    let setup = Cuda::new().with("FAIL", "cuDevicePrimaryCtxRelease_v2:1=999");
    setup.leaving("contexts=1 streams=0 events=0 device=0 pinned=0 graphs=0 executables=0").run(
        || {
            drop(Context::new(0).unwrap());
            drop(Context::new(0).unwrap());
            assert_eq!(Driver::get().unwrap().failed_releases(), 1);
        },
    );
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
    assert_eq!(
        cuda.live().unwrap(),
        "contexts=1 streams=1 events=0 device=1 pinned=0 graphs=0 executables=0"
    );
}

#[test]
fn a_copy_without_a_stream_is_made_when_the_call_returns() {
    Cuda::new().with("DEFER", 1).run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let [one, two] = [4, 3].map(|n| DeviceBuffer::new(&context, &ledger, n).unwrap());
        one.copy_from_host(&[1, 2, 3, 4]).unwrap();
        two.copy_from_device(&one, 3).unwrap();
        let mut back = [0; 3];
        two.copy_to_host(&mut back).unwrap();
        assert_eq!(back, [1, 2, 3]);
        assert_eq!(
            two.copy_from_host(&[0; 4]).unwrap_err().to_string(),
            "failed to copy to the GPU: 4 bytes do not fit a device buffer of 3"
        );
        for refused in [two.copy_from_device(&one, 4), two.copy_to_host(&mut [0; 4])] {
            assert!(matches!(refused, Err(CudaError::OutOfBounds { .. })), "{refused:?}");
        }
        two.copy_from_host(&[]).unwrap();
        two.copy_to_host(&mut back).unwrap();
        assert_eq!(back, [1, 2, 3], "refused copies changed something");
    });
}

#[test]
fn a_copy_without_a_stream_tells_its_failure_and_that_of_the_wait() {
    let setup = Cuda::new().with("FAIL", "cuMemcpyDtoH_v2:1=999,cuStreamSynchronize:1=1");
    setup.run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let buffer = DeviceBuffer::new(&context, &ledger, 1).unwrap();
        let failure = buffer.copy_to_host(&mut [0]).unwrap_err().to_string();
        assert!(
            failure.starts_with("failed to copy from the GPU: CUDA_ERROR_UNKNOWN"),
            "{failure}"
        );
        let failure = buffer.copy_from_host(&[0]).unwrap_err().to_string();
        assert!(failure.starts_with("failed to copy to the GPU: CUDA_ERROR_INVALID"), "{failure}");
        buffer.copy_from_host(&[0]).unwrap();
    });
}
