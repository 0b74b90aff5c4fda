//! The range that leaves out the largest magnitudes.

use super::bins::{as_f64, exact};
use super::histogram::Histogram;

/// The magnitude that so many percent of the values do not exceed, between the ends of a bin by
/// its share; `None` where nothing was counted.
pub(super) fn magnitude(histogram: &Histogram, largest: f32, percent: f64) -> Option<f32> {
    let (counts, width) = histogram.magnitudes();
    let total = exact(counts.iter().sum());
    let wanted = total * (percent / 100.0).clamp(0.0, 1.0);
    let mut below = 0.0;
    for (index, &count) in counts.iter().enumerate() {
        let count = exact(count);
        if count > 0.0 && below + count >= wanted {
            let share = ((wanted - below) / count).clamp(0.0, 1.0);
            #[expect(clippy::cast_possible_truncation, reason = "rounding to the tensor's type")]
            let magnitude = ((as_f64(index) + share) * width) as f32;
            return Some(magnitude.min(largest));
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_asked_for_lies_within() {
        let values: Vec<f32> = (0..10_000_u16).map(|index| f32::from(index) / 10_000.0).collect();
        let mut histogram = Histogram::new();
        histogram.add(&values, 0.9999);
        for percent in [10.0, 50.0, 99.0, 99.9] {
            let found = f64::from(magnitude(&histogram, 0.9999, percent).unwrap());
            assert!((found - percent / 100.0).abs() < 2e-4, "{percent}: {found}");
        }
        assert_eq!(magnitude(&histogram, 0.9999, 100.0), Some(0.9999));
    }
}
