//! [`Pace`]: when requests are made. Pure but for [`Clock`], which waits.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// When requests are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many at a time: each is made when one before it was answered.
    Closed {
        /// How many.
        concurrency: NonZeroUsize,
    },
    /// So many a second, whether those before them were answered or not.
    Open {
        /// Requests a second, more than 0.
        rate: f64,
        /// How far apart they are.
        gaps: Gaps,
        /// Most requests without an answer; the next waits for one, and its time runs.
        outstanding: NonZeroUsize,
        /// What the gaps are drawn from.
        seed: u64,
    },
}

impl Pace {
    /// Most requests at a time.
    pub fn concurrency(&self) -> NonZeroUsize {
        match self {
            Self::Closed { concurrency } => *concurrency,
            Self::Open { outstanding, .. } => *outstanding,
        }
    }
}

/// How far apart the requests of an open loop are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gaps {
    /// As those of many callers who know nothing of each other: a Poisson process.
    Poisson,
    /// All the same.
    Constant,
}

impl Gaps {
    /// In reports.
    pub(in crate::bench) fn name(self) -> &'static str {
        match self {
            Self::Poisson => "poisson",
            Self::Constant => "constant",
        }
    }
}

/// The moments at which the requests of an open loop are due, from its start.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Arrivals {
    mean: f64,
    gaps: Gaps,
    random: fastrand::Rng,
    /// Seconds.
    last: f64,
    count: u64,
}

impl Arrivals {
    pub(in crate::bench) fn new(rate: f64, gaps: Gaps, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { mean: rate.recip(), gaps, random, last: 0.0, count: 0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    #[expect(clippy::cast_precision_loss, reason = "a count of requests, far below 2^53")]
    fn next(&mut self) -> Option<Duration> {
        self.count += 1;
        self.last = match self.gaps {
            // 1 - u is never 0, whose logarithm there is none of.
            Gaps::Poisson => self.last - self.mean * (1.0 - self.random.f64()).ln(),
            // Not a sum: its rounding errors would add up.
            Gaps::Constant => self.mean * self.count as f64,
        };
        Duration::try_from_secs_f64(self.last).ok()
    }
}

/// Waits until a moment, to a few microseconds; tokio's own timers know milliseconds only.
pub(super) struct Clock(AsyncFd<OwnedFd>);

impl Clock {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an owned descriptor is safe in both"
        )]
        Ok(Self(AsyncFd::new(timer)?))
    }

    pub(super) async fn until(&mut self, moment: Instant) -> io::Result<()> {
        loop {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let once = Itimerspec { it_interval: zero, it_value: left };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            match rustix::io::read(self.0.get_ref(), &mut expirations) {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(arrivals: Arrivals, count: usize) -> Vec<f64> {
        let mut last = 0.0;
        let gap = |at: Duration| {
            let gap = at.as_secs_f64() - last;
            last = at.as_secs_f64();
            gap
        };
        arrivals.take(count).map(gap).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_one_others() {
        let moments = |seed| Arrivals::new(1e3, Gaps::Poisson, seed).take(100).collect::<Vec<_>>();
        assert_eq!(moments(1), moments(1));
        assert_ne!(moments(1), moments(2));
        assert!(moments(1).is_sorted());
    }

    #[test]
    fn poisson_gaps_are_exponential_with_the_mean_of_the_rate() {
        let count = 100_000;
        let gaps = gaps(Arrivals::new(200.0, Gaps::Poisson, 7), count);
        let mean = gaps.iter().sum::<f64>() / 1e5;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean * 200.0 - 1.0).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{variance}");
        // Of exponential gaps, 1 - 1/e are below the mean.
        let below = gaps.iter().filter(|gap| **gap < mean).count();
        assert!((62_000..64_500).contains(&below), "{below}");
    }

    #[test]
    fn constant_gaps_add_up_to_no_error() {
        let last = Arrivals::new(3.0, Gaps::Constant, 0).nth(2_999_999).unwrap();
        assert!((last.as_secs_f64() - 1e6).abs() < 1e-6, "{last:?}");
    }

    #[test]
    fn a_rate_so_small_that_no_time_is_long_enough_has_no_arrivals() {
        assert_eq!(Arrivals::new(1e-300, Gaps::Constant, 0).next(), None);
    }

    #[test]
    fn the_clock_is_never_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut clock = Clock::new().unwrap();
            for micros in [0, 50, 300, 1500] {
                let moment = Instant::now() + Duration::from_micros(micros);
                clock.until(moment).await.unwrap();
                assert!(Instant::now() >= moment);
            }
        });
    }
}
