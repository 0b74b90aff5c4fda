//! [`Stopwatch`]: how long the parts of a run take on the GPU.

use std::time::{Duration, Instant};

use crate::backend::RunTimes;
use crate::backend::cuda::{Context, CudaError, CudaEvent, Submission};

/// At most one run in so many is measured, and no more than one in this time: what a measured run
/// costs on top, about 13 µs on an H200, is much for a small model.
const EVERY: u32 = 16;
const PERIOD: Duration = Duration::from_millis(10);

/// Measures some runs; the others are given the times of the last one that was measured.
pub(super) struct Stopwatch {
    /// Before uploading, before executing, before downloading, at the end.
    moments: [CudaEvent; 4],
    /// Runs until the next that may be measured.
    wait: u32,
    /// When the last one was measured; `None` where the next is to be.
    measured: Option<Instant>,
    is_running: bool,
    last: RunTimes,
}

/// The moments of one run.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a>(Option<&'a [CudaEvent; 4]>);

impl Stopwatch {
    pub(super) fn new(gpu: &Context) -> Result<Self, CudaError> {
        let event = || CudaEvent::new(gpu);
        let moments = [event()?, event()?, event()?, event()?];
        let (wait, measured, is_running) = (0, None, false);
        Ok(Self { moments, wait, measured, is_running, last: RunTimes::default() })
    }

    /// Measures the next run: those before it were of other shapes.
    pub(super) fn measure_next(&mut self) {
        (self.wait, self.measured) = (0, None);
    }

    pub(super) fn start(&mut self) -> Watch<'_> {
        self.is_running = self.wait == 0 && self.is_time();
        self.wait = if self.is_running { EVERY - 1 } else { self.wait.saturating_sub(1) };
        Watch(self.is_running.then_some(&self.moments))
    }

    fn is_time(&mut self) -> bool {
        let now = Instant::now();
        let is_time = self.measured.is_none_or(|last| now - last >= PERIOD);
        if is_time {
            self.measured = Some(now);
        }
        is_time
    }

    /// The times, once the GPU is done.
    pub(super) fn read(&mut self) -> Result<RunTimes, CudaError> {
        if self.is_running {
            let [start, uploaded, computed, end] = &self.moments;
            self.last = RunTimes {
                upload: start.elapsed(uploaded)?,
                compute: uploaded.elapsed(computed)?,
                download: computed.elapsed(end)?,
            };
        }
        Ok(self.last)
    }
}

impl Watch<'_> {
    pub(super) fn mark(self, work: &Submission<'_, '_>, moment: usize) -> Result<(), CudaError> {
        self.0.map_or(Ok(()), |moments| work.record(&moments[moment]))
    }
}
