//! [`Histogram`]: how often each magnitude was seen, in bounded memory.

/// Bins of each sign. At least half of them are within the largest magnitude.
const BINS: usize = 8192;
const BINS_LOG2: i32 = BINS.trailing_zeros().cast_signed();

/// The least exponent: below it, bins would be narrower than float32 resolves.
const LEAST_EXPONENT: i32 = -100;

/// Counts of finite values by magnitude and sign, up to a power of two.
///
/// A larger value doubles the width of all bins: pairs of bins are added up, which is exact. So the
/// counts at the end follow from the values alone, whatever their order and whoever counted them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Histogram {
    /// Magnitudes below two to the power of this have a bin.
    exponent: i32,
    positive: Vec<u64>,
    /// Empty while no negative value was seen.
    negative: Vec<u64>,
}

impl Histogram {
    /// Nothing seen yet.
    pub(super) fn new() -> Self {
        Self { exponent: LEAST_EXPONENT, positive: vec![0; BINS], negative: Vec::new() }
    }

    /// Counts values whose magnitudes are at most `largest`; what is not finite is left out.
    pub(super) fn add(&mut self, values: &[f32], largest: f32) {
        self.widen(exponent_above(largest));
        let per_unit = scale(BINS_LOG2 - self.exponent);
        for &value in values {
            if !value.is_finite() {
                continue;
            }
            let bin = bin(value, per_unit);
            if value.is_sign_negative() && bin > 0 {
                if self.negative.is_empty() {
                    self.negative = vec![0; BINS];
                }
                self.negative[bin] += 1;
            } else {
                self.positive[bin] += 1;
            }
        }
    }

    /// Counts what another one counted.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.widen(other.exponent);
        other.widen(self.exponent);
        add_up(&mut self.positive, &other.positive);
        if self.negative.is_empty() {
            self.negative = other.negative;
        } else {
            add_up(&mut self.negative, &other.negative);
        }
    }

    /// Counts of magnitudes, and the width of a bin.
    pub(super) fn magnitudes(&self) -> (Vec<u64>, f64) {
        let mut counts = self.positive.clone();
        add_up(&mut counts, &self.negative);
        (counts, f64::from(scale(self.exponent - BINS_LOG2)))
    }

    fn widen(&mut self, exponent: i32) {
        let Ok(doublings) = u32::try_from(exponent - self.exponent) else { return };
        if doublings == 0 {
            return;
        }
        // Past this, all that was seen is in the first bin.
        let factor = 1_usize << doublings.min(BINS.ilog2());
        for counts in [&mut self.positive, &mut self.negative] {
            for bin in 0..counts.len() / factor {
                counts[bin] = counts[bin * factor..(bin + 1) * factor].iter().sum();
            }
            let used = counts.len() / factor;
            counts[used..].fill(0);
        }
        self.exponent = exponent;
    }
}

/// The least exponent of two whose power is above a magnitude.
fn exponent_above(magnitude: f32) -> i32 {
    let exponent = (magnitude.to_bits() >> 23 & 0xff).cast_signed() - 126;
    exponent.max(LEAST_EXPONENT)
}

/// Two to a power that float32 has.
fn scale(exponent: i32) -> f32 {
    2f32.powi(exponent)
}

/// The bin of a value below the largest magnitude. The product is exact, but for magnitudes that
/// belong to the first bin anyway.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the product is from 0 to the number of bins"
)]
fn bin(value: f32, per_unit: f32) -> usize {
    ((value.abs() * per_unit) as u32 as usize).min(BINS - 1)
}

fn add_up(counts: &mut [u64], others: &[u64]) {
    for (count, other) in counts.iter_mut().zip(others) {
        *count += other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::new();
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        histogram.add(values, largest);
        histogram
    }

    #[test]
    fn every_finite_value_is_counted_in_the_bin_of_its_magnitude() {
        let (counts, width) = of(&[0.0, -0.0, 0.75, -0.75, 1.5, f32::NAN]).magnitudes();
        assert_eq!(counts.iter().sum::<u64>(), 5);
        assert!((width - 2.0 / 8192.0).abs() < 1e-12);
        assert_eq!((counts[0], counts[3072], counts[6144]), (2, 2, 1));
    }

    #[test]
    fn extreme_magnitudes_have_a_bin() {
        for value in [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, 0.0] {
            let (counts, width) = of(&[value]).magnitudes();
            assert_eq!(counts.iter().sum::<u64>(), 1, "{value}");
            assert!(width.is_finite() && width > 0.0);
        }
    }

    proptest! {
        #[test]
        fn counts_do_not_depend_on_the_order_or_on_who_counted(
            values in prop::collection::vec((-40i32..40, -1f32..1f32), 1..200),
            cut in 0..200_usize,
        ) {
            let values: Vec<f32> =
                values.into_iter().map(|(exponent, value)| value * 2f32.powi(exponent)).collect();
            let cut = cut.min(values.len());
            let whole = of(&values);
            let (mut first, second) = (of(&values[..cut]), of(&values[cut..]));
            let mut reversed = second.clone();
            reversed.merge(first.clone());
            first.merge(second);
            let mut one_by_one = Histogram::new();
            for value in &values {
                one_by_one.add(&[*value], value.abs());
            }
            for other in [first, reversed, one_by_one] {
                prop_assert_eq!(whole.magnitudes(), other.magnitudes());
            }
        }
    }
}
