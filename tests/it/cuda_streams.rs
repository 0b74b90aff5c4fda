//! Events and pools of streams over the stand-in driver.

use std::time::{Duration, Instant};

use trt_pipeline::backend::cuda::{
    Context, CudaError, CudaEvent, DeviceBuffer, Ledger, Stream, StreamPool, StreamPoolStatistics,
};

use crate::cuda::told;
use crate::standin::Cuda;

#[test]
fn events_measure_the_time_between_them() {
    Cuda::new().with("DEFER", 1).run(|| {
        let context = Context::new(0).unwrap();
        let stream = Stream::new(&context).unwrap();
        let [start, end] = [(); 2].map(|()| CudaEvent::new(&context).unwrap());
        let failure = || start.elapsed(&end).unwrap_err().to_string();
        let failed = "failed to read the time between CUDA events: ";
        assert_eq!(
            failure(),
            format!("{failed}CUDA_ERROR_INVALID_HANDLE (invalid resource handle)")
        );
        let before = Instant::now();
        stream.record(&start).unwrap();
        stream.record(&end).unwrap();
        assert_eq!(failure(), format!("{failed}CUDA_ERROR_NOT_READY (device not ready)"));
        stream.synchronize().unwrap();
        stream.record(&end).unwrap();
        stream.synchronize().unwrap();
        let time = start.elapsed(&end).unwrap();
        assert!(time > Duration::ZERO && time <= before.elapsed(), "{time:?}");
        assert_eq!(end.elapsed(&start).unwrap(), Duration::ZERO);
    });
}

#[test]
fn an_event_tells_whether_it_is_reached_and_can_be_waited_for() {
    Cuda::new().with("DEFER", 1).with("FAIL", "cuEventQuery:4=999").run(|| {
        let context = Context::new(0).unwrap();
        let stream = Stream::new(&context).unwrap();
        let event = CudaEvent::new(&context).unwrap();
        assert_eq!(event.is_reached(), Ok(true), "it was never recorded");
        event.synchronize().unwrap();
        stream.record(&event).unwrap();
        assert_eq!(event.is_reached(), Ok(false));
        event.synchronize().unwrap();
        assert_eq!(event.is_reached(), Ok(true));
        assert_eq!(
            event.is_reached().unwrap_err().to_string(),
            "failed to ask for a CUDA event: CUDA_ERROR_UNKNOWN (unknown error)"
        );
    });
}

#[test]
fn a_stream_waits_for_what_another_one_does_before_an_event() {
    Cuda::new().with("DEFER", 1).run(|| {
        let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
        let [one, two] = [(); 2].map(|()| Stream::new(&context).unwrap());
        let event = CudaEvent::new(&context).unwrap();
        let buffer = DeviceBuffer::new(&context, &ledger, 1).unwrap();
        buffer.copy_from_host(&[1]).unwrap();
        let (mut before, mut after) = ([0], [0]);
        one.scope(|first| {
            first.fill(&buffer, 2)?;
            one.record(&event)?;
            first.fill(&buffer, 3)?;
            two.scope(|second| second.download(&buffer, &mut before))?;
            two.wait(&event)?;
            two.scope(|second| second.download(&buffer, &mut after))
        })
        .unwrap();
        assert_eq!((before, after), ([1], [2]));
        let never = CudaEvent::new(&context).unwrap();
        two.wait(&never).unwrap();
        drop(never);
        two.synchronize().unwrap();
    });
}

#[test]
fn a_pool_lends_each_stream_to_one_at_a_time_and_grows_where_all_are_lent() {
    Cuda::new().run(|| {
        let context = Context::new(0).unwrap();
        let pool = StreamPool::new(&context, 1).unwrap();
        let first = pool.lend().unwrap();
        let handle = first.as_ptr();
        let second = pool.lend().unwrap();
        assert_ne!(second.as_ptr(), handle);
        let told = |streams, lent, grown, leases| StreamPoolStatistics {
            streams,
            lent,
            peak: streams,
            grown,
            leases,
        };
        assert_eq!(pool.statistics(), told(2, 2, 1, 2));
        drop(first);
        assert_eq!(pool.lend().unwrap().as_ptr(), handle, "an idle stream was not lent again");
        drop(second);
        assert_eq!(pool.statistics(), told(2, 0, 1, 3));
    });
}

#[test]
fn a_stream_of_a_pool_comes_back_after_a_panic_and_one_that_cannot_be_made_is_not_counted() {
    Cuda::new().with("FAIL", "cuStreamCreate:2=2").run(|| {
        let context = Context::new(0).unwrap();
        let pool = StreamPool::new(&context, 1).unwrap();
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _stream = pool.lend().unwrap();
                panic!("on purpose");
            });
            assert!(holder.join().is_err());
        });
        let held = pool.lend().unwrap();
        let refused = pool.lend().unwrap_err().to_string();
        assert!(refused.starts_with("failed to make a CUDA stream: "), "{refused}");
        let grown = || (pool.statistics().streams, pool.statistics().lent, pool.statistics().grown);
        assert_eq!(grown(), (1, 1, 0));
        drop((held, pool.lend().unwrap()));
        assert_eq!(grown(), (2, 0, 1));
    });
}

#[test]
fn a_pool_ends_at_its_limit_with_an_error() {
    Cuda::new().run(|| {
        let context = Context::new(0).unwrap();
        let expected = CudaError::NoStream { limit: StreamPool::MOST };
        assert_eq!(StreamPool::new(&context, StreamPool::MOST + 1).unwrap_err(), expected);
        let pool = StreamPool::new(&context, StreamPool::MOST - 1).unwrap();
        let held: Vec<_> = (0..StreamPool::MOST).map(|_| pool.lend().unwrap()).collect();
        let refused = pool.lend().unwrap_err();
        assert_eq!(
            told(&refused),
            "all 1024 CUDA streams that a pool may have are lent; give streams back sooner: drop \
             what `lend` gave"
        );
        drop(held);
        pool.lend().unwrap();
    });
}
