//! Counts of magnitudes spread over bins that end at the largest magnitude seen.

use super::histogram::Histogram;

/// Bins of the published methods.
pub(super) const BINS: usize = 2048;

/// Counts in [`BINS`] equal bins from 0 to the largest magnitude, and their width. What lies in a
/// bin of the histogram is taken for evenly spread over it.
pub(super) fn resampled(histogram: &Histogram, largest: f32) -> Option<([f64; BINS], f64)> {
    let (counts, from_width) = histogram.magnitudes();
    let width = f64::from(largest) / as_f64(BINS);
    if !(width > 0.0 && width.is_finite()) {
        return None;
    }
    let mut bins = [0.0; BINS];
    for (index, &count) in counts.iter().enumerate() {
        if count == 0 {
            continue;
        }
        let (from, to) =
            (as_f64(index) * from_width / width, as_f64(index + 1) * from_width / width);
        spread(&mut bins, from, to, exact(count));
    }
    Some((bins, width))
}

/// Adds a count to the bins between two places; what lies past the end belongs to the last bin.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places are from 0 to some bins past the last"
)]
fn spread(bins: &mut [f64; BINS], from: f64, to: f64, count: f64) {
    let last = BINS - 1;
    let (first, end) = ((from as usize).min(last), (to.ceil() as usize).clamp(1, BINS));
    if end - 1 <= first {
        bins[first] += count;
        return;
    }
    let to = to.min(as_f64(BINS));
    for (bin, total) in bins.iter_mut().enumerate().take(end).skip(first) {
        let part = as_f64(bin + 1).min(to) - as_f64(bin).max(from);
        *total += count * part / (to - from);
    }
}

/// A number of bins, or a place among them.
#[expect(clippy::cast_precision_loss, reason = "bins are some thousands")]
pub(super) fn as_f64(bins: usize) -> f64 {
    bins as f64
}

/// A count; past 2^53 it rounds.
#[expect(clippy::cast_precision_loss, reason = "as documented")]
pub(super) fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_count_is_lost(values in prop::collection::vec(-8f32..8f32, 1..400)) {
            let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            let mut histogram = Histogram::new();
            histogram.add(&values, largest);
            if let Some((bins, width)) = resampled(&histogram, largest) {
                prop_assert!((bins.iter().sum::<f64>() - as_f64(values.len())).abs() < 1e-6);
                prop_assert!((width * 2048.0 - f64::from(largest)).abs() < 1e-6);
                prop_assert!(bins.iter().all(|count| *count >= 0.0));
            }
        }
    }
}
