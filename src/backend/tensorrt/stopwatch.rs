//! [`Stopwatch`]: how long the parts of a run take on the GPU.

use crate::backend::RunTimes;
use crate::backend::cuda::{Context, CudaError, CudaEvent, Submission};

/// One run in so many is measured: the events of a measured run cost some microseconds, which is
/// much for a small model.
const EVERY: u32 = 16;

/// Measures some runs; the others are given the times of the last one that was measured.
pub(super) struct Stopwatch {
    /// Before uploading, before executing, before downloading, at the end.
    moments: [CudaEvent; 4],
    /// Runs until the next that is measured.
    wait: u32,
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
        Ok(Self { moments, wait: 0, is_running: false, last: RunTimes::default() })
    }

    /// Measures the next run: those before it were of other shapes.
    pub(super) fn measure_next(&mut self) {
        self.wait = 0;
    }

    pub(super) fn start(&mut self) -> Watch<'_> {
        self.is_running = self.wait == 0;
        self.wait = if self.is_running { EVERY - 1 } else { self.wait - 1 };
        Watch(self.is_running.then_some(&self.moments))
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
        self.0.map_or(Ok(()), |moments| work.stream().record(&moments[moment]))
    }
}
