//! CUDA graphs over the stand-in driver: capturing, launching, and captures that go wrong.

#![expect(unsafe_code, reason = "a graph keeps addresses")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use trt_pipeline::backend::cuda::{
    Context, CudaError, CudaGraph, DeviceBuffer, Ledger, PinnedBuffer, Stream,
};

use crate::standin::Cuda;

struct Setup {
    graph: CudaGraph,
    stream: Stream,
    from: PinnedBuffer,
    device: DeviceBuffer,
    ledger: std::sync::Arc<Ledger>,
    context: Context,
}

fn setup() -> Setup {
    let (context, ledger) = (Context::new(0).unwrap(), Ledger::new());
    Setup {
        graph: CudaGraph::new(&context),
        stream: Stream::new(&context).unwrap(),
        from: PinnedBuffer::new(&context, &ledger, 4).unwrap(),
        device: DeviceBuffer::new(&context, &ledger, 4).unwrap(),
        ledger,
        context,
    }
}

impl Setup {
    fn capture(&mut self) -> Result<(), CudaError> {
        let Self { graph, stream, from, device, .. } = self;
        // SAFETY: `Setup` drops the graph first, and its buffers stay where they are.
        unsafe { graph.capture(stream, |work| work.upload(from, device)) }
    }

    /// What is in the device's memory after a launch.
    fn launched(&mut self, bytes: [u8; 4]) -> [u8; 4] {
        self.from.copy_from_slice(&bytes);
        let mut back = [0; 4];
        let Self { graph, stream, device, .. } = self;
        let launch = stream.scope(|work| {
            graph.launch(work)?;
            work.download(device, &mut back)
        });
        launch.unwrap();
        back
    }

    fn fill(&self, byte: u8) {
        self.stream.scope(|work| work.fill(&self.device, byte)).unwrap();
    }
}

#[test]
fn what_is_captured_is_done_at_each_launch_and_not_before() {
    for deferred in [false, true] {
        let cuda = if deferred { Cuda::new().with("DEFER", 1) } else { Cuda::new() };
        cuda.run(|| {
            let mut setup = setup();
            setup.fill(9);
            assert!(!setup.graph.is_captured());
            assert_eq!(setup.launched([1; 4]), [9; 4], "an empty graph does nothing");
            setup.capture().unwrap();
            assert!(setup.graph.is_captured());
            assert_eq!(setup.graph.nodes(), 1);
            for byte in 1..4 {
                assert_eq!(setup.launched([byte; 4]), [byte; 4]);
            }
            setup.graph.reset();
            assert!(!setup.graph.is_captured());
            assert_eq!(setup.launched([7; 4]), [3; 4]);
        });
    }
}

#[test]
fn a_capture_replaces_the_one_before() {
    Cuda::new().run(|| {
        let mut setup = setup();
        setup.capture().unwrap();
        let Setup { graph, stream, device, .. } = &mut setup;
        // SAFETY: the buffer outlives the graph.
        let captured: Result<(), CudaError> =
            unsafe { graph.capture(stream, |work| work.fill(device, 5)) };
        captured.unwrap();
        assert_eq!(setup.launched([1; 4]), [5; 4]);
    });
}

#[test]
fn work_that_cannot_be_captured_leaves_no_graph_and_a_stream_that_works() {
    Cuda::new().run(|| {
        let mut setup = setup();
        setup.capture().unwrap();
        let Setup { graph, stream, device, ledger, context, .. } = &mut setup;
        // SAFETY: the buffer outlives the graph.
        let waited = unsafe { graph.capture(stream, |work| work.stream().synchronize()) };
        assert!(waited.unwrap_err().to_string().contains("when stream is capturing"));
        assert!(!graph.is_captured());
        // SAFETY: as above.
        let hidden = unsafe {
            graph.capture(stream, |work| {
                let refused = DeviceBuffer::new(context, ledger, 8).is_err();
                assert!(refused, "memory cannot be had in a capture");
                let late = work.fill(device, 1);
                assert!(late.is_err(), "the capture is lost");
                Ok::<_, CudaError>(())
            })
        };
        assert!(hidden.unwrap_err().to_string().contains("previous error during capture"));
        // SAFETY: as above.
        let panicked = catch_unwind(AssertUnwindSafe(|| unsafe {
            graph.capture::<CudaError>(stream, |_| panic!("on the way"))
        }));
        assert!(panicked.is_err() && !graph.is_captured());
        setup.fill(3);
        assert_eq!(setup.launched([1; 4]), [3; 4]);
        setup.capture().unwrap();
        assert_eq!(setup.launched([1; 4]), [1; 4]);
    });
}

#[test]
fn calls_of_the_driver_that_fail_leave_nothing_behind() {
    for (function, doing) in [
        ("cuStreamBeginCapture_v2", "begin to capture a CUDA graph"),
        ("cuMemcpyHtoDAsync_v2", "copy to the GPU"),
        ("cuGraphGetNodes", "count the nodes of a CUDA graph"),
        ("cuGraphInstantiateWithFlags", "make a CUDA graph ready"),
        ("cuGraphUpload", "bring a CUDA graph to the GPU"),
    ] {
        Cuda::new().with("FAIL", format!("{function}:1=999")).run(|| {
            // The process goes through this loop as well.
            if !std::env::var("STANDIN_CUDA_FAIL").unwrap().starts_with(function) {
                return;
            }
            let mut setup = setup();
            let error = setup.capture().unwrap_err().to_string();
            assert!(error.contains(doing), "{error}");
            assert!(!setup.graph.is_captured());
            setup.capture().unwrap();
            assert_eq!(setup.launched([4; 4]), [4; 4]);
        });
    }
}

#[test]
fn a_gpu_that_is_lost_during_a_capture_leaves_its_thread_free_to_use_others() {
    let left = "contexts=1 streams=1 events=0 device=1 pinned=0 graphs=1 executables=0";
    let cuda = Cuda::new().with("DEVICES", 2).leaving(left);
    cuda.with("FAIL", "cuMemsetD8Async:1=700").run(|| {
        let ledger = Ledger::new();
        let [first, second] = [0, 1].map(|ordinal| Context::new(ordinal).unwrap());
        let stream = Stream::new(&second).unwrap();
        let buffer = DeviceBuffer::new(&second, &ledger, 64).unwrap();
        let mut graph = CudaGraph::new(&second);
        // SAFETY: nothing is launched.
        let captured = unsafe { graph.capture(&stream, |work| work.fill(&buffer, 7)) };
        assert!(matches!(captured, Err(CudaError::DeviceLost { device: 1, .. })), "{captured:?}");
        DeviceBuffer::new(&first, &ledger, 64).unwrap();
    });
}
