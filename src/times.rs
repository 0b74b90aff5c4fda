//! What measured run times say: [`Times`] has percentiles, mean and spread, [`Ratio`] compares two
//! things that ran in turns.
//!
//! Knows nothing of what ran.

use std::time::Duration;

mod ratio;

pub use ratio::{FEWEST_BLOCKS, Ratio};

/// Above this [`Times::spread`] the times are called noisy.
pub const NOISY: f64 = 0.25;

/// Measured times of single runs, in milliseconds, ascending.
#[derive(Debug, Clone)]
pub struct Times(Vec<f64>);

impl Times {
    /// The times of single runs, in any order.
    pub fn new(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut times: Vec<f64> =
            durations.into_iter().map(|duration| duration.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// The nearest-rank percentile: the smallest time that `percent` of all runs do not exceed.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of runs, far below 2^53, times a fraction from 0 to 1"
    )]
    pub fn percentile(&self, percent: f64) -> f64 {
        // The tiny step keeps 95 % of 100 from becoming rank 96 by rounding.
        let rank = (percent / 100.0 * self.0.len() as f64 - 1e-9).ceil().max(1.0) as usize;
        self.0.get(rank - 1).or(self.0.last()).copied().unwrap_or(0.0)
    }

    /// The shortest time, 0 where nothing was measured.
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(0.0)
    }

    /// The longest time, 0 where nothing was measured.
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// The arithmetic mean, 0 where nothing was measured.
    #[expect(clippy::cast_precision_loss, reason = "a count of runs, far below 2^53")]
    pub fn mean(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.iter().sum::<f64>() / self.0.len() as f64 }
    }

    /// Samples per second with runs of `batch` samples, one after the other.
    #[expect(clippy::cast_precision_loss, reason = "a batch size, far below 2^53")]
    pub fn throughput(&self, batch: usize) -> f64 {
        let mean = self.mean();
        if mean > 0.0 { batch as f64 * 1e3 / mean } else { f64::INFINITY }
    }

    /// How far the middle half of the runs spreads: the interquartile range.
    pub fn middle_half(&self) -> f64 {
        self.percentile(75.0) - self.percentile(25.0)
    }

    /// [`Times::middle_half`] as a fraction of the median.
    pub fn spread(&self) -> f64 {
        let median = self.percentile(50.0);
        if median > 0.0 { self.middle_half() / median } else { 0.0 }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

    fn times(millis: impl IntoIterator<Item = u64>) -> Times {
        Times::new(millis.into_iter().map(Duration::from_millis))
    }

    #[test]
    fn percentiles_are_those_of_nearest_rank() {
        let times = times((1..=100).rev());
        for percent in [1.0, 25.0, 50.0, 75.0, 95.0, 99.0, 100.0] {
            assert_eq!(times.percentile(percent), percent);
        }
        assert_eq!((times.min(), times.max(), times.mean()), (1.0, 100.0, 50.5));
        assert!((times.throughput(2) - 2000.0 / 50.5).abs() < 1e-9);
        let few = self::times([5, 1, 3]);
        assert_eq!((few.percentile(50.0), few.percentile(95.0)), (3.0, 5.0));
    }

    #[test]
    fn steady_times_are_not_noisy_and_scattered_ones_are() {
        let mut steady = vec![10; 99];
        steady.push(500);
        assert!(times(steady).spread() <= NOISY, "one slow run is not noise");
        assert!(times((0..100).map(|run| 10 + run % 2 * 10)).spread() > NOISY);
        assert_eq!(times([]).spread(), 0.0);
    }
}
