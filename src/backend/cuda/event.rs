//! [`CudaEvent`]: a moment in a stream's work, to measure between and to wait for.

#![expect(unsafe_code, reason = "the driver is a C library")]

use std::time::Duration;

use cudarc::driver::sys::{CUevent, CUevent_flags};

use super::context::Context;
use super::error::{CudaError, NOT_READY};

/// A moment in a stream's work: [`super::Stream::record`] puts it there, and again elsewhere.
///
/// ```no_run
/// use trt_pipeline::backend::cuda::{Context, CudaError, CudaEvent, Stream};
///
/// # fn main() -> Result<(), CudaError> {
/// let context = Context::new(0)?;
/// let stream = Stream::new(&context)?;
/// let (start, end) = (CudaEvent::new(&context)?, CudaEvent::new(&context)?);
/// stream.record(&start)?;
/// // .. work ..
/// stream.record(&end)?;
/// end.synchronize()?;
/// let time = start.elapsed(&end)?;
/// # let _ = time;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CudaEvent {
    context: Context,
    raw: CUevent,
}

// SAFETY: `raw` is the driver's name for an event that only this value destroys; the driver lets
// any thread use it.
unsafe impl Send for CudaEvent {}

impl CudaEvent {
    /// Makes an event that measures time.
    pub fn new(context: &Context) -> Result<Self, CudaError> {
        context.make_current()?;
        let driver = context.driver();
        let mut raw = std::ptr::null_mut();
        let flags = CUevent_flags::CU_EVENT_DEFAULT as u32;
        // SAFETY: a context is current; the driver writes one handle to where it is told.
        let code = unsafe { (driver.functions.event_create)(&raw mut raw, flags) };
        driver.check("make a CUDA event", code)?;
        Ok(Self { context: context.clone(), raw })
    }

    pub(super) fn raw(&self) -> CUevent {
        self.raw
    }

    /// The time from this event to `end`, both recorded and reached; zero where `end` is the
    /// earlier one. The driver's resolution is about half a microsecond.
    pub fn elapsed(&self, end: &Self) -> Result<Duration, CudaError> {
        self.context.make_current()?;
        let driver = self.context.driver();
        let mut milliseconds = 0.0;
        // SAFETY: neither is destroyed; the driver writes one number to where it is told.
        let code =
            unsafe { (driver.functions.event_elapsed)(&raw mut milliseconds, self.raw, end.raw) };
        driver.check("read the time between CUDA events", code)?;
        let seconds = f64::from(milliseconds) / 1000.0;
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }

    /// Whether the device has reached it, as it was last recorded; one that never was counts as
    /// reached. Does not wait. Work that failed is told here as an error.
    pub fn is_reached(&self) -> Result<bool, CudaError> {
        self.context.make_current()?;
        let driver = self.context.driver();
        // SAFETY: the event is not destroyed.
        let code = unsafe { (driver.functions.event_query)(self.raw) };
        if code == NOT_READY {
            return Ok(false);
        }
        driver.check("ask for a CUDA event", code).map(|()| true)
    }

    /// Waits until the device has reached it, as it was last recorded; not at all for one that
    /// never was.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.context.make_current()?;
        let driver = self.context.driver();
        // SAFETY: the event is not destroyed.
        let code = unsafe { (driver.functions.event_synchronize)(self.raw) };
        driver.check("wait for a CUDA event", code)
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        let driver = self.context.driver();
        let destroy = || {
            self.context.make_current()?;
            // SAFETY: made by `new` and destroyed only here; one not yet reached goes later.
            let code = unsafe { (driver.functions.event_destroy)(self.raw) };
            driver.check("destroy a CUDA event", code)
        };
        driver.released(destroy());
    }
}
