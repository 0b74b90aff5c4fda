//! [`ClockReport`]: how fast the clocks of a GPU ran while it was measured, and what held them back.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde::Serialize;

use crate::backend::cuda::{GpuClocks, GpuMonitor, GpuState, ThrottleReason};

/// How often clocks are asked for: seldom enough to disturb nothing.
const PERIOD: Duration = Duration::from_millis(200);

/// Below this fraction of the fastest that was seen, a clock has dropped: it goes up and down by
/// single steps of 15 MHz all the time.
const DROPPED: f64 = 0.98;

/// What the clocks of a GPU did.
#[derive(Debug, Clone, Serialize)]
pub struct ClockReport {
    /// Before its runs, and before what warmed it up.
    pub before: GpuState,
    /// While its runs counted.
    pub during: ClocksSeen,
    /// Right after its runs.
    pub after: GpuState,
}

/// The clocks of the streaming multiprocessors at several moments.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ClocksSeen {
    /// How many moments.
    pub samples: u32,
    /// The slowest.
    pub min_sm_mhz: Option<u32>,
    /// The arithmetic mean.
    pub mean_sm_mhz: Option<f64>,
    /// The fastest.
    pub max_sm_mhz: Option<u32>,
    /// Everything that held them back at some moment.
    pub throttle_reasons: BTreeSet<ThrottleReason>,
}

impl ClocksSeen {
    fn add(&mut self, clocks: &GpuClocks) {
        let clock = clocks.sm_mhz;
        self.merge(Self {
            samples: clock.map_or(0, |_| 1),
            min_sm_mhz: clock,
            mean_sm_mhz: clock.map(f64::from),
            max_sm_mhz: clock,
            throttle_reasons: clocks.throttle_reasons.iter().flatten().copied().collect(),
        });
    }

    /// Adds what was seen at other moments.
    pub(super) fn merge(&mut self, other: Self) {
        let (ours, theirs) = (f64::from(self.samples), f64::from(other.samples));
        self.mean_sm_mhz = match (self.mean_sm_mhz, other.mean_sm_mhz) {
            (Some(one), Some(two)) => Some((one * ours + two * theirs) / (ours + theirs)),
            (one, two) => one.or(two),
        };
        self.samples += other.samples;
        self.min_sm_mhz = self.min_sm_mhz.into_iter().chain(other.min_sm_mhz).min();
        self.max_sm_mhz = self.max_sm_mhz.into_iter().chain(other.max_sm_mhz).max();
        self.throttle_reasons.extend(other.throttle_reasons);
    }

    /// Whether nothing was seen.
    pub(super) fn is_empty(&self) -> bool {
        self.samples == 0 && self.throttle_reasons.is_empty()
    }

    /// Fastest and slowest clock, where they are far apart.
    pub fn drop(&self) -> Option<(u32, u32)> {
        let (max, min) = (self.max_sm_mhz?, self.min_sm_mhz?);
        (f64::from(min) < f64::from(max) * DROPPED).then_some((max, min))
    }

    /// What made work slower.
    pub fn slowed_by(&self) -> impl Iterator<Item = ThrottleReason> {
        self.throttle_reasons.iter().copied().filter(|reason| reason.slows_work())
    }
}

/// Watches a GPU.
pub(super) struct ClockWatch {
    monitor: &'static GpuMonitor,
    before: GpuState,
    during: ClocksSeen,
}

impl ClockWatch {
    pub(super) fn start(monitor: &'static GpuMonitor) -> Self {
        Self { monitor, before: monitor.state(), during: ClocksSeen::default() }
    }

    pub(super) fn report(&self) -> ClockReport {
        let (before, during) = (self.before.clone(), self.during.clone());
        ClockReport { before, during, after: self.monitor.state() }
    }
}

/// Looks at the clocks now, and again and again until the other end is dropped.
pub(super) fn sample(watches: &mut [ClockWatch], ended: &Receiver<()>) {
    loop {
        for watch in &mut *watches {
            watch.during.add(&watch.monitor.clocks());
        }
        if ended.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(moments: &[(Option<u32>, &[ThrottleReason])]) -> ClocksSeen {
        let mut seen = ClocksSeen::default();
        for (sm_mhz, reasons) in moments {
            let throttle_reasons = Some(reasons.to_vec());
            seen.add(&GpuClocks { sm_mhz: *sm_mhz, memory_mhz: None, throttle_reasons });
        }
        seen
    }

    #[test]
    fn clocks_have_a_mean_and_moments_without_one_do_not_count() {
        let some = seen(&[(Some(1980), &[]), (None, &[]), (Some(1500), &[]), (Some(1980), &[])]);
        assert_eq!((some.samples, some.min_sm_mhz, some.max_sm_mhz), (3, Some(1500), Some(1980)));
        assert!((some.mean_sm_mhz.unwrap() - 1820.0).abs() < 1e-6);
        assert_eq!(some.drop(), Some((1980, 1500)));
    }

    #[test]
    fn single_steps_of_a_clock_are_no_drop() {
        assert_eq!(seen(&[(Some(1980), &[]), (Some(1965), &[])]).drop(), None);
        assert_eq!(seen(&[]).drop(), None);
    }

    #[test]
    fn every_reason_is_kept_and_being_idle_slows_no_work() {
        use ThrottleReason::{Idle, PowerCap, ThermalSlowdown};
        let some = seen(&[(None, &[Idle]), (None, &[ThermalSlowdown, PowerCap]), (None, &[])]);
        assert_eq!(some.throttle_reasons, BTreeSet::from([Idle, PowerCap, ThermalSlowdown]));
        assert_eq!(some.slowed_by().collect::<Vec<_>>(), [PowerCap, ThermalSlowdown]);
    }
}
