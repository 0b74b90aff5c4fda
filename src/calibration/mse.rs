//! The range with the least mean square error.

use super::bins::{BINS, as_f64, resampled};
use super::grid::{Grid, Quantizer};
use super::histogram::Histogram;

/// Ranges that are tried: every eighth bin from the 128th on.
const FIRST: usize = 128;
const STEP: usize = 8;

/// The magnitude whose grid is nearest to the values, each taken for the centre of its bin; `None`
/// where only zeros were seen.
#[expect(clippy::cast_possible_truncation, reason = "rounding to the tensor's own type")]
pub(super) fn magnitude(histogram: &Histogram, largest: f32, grid: Grid) -> Option<f32> {
    let (bins, width) = resampled(histogram, largest)?;
    let filled: Vec<(f32, f64)> = bins
        .iter()
        .enumerate()
        // Zero is exact in any range.
        .filter(|(bin, count)| *bin > 0 && **count > 0.0)
        .map(|(bin, count)| (((as_f64(bin) + 0.5) * width) as f32, *count))
        .collect();
    let mut best = (f64::INFINITY, largest);
    for end in (FIRST..=BINS).step_by(STEP) {
        let magnitude = (as_f64(end) * width) as f32;
        let quantizer = Quantizer::symmetric(grid, magnitude);
        let error = |(value, count): &(f32, f64)| {
            let error = f64::from(quantizer.nearest(*value) - value);
            error * error * count
        };
        let error: f64 = filled.iter().map(error).sum();
        // A tie goes to the wider range, which clips less.
        if error <= best.0 {
            best = (error, magnitude);
        }
    }
    Some(best.1.min(largest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_far_values_are_clipped_where_that_pays() {
        let mut values: Vec<f32> =
            (0..60_000_u16).map(|index| f32::from(index) / 60_000.0).collect();
        let mut histogram = Histogram::new();
        histogram.add(&values, 1.0);
        let chosen = magnitude(&histogram, 1.0, Grid::Int8).unwrap();
        assert!(chosen > 0.97, "an even spread is not clipped: {chosen}");
        values.extend([4.0, 4.0]);
        let mut histogram = Histogram::new();
        histogram.add(&values, 4.0);
        let chosen = magnitude(&histogram, 4.0, Grid::Int8).unwrap();
        assert!((0.9..4.0).contains(&chosen), "{chosen}");
    }
}
