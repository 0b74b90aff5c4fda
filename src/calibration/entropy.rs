//! The range by the entropy method: S. Migacz, 8-bit Inference with TensorRT, GTC 2017.
//!
//! For every range from 128 to 2048 bins, the distribution P of the magnitudes (what lies beyond the
//! range counted in its last bin) is compared with Q, which is what 128 equal levels leave of it:
//! each level's count spread evenly over those of its bins that are not empty. The range with the
//! least Kullback-Leibler divergence of P from Q is chosen.
//!
//! Unlike the published method, this one looks only at ranges that have most of the values: where
//! nearly all are beyond the range, P is a single bin, from which no Q differs. Values that stay
//! away from zero would all be clipped.

use super::bins::{BINS, as_f64, resampled};
use super::histogram::Histogram;

/// Levels of a signed 8-bit integer above zero, and zero.
const LEVELS: usize = 128;

/// The most that a range may clip, as a share of the values that are not zero.
const MOST_CLIPPED: f64 = 0.1;

/// The magnitude to represent; `None` where only zeros were seen.
pub(super) fn magnitude(histogram: &Histogram, largest: f32) -> Option<f32> {
    let (mut bins, width) = resampled(histogram, largest)?;
    // Zero itself is exact in any range, and so common after a rectifier that it would hide the rest.
    bins[0] = bins[1];
    let sums = Sums::of(&bins);
    let mut best = (f64::INFINITY, BINS);
    let least_within = (1.0 - MOST_CLIPPED) * sums.counts[BINS];
    for end in (LEVELS..=BINS).filter(|end| sums.counts[*end] >= least_within) {
        // A tie goes to the wider range, which clips less.
        let divergence = divergence(&bins, &sums, end);
        if divergence <= best.0 {
            best = (divergence, end);
        }
    }
    let centre = (as_f64(best.1) + 0.5) * width;
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the tensor's own type")]
    let magnitude = centre as f32;
    Some(magnitude.min(largest))
}

/// Sums over the bins before each place.
struct Sums {
    counts: Vec<f64>,
    /// Of `count * ln(count)`.
    entropies: Vec<f64>,
    filled: Vec<usize>,
}

impl Sums {
    fn of(bins: &[f64]) -> Self {
        let mut sums = Self { counts: vec![0.0], entropies: vec![0.0], filled: vec![0] };
        let (mut count, mut entropy, mut filled) = (0.0, 0.0, 0);
        for &bin in bins {
            count += bin;
            entropy += term(bin);
            filled += usize::from(bin > 0.0);
            sums.counts.push(count);
            sums.entropies.push(entropy);
            sums.filled.push(filled);
        }
        sums
    }

    fn count(&self, from: usize, to: usize) -> f64 {
        self.counts[to] - self.counts[from]
    }
}

fn term(count: f64) -> f64 {
    if count > 0.0 { count * count.ln() } else { 0.0 }
}

