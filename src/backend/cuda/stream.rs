//! Streams, and copies that cannot outlive their buffers.

#![expect(unsafe_code, reason = "the driver is a C library that copies memory")]

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;

use cudarc::driver::sys::{CUstream, CUstream_flags};

use super::context::Context;
use super::driver::Functions;
use super::error::CudaError;
use super::event::CudaEvent;
use super::memory::{DeviceBuffer, check_bounds};

/// A queue of work for a device, done in order. It does not wait for the default stream.
#[derive(Debug)]
pub struct Stream {
    context: Context,
    raw: CUstream,
}

// SAFETY: `raw` is the driver's name for a stream that only this value destroys; the driver lets
// any thread use it. Not `Sync`: two threads that submit at once would mix their work.
unsafe impl Send for Stream {}

impl Stream {
    /// Makes a stream on a device.
    pub fn new(context: &Context) -> Result<Self, CudaError> {
        context.make_current()?;
        let driver = context.driver();
        let mut raw = std::ptr::null_mut();
        let flags = CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: a context is current; the driver writes one handle to where it is told.
        let code = unsafe { (driver.functions.stream_create)(&raw mut raw, flags) };
        driver.check("make a CUDA stream", code)?;
        Ok(Self { context: context.clone(), raw })
    }

    /// The context it belongs to.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The driver's handle, for other libraries that submit work to it.
    pub fn as_ptr(&self) -> *mut c_void {
        self.raw.cast()
    }

    pub(super) fn raw(&self) -> CUstream {
        self.raw
    }

    /// Submits work that borrows host and device memory, and waits until the device has done it.
    ///
    /// Copies can be submitted inside only, and what they borrow must have been there before:
    /// however `submit` ends, by a panic too, the device is done with it when this returns.
    ///
    /// ```no_run
    /// use trt_pipeline::backend::cuda::{Context, CudaError, DeviceBuffer, Ledger, Stream};
    ///
    /// # fn main() -> Result<(), CudaError> {
    /// let (context, ledger) = (Context::new(0)?, Ledger::new());
    /// let stream = Stream::new(&context)?;
    /// let device = DeviceBuffer::new(&context, &ledger, 4)?;
    /// let mut back = [0; 4];
    /// stream.scope(|work| {
    ///     work.upload(&[1, 2, 3, 4], &device)?;
    ///     work.download(&device, &mut back)
    /// })?;
    /// assert_eq!(back, [1, 2, 3, 4]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What lives inside is gone too early:
    ///
    /// ```compile_fail,E0597
    /// use trt_pipeline::backend::cuda::{Context, CudaError, DeviceBuffer, Ledger, Stream};
    ///
    /// # fn main() -> Result<(), CudaError> {
    /// let (context, ledger) = (Context::new(0)?, Ledger::new());
    /// let stream = Stream::new(&context)?;
    /// let device = DeviceBuffer::new(&context, &ledger, 4)?;
    /// stream.scope(|work| {
    ///     let bytes = vec![1, 2, 3, 4];
    ///     work.upload(&bytes, &device)
    /// })
    /// # }
    /// ```
    pub fn scope<'env, T, E: From<CudaError>>(
        &self,
        submit: impl FnOnce(&Submission<'_, 'env>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.context.make_current()?;
        let waiting = WaitOnUnwind(self);
        let struck = self.context.driver().strike(self).map_err(E::from);
        let outcome = struck.and_then(|()| submit(&Submission::to(self)));
        std::mem::forget(waiting);
        // Wait even where submitting failed half-way; that failure then is the one to tell.
        let waited = self.wait_for_all(self.context.keep_current());
        let value = outcome?;
        waited?;
        Ok(value)
    }

    /// Waits until the device has done all that was submitted.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.wait_for_all(self.context.make_current())
    }

    fn wait_for_all(&self, current: Result<(), CudaError>) -> Result<(), CudaError> {
        let driver = self.context.driver();
        // SAFETY: the stream is not destroyed. `scope` relies on the wait, so it is tried in any
        // case. An error is no early return: either the work on the stream failed, or its context
        // broke, after which the device works on nothing of it.
        let code = unsafe { (driver.functions.stream_synchronize)(self.raw) };
        current.and_then(|()| driver.check("finish the work on the GPU", code))
    }

    /// Submits a note of the time for the event.
    pub fn record(&self, event: &CudaEvent) -> Result<(), CudaError> {
        self.context.make_current()?;
        self.note(event)
    }

    /// As [`Self::record`], where the context is current.
    fn note(&self, event: &CudaEvent) -> Result<(), CudaError> {
        let driver = self.context.driver();
        // SAFETY: neither is destroyed; an event may be destroyed before it is reached.
        let code = unsafe { (driver.functions.event_record)(event.raw(), self.raw) };
        driver.check("record a CUDA event", code)
    }

    /// Lets all that is submitted from now on wait, on the device, until the event as it was last
    /// recorded is reached; one that never was is not waited for. The event may be another stream's
    /// or device's, and may be recorded anew or dropped at once. The host does not wait.
    pub fn wait(&self, event: &CudaEvent) -> Result<(), CudaError> {
        self.context.make_current()?;
        let driver = self.context.driver();
        // SAFETY: neither is destroyed; 0 is the usual kind of wait. The driver looks up now what
        // is to be waited for, so the event may be destroyed before.
        let code = unsafe { (driver.functions.stream_wait)(self.raw, event.raw(), 0) };
        driver.check("let a CUDA stream wait for an event", code)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let driver = self.context.driver();
        let destroy = || {
            self.context.make_current()?;
            // SAFETY: made by `new` and destroyed only here; the driver first lets work end.
            let code = unsafe { (driver.functions.stream_destroy)(self.raw) };
            driver.check("destroy a CUDA stream", code)
        };
        driver.released(destroy());
    }
}

