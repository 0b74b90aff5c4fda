//! [`CudaGraph`]: work captured from a stream, to be submitted again as one.

#![expect(unsafe_code, reason = "the driver is a C library; a graph keeps addresses")]

use std::ptr::null_mut;

use cudarc::driver::sys::{CUgraph, CUgraphExec, CUstreamCaptureMode};

use super::context::Context;
use super::error::CudaError;
use super::stream::{Stream, Submission};

/// Work that is captured once and submitted many times, which costs the host one call however many
/// kernels there are.
///
/// What is captured is fixed: the kernels, their arguments, and the addresses that they read and
/// write. A graph that was captured for one shape computes that shape, whatever is asked for.
#[derive(Debug)]
pub struct CudaGraph {
    context: Context,
    captured: Option<Executable>,
}

// SAFETY: `raw` is the driver's name for a graph that only this value destroys; the driver lets any
// thread use it. Not `Sync`: the driver wants one launch at a time of an executable graph.
unsafe impl Send for CudaGraph {}

impl CudaGraph {
    /// An empty one.
    pub fn new(context: &Context) -> Self {
        Self { context: context.clone(), captured: None }
    }

    /// Captures what `submit` submits to the stream, in place of what was captured before. Nothing
    /// of it is done now.
    ///
    /// The capture is this thread's: other threads may use the device meanwhile. Where `submit`
    /// fails, or does what cannot be captured (waits for the device, allocates memory, submits
    /// elsewhere), there is no graph and the stream is as it was.
    ///
    /// ```no_run
    /// use trt_pipeline::backend::cuda::{
    ///     Context, CudaError, CudaGraph, DeviceBuffer, Ledger, PinnedBuffer, Stream,
    /// };
    ///
    /// # fn main() -> Result<(), CudaError> {
    /// let (context, ledger) = (Context::new(0)?, Ledger::new());
    /// let stream = Stream::new(&context)?;
    /// let from = PinnedBuffer::new(&context, &ledger, 4)?;
    /// let to = DeviceBuffer::new(&context, &ledger, 4)?;
    /// let mut graph = CudaGraph::new(&context);
    /// // SAFETY: both buffers outlive the graph, which is declared after them.
    /// unsafe { graph.capture(&stream, |work| work.upload(&from, &to))? };
    /// stream.scope(|work| graph.launch(work))
    /// # }
    /// ```
    ///
    /// # Safety
    /// All memory that the captured work reads or writes must stay where it is, and what the
    /// captured kernels belong to must stay loaded, until the graph is captured anew, reset or
    /// dropped, and nobody may use that memory otherwise while the graph is launched.
    pub unsafe fn capture<'env, E: From<CudaError>>(
        &mut self,
        stream: &Stream,
        submit: impl FnOnce(&Submission<'_, 'env>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.reset();
        self.context.make_current()?;
        let driver = self.context.driver();
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as u32;
        // SAFETY: the stream is not destroyed.
        let code = unsafe { (driver.functions.capture_begin)(stream.raw(), mode) };
        driver.check("begin to capture a CUDA graph", code)?;
        let capture = Capture { stream, is_open: true };
        submit(&Submission::to(stream))?;
        let graph = capture.end()?;
        self.captured = Some(graph.instantiate(stream)?);
        Ok(())
    }

    /// Whether there is something to launch.
    pub fn is_captured(&self) -> bool {
        self.captured.is_some()
    }

    /// How many nodes (kernels, copies, ..) were captured.
    pub fn nodes(&self) -> usize {
        self.captured.as_ref().map_or(0, |captured| captured.nodes)
    }

    /// Submits what was captured, to a stream of the same device; nothing where it is empty.
    pub fn launch<'env>(&'env self, work: &Submission<'_, 'env>) -> Result<(), CudaError> {
        let Some(captured) = &self.captured else { return Ok(()) };
        self.context.keep_current()?;
        let driver = self.context.driver();
        // SAFETY: neither is destroyed before the scope has waited. That the memory of the work is
        // there, whoever captured it has promised.
        let code = unsafe { (driver.functions.graph_launch)(captured.raw, work.stream().raw()) };
        driver.check("launch a CUDA graph", code)
    }

    /// Makes it empty.
    pub fn reset(&mut self) {
        self.captured = None;
    }
}

/// A capture that is under way, which must be ended whatever happens: until then the stream takes
/// no other work.
struct Capture<'a> {
    stream: &'a Stream,
    is_open: bool,
}

impl<'a> Capture<'a> {
    fn end(mut self) -> Result<Graph<'a>, CudaError> {
        self.is_open = false;
        self.close()
    }

    fn close(&self) -> Result<Graph<'a>, CudaError> {
        let context = self.stream.context();
        let current = context.make_current();
        let driver = context.driver();
        let mut raw = null_mut();
        // On a lost device, too: until it is ended, the driver lets this thread allocate nothing on
        // other devices either.
        // SAFETY: the stream is not destroyed; the driver writes one handle to where it is told.
        let code = unsafe { (driver.functions.capture_end)(self.stream.raw(), &raw mut raw) };
        let graph = Graph { context, raw };
        current.and_then(|()| driver.check("end the capture of a CUDA graph", code))?;
        Ok(graph)
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // What the failed work did wrong is told already.
            let _ = self.close();
        }
    }
}

/// What was captured, before it is made ready.
struct Graph<'a> {
    context: &'a Context,
    /// Null where there is none.
    raw: CUgraph,
}

impl Graph<'_> {
    fn instantiate(self, stream: &Stream) -> Result<Executable, CudaError> {
        self.context.make_current()?;
        let driver = self.context.driver();
        let mut nodes = 0;
        // SAFETY: the graph is not destroyed; without a place for them the driver counts its nodes.
        let code = unsafe { (driver.functions.graph_nodes)(self.raw, null_mut(), &raw mut nodes) };
        driver.check("count the nodes of a CUDA graph", code)?;
        let mut raw = null_mut();
        // SAFETY: as above; the driver writes one handle to where it is told.
        let code = unsafe { (driver.functions.graph_instantiate)(&raw mut raw, self.raw, 0) };
        driver.check("make a CUDA graph ready", code)?;
        let executable = Executable { context: self.context.clone(), raw, nodes };
        // SAFETY: neither is destroyed. The first launch then has nothing left to prepare.
        let code = unsafe { (driver.functions.graph_upload)(raw, stream.raw()) };
        driver.check("bring a CUDA graph to the GPU", code)?;
        Ok(executable)
    }
}

impl Drop for Graph<'_> {
    fn drop(&mut self) {
        if self.raw.is_null() {
            return;
        }
        let driver = self.context.driver();
        let destroy = || {
            self.context.hold()?;
            // SAFETY: the driver made it and only this value destroys it; ready ones do without it.
            let code = unsafe { (driver.functions.graph_destroy)(self.raw) };
            driver.check("destroy a captured CUDA graph", code)
        };
        driver.released(destroy());
    }
}

/// What can be launched.
#[derive(Debug)]
struct Executable {
    context: Context,
    raw: CUgraphExec,
    nodes: usize,
}

impl Drop for Executable {
    fn drop(&mut self) {
        let driver = self.context.driver();
        let destroy = || {
            self.context.make_current()?;
            // SAFETY: the driver made it and only this value destroys it.
            let code = unsafe { (driver.functions.graph_exec_destroy)(self.raw) };
            driver.check("destroy a CUDA graph", code)
        };
        driver.released(destroy());
    }
}