/// The divergence of P from Q for the first `end` bins, infinite where Q lacks what P has.
fn divergence(bins: &[f64], sums: &Sums, end: usize) -> f64 {
    let total = sums.counts[BINS];
    let within = sums.counts[end];
    let (last, outside) = (bins[end - 1], total - within);
    if within <= 0.0 || last <= 0.0 && outside > 0.0 {
        return f64::INFINITY;
    }
    // sum of p ln p over P, whose last bin has what lies outside too.
    let of_p = sums.entropies[end] - term(last) + term(last + outside);
    // sum of p ln q: within a level all of its filled bins have the same q.
    let mut of_q = 0.0;
    for level in 0..LEVELS {
        let (from, to) = ((level * end).div_ceil(LEVELS), ((level + 1) * end).div_ceil(LEVELS));
        let count = sums.count(from, to);
        let filled = sums.filled[to] - sums.filled[from];
        if filled == 0 || count <= 0.0 {
            continue;
        }
        let p = if to == end { count + outside } else { count };
        of_q += p * (count / as_f64(filled)).ln();
    }
    // Both are normalised: P by all counts, Q by those within.
    (of_p - of_q) / total - total.ln() + within.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The divergence by its definition, bin by bin.
    fn by_definition(bins: &[f64], end: usize) -> f64 {
        let mut p = bins[..end].to_vec();
        p[end - 1] += bins[end..].iter().sum::<f64>();
        let mut q = vec![0.0; end];
        for level in 0..LEVELS {
            let (from, to) = ((level * end).div_ceil(LEVELS), ((level + 1) * end).div_ceil(LEVELS));
            let filled = bins[from..to].iter().filter(|bin| **bin > 0.0).count();
            let count: f64 = bins[from..to].iter().sum();
            for bin in from..to {
                if bins[bin] > 0.0 {
                    q[bin] = count / as_f64(filled);
                }
            }
        }
        let (of_p, of_q): (f64, f64) = (p.iter().sum(), q.iter().sum());
        let parts = p.iter().zip(&q).filter(|(p, _)| **p > 0.0);
        parts.map(|(p, q)| p / of_p * (p / of_p / (q / of_q)).ln()).sum()
    }

    /// Magnitudes of a bell curve of this deviation, every millionth quantile of it.
    fn bell(deviation: f64, tail: &[f32]) -> (Histogram, f32) {
        let mut values: Vec<f32> = Vec::new();
        let mut state = 1_u64;
        for _ in 0..200_000 {
            let mut uniform = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                f64::from(u32::try_from(state >> 33).unwrap()) / f64::from(1_u32 << 31)
            };
            let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt();
            let value = radius * (std::f64::consts::TAU * uniform()).cos() * deviation;
            #[expect(clippy::cast_possible_truncation, reason = "values of a test")]
            values.push(value as f32);
        }
        values.extend(tail);
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let mut histogram = Histogram::new();
        histogram.add(&values, largest);
        (histogram, largest)
    }

    #[test]
    fn the_fast_sums_give_the_divergence_of_the_definition() {
        let (histogram, largest) = bell(1.0, &[9.0]);
        let (bins, _) = resampled(&histogram, largest).unwrap();
        let sums = Sums::of(&bins);
        for end in [128, 129, 500, 1000, 1500, 2047, 2048] {
            let (fast, slow) = (divergence(&bins, &sums, end), by_definition(&bins, end));
            if slow.is_finite() {
                assert!((fast - slow).abs() < 1e-9, "{end}: {fast} and {slow}");
            } else {
                assert!(fast.is_infinite(), "{end}");
            }
        }
    }

    #[test]
    fn far_outliers_are_clipped_and_a_plain_bell_curve_hardly() {
        let (plain, largest) = bell(1.0, &[]);
        let chosen = magnitude(&plain, largest).unwrap();
        assert!(chosen > 0.6 * largest && chosen <= largest, "{chosen} of {largest}");
        let (with_outlier, largest) = bell(1.0, &[60.0, -50.0]);
        let chosen = magnitude(&with_outlier, largest).unwrap();
        assert!(chosen < 20.0 && chosen > 2.0, "{chosen} of {largest}");
    }

    #[test]
    fn values_that_stay_away_from_zero_are_not_clipped() {
        let even = |from: f32, to: f32| {
            (0..20_000_u16).map(move |at| from + (to - from) * f32::from(at) / 2e4)
        };
        let spiked = even(1.0, 9.0).chain(std::iter::repeat_n(1.0, 100_000));
        let integers = (0..18_000_u16).map(|at| f32::from(at % 18) - 9.0);
        let cases: [Vec<f32>; 4] = [
            even(250.0, 320.0).collect(),
            even(0.0, 1.0).map(|x| 1.0 - (1.0 - x * 0.999).ln()).collect(),
            spiked.collect(),
            integers.collect(),
        ];
        for values in cases {
            let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            let mut histogram = Histogram::new();
            histogram.add(&values, largest);
            let chosen = magnitude(&histogram, largest).unwrap();
            let clipped = values.iter().filter(|value| value.abs() > chosen).count();
            assert!(clipped * 10 <= values.len(), "{clipped} of {} beyond {chosen}", values.len());
        }
    }

    #[test]
    fn nothing_but_zeros_has_no_magnitude() {
        let mut histogram = Histogram::new();
        histogram.add(&[0.0; 8], 0.0);
        assert_eq!(magnitude(&histogram, 0.0), None);
    }
}