/// Waits for the device where the submitting code panics.
struct WaitOnUnwind<'a>(&'a Stream);

impl Drop for WaitOnUnwind<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.synchronize() {
            tracing::error!("{error}");
        }
    }
}

/// The way to submit copies, inside [`Stream::scope`].
///
/// `'env` is what they borrow for. It is invariant, as in [`std::thread::scope`]: could it shrink,
/// it could be made to end before the scope does.
#[derive(Debug)]
pub struct Submission<'scope, 'env> {
    stream: &'scope Stream,
    borrowed: PhantomData<&'env mut &'env ()>,
}

impl<'scope, 'env> Submission<'scope, 'env> {
    /// To a stream whose work somebody waits for, or captures.
    pub(super) fn to(stream: &'scope Stream) -> Self {
        Self { stream, borrowed: PhantomData }
    }

    /// The stream that the work goes to.
    pub fn stream(&self) -> &Stream {
        self.stream
    }

    /// Submits a note of the time for the event.
    pub fn record(&self, event: &CudaEvent) -> Result<(), CudaError> {
        self.stream.context.keep_current()?;
        self.stream.note(event)
    }

    /// Copies host memory to the start of device memory. Pinned memory is faster.
    pub fn upload(&self, from: &'env [u8], to: &'env DeviceBuffer) -> Result<(), CudaError> {
        self.submit("copy to the GPU", from.len(), &[to], |functions, stream| {
            // SAFETY: both ranges are there, unchanged and not freed until the scope has waited:
            // they are borrowed for longer. `submit` has checked that the length is within both.
            unsafe {
                (functions.copy_to_device)(to.address(), from.as_ptr().cast(), from.len(), stream)
            }
        })
    }

    /// Fills host memory from the start of device memory. Pinned memory is faster.
    pub fn download(&self, from: &'env DeviceBuffer, to: &'env mut [u8]) -> Result<(), CudaError> {
        self.submit("copy from the GPU", to.len(), &[from], |functions, stream| {
            // SAFETY: as in `upload`; the host's bytes are borrowed mutably, so nobody else sees
            // them being written, and any byte is a value of theirs.
            unsafe {
                (functions.copy_to_host)(to.as_mut_ptr().cast(), from.address(), to.len(), stream)
            }
        })
    }

    /// Copies the first `len` bytes of one buffer to the start of another.
    pub fn copy(
        &self,
        from: &'env DeviceBuffer,
        to: &'env DeviceBuffer,
        len: usize,
    ) -> Result<(), CudaError> {
        self.submit("copy on the GPU", len, &[from, to], |functions, stream| {
            // SAFETY: as in `upload`, with two device ranges.
            unsafe { (functions.copy_on_device)(to.address(), from.address(), len, stream) }
        })
    }

    /// Sets every byte of a buffer.
    pub fn fill(&self, buffer: &'env DeviceBuffer, byte: u8) -> Result<(), CudaError> {
        self.submit("fill memory of the GPU", buffer.len(), &[buffer], |functions, stream| {
            // SAFETY: as in `upload`, with one device range, the whole buffer.
            unsafe { (functions.fill)(buffer.address(), byte, buffer.len(), stream) }
        })
    }

    /// Makes a call on the first `len` bytes of device buffers, which must have as many.
    fn submit(
        &self,
        operation: &'static str,
        len: usize,
        buffers: &[&DeviceBuffer],
        call: impl FnOnce(&Functions, CUstream) -> c_int,
    ) -> Result<(), CudaError> {
        check_bounds(operation, len, buffers)?;
        if len == 0 {
            return Ok(());
        }
        self.stream.context.keep_current()?;
        let driver = self.stream.context.driver();
        driver.check(operation, call(driver.functions, self.stream.raw))
    }
}
