//! [`Ratio`]: how many times slower one thing is than another that ran in turns with it.

use serde::Serialize;

/// The fewest ratios of which a range can be told.
pub const FEWEST_BLOCKS: usize = 7;

/// How likely the true ratio is at most on either outer side of the range.
const DOUBT: f64 = 0.01;

/// The ratio of two times, out of blocks of runs that took turns, and the range it lies in with
/// 98 % confidence.
///
/// What slows the machine down for a while slows both halves of a block, so it does not change the
/// block's ratio. The range is that of the sign test: it supposes nothing of how times are
/// distributed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The median of the blocks' ratios.
    pub median: f64,
    /// The lower end of the range.
    pub low: f64,
    /// The upper end of the range.
    pub high: f64,
}

impl Ratio {
    /// How likely the true ratio is within the range, at least.
    pub const CONFIDENCE: f64 = 1.0 - 2.0 * DOUBT;

    /// Out of the ratios of single blocks, in any order; `None` where there are fewer than
    /// [`FEWEST_BLOCKS`].
    pub fn of(blocks: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut ratios: Vec<f64> = blocks.into_iter().collect();
        ratios.sort_by(f64::total_cmp);
        let count = ratios.len();
        let skipped = outside(count)?;
        let median = f64::midpoint(ratios[(count - 1) / 2], ratios[count / 2]);
        Some(Self { median, low: ratios[skipped], high: ratios[count - 1 - skipped] })
    }

    /// The width of the range as a fraction of the median.
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 { (self.high - self.low) / self.median } else { 0.0 }
    }
}

/// How many of `count` values, taken from the smallest on, leave the median of what they were drawn
/// from above the next one with a doubt of at most [`DOUBT`]: the chance that a coin thrown `count`
/// times shows heads no more often than that. `None` where even the smallest value leaves more.
#[expect(clippy::cast_precision_loss, reason = "a count of blocks, far below 2^53")]
fn outside(count: usize) -> Option<usize> {
    let mut logarithm = -(count as f64) * std::f64::consts::LN_2;
    let mut doubt = 0.0;
    for heads in 0..count {
        doubt += logarithm.exp();
        if doubt > DOUBT {
            return heads.checked_sub(1);
        }
        logarithm += ((count - heads) as f64 / (heads + 1) as f64).ln();
    }
    None
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

    #[test]
    fn the_range_leaves_out_as_many_blocks_as_a_sign_test_at_one_percent() {
        // Sums of binomial coefficients over 2^n: 1/128, 1/64; 9/256 > 0.01; 11/1024 > 0.01;
        // 12/2048; 6196/2^20 (four heads or fewer of 20), 21700/2^20.
        let expected = [(1, None), (6, None), (7, Some(0)), (8, Some(0)), (10, Some(0))];
        for (count, skipped) in expected.into_iter().chain([(11, Some(1)), (20, Some(4))]) {
            assert_eq!(outside(count), skipped, "{count} blocks");
        }
        assert_eq!(outside(0), None);
        assert_eq!(outside(FEWEST_BLOCKS - 1), None);
        let many = outside(10_000).unwrap();
        assert!((4_860..4_890).contains(&many), "about 5000 - 2.33 * 50, found {many}");
    }

    #[test]
    fn outliers_of_single_blocks_move_neither_median_nor_range() {
        let mut blocks = vec![1.25; 16];
        blocks.extend([100.0, 0.01, 50.0, 0.5]);
        let ratio = Ratio::of(blocks).unwrap();
        assert_eq!(ratio, Ratio { median: 1.25, low: 1.25, high: 1.25 });
        assert_eq!(ratio.spread(), 0.0);
    }

    #[test]
    fn the_range_is_as_wide_as_the_blocks_differ() {
        let ratio = Ratio::of((0..20).map(|block| 1.0 + f64::from(block) / 16.0)).unwrap();
        assert_eq!((ratio.low, ratio.high), (1.25, 1.9375));
        assert_eq!(ratio.median, 1.59375);
        assert_eq!(Ratio::of([1.0; 6]), None);
    }
}
