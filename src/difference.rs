//! [`Difference`]: how far one output is from its reference, over all samples, in float64.
//!
//! Knows nothing of limits, or of what made the values.

use serde::Serialize;

/// Where two outputs differ, and their values there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Sample, counted from 0 over the whole data.
    pub sample: usize,
    /// Element within the sample, row-major.
    pub element: usize,
    /// The tested value.
    pub actual: f64,
    /// The reference's value.
    pub reference: f64,
}

/// The numbers of a [`Difference`], as reports have them.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the methods of the same names say it")]
pub struct Numbers {
    pub elements: u64,
    pub max_abs: f64,
    pub max_relative_error: f64,
    pub max_elementwise_relative: f64,
    pub mean_abs: f64,
    pub rmse: f64,
    pub cosine: f64,
    /// `null` where tested and reference are equal.
    pub snr_db: f64,
    pub nonfinite: u64,
}

/// Sums over the elements seen so far; nothing else is kept of them.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    floor: f64,
    finite: u64,
    nonfinite: u64,
    sum_abs: f64,
    sum_squares: f64,
    dot: f64,
    actual_squares: f64,
    reference_squares: f64,
    reference_max: f64,
    max_abs: f64,
    max_elementwise_relative: f64,
    worst: Option<Place>,
    worst_relative: Option<Place>,
    first_nonfinite: Option<Place>,
}

impl Difference {
    /// Nothing seen; elements whose reference is at most `floor` are left out of
    /// [`Self::max_elementwise_relative`].
    pub fn new(floor: f64) -> Self {
        Self { floor, ..Self::default() }
    }

    /// Adds the elements of one sample.
    pub fn add(&mut self, sample: usize, actual: &[f64], reference: &[f64]) {
        for (element, (&actual, &reference)) in actual.iter().zip(reference).enumerate() {
            let place = Place { sample, element, actual, reference };
            if actual.is_finite() && reference.is_finite() {
                self.add_finite(place);
            } else if !is_same_nonfinite(actual, reference) {
                self.nonfinite += 1;
                self.first_nonfinite.get_or_insert(place);
            }
        }
    }

    fn add_finite(&mut self, place: Place) {
        let Place { actual, reference, .. } = place;
        let abs = (actual - reference).abs();
        self.finite += 1;
        self.sum_abs += abs;
        self.sum_squares += abs * abs;
        self.dot += actual * reference;
        self.actual_squares += actual * actual;
        self.reference_squares += reference * reference;
        self.reference_max = self.reference_max.max(reference.abs());
        if abs > self.max_abs || self.worst.is_none() {
            self.max_abs = abs;
            self.worst = Some(place);
        }
        if reference.abs() > self.floor {
            let relative = abs / reference.abs();
            if relative > self.max_elementwise_relative || self.worst_relative.is_none() {
                self.max_elementwise_relative = relative;
                self.worst_relative = Some(place);
            }
        }
    }

    /// All of its numbers.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            elements: self.elements(),
            max_abs: self.max_abs(),
            max_relative_error: self.max_relative_error(),
            max_elementwise_relative: self.max_elementwise_relative(),
            mean_abs: self.mean_abs(),
            rmse: self.rmse(),
            cosine: self.cosine(),
            snr_db: self.snr_db(),
            nonfinite: self.nonfinite(),
        }
    }

    /// Elements that were compared as numbers.
    pub fn elements(&self) -> u64 {
        self.finite
    }

    /// Elements where one of both is NaN or infinite and the other is not the same.
    pub fn nonfinite(&self) -> u64 {
        self.nonfinite
    }

    /// The first such element.
    pub fn first_nonfinite(&self) -> Option<Place> {
        self.first_nonfinite
    }

    /// Where the absolute difference is largest.
    pub fn worst(&self) -> Option<Place> {
        self.worst
    }

    /// Where the elementwise relative difference is largest.
    pub fn worst_relative(&self) -> Option<Place> {
        self.worst_relative
    }

    /// Largest absolute difference.
    pub fn max_abs(&self) -> f64 {
        self.max_abs
    }

    /// max|a-r| / max|r|; max|a-r| where the reference is zero throughout.
    pub fn max_relative_error(&self) -> f64 {
        if self.reference_max > 0.0 { self.max_abs / self.reference_max } else { self.max_abs }
    }

    /// Largest |a-r| / |r| of one element, where |r| is above the floor.
    pub fn max_elementwise_relative(&self) -> f64 {
        self.max_elementwise_relative
    }

    /// Mean absolute difference.
    pub fn mean_abs(&self) -> f64 {
        self.mean(self.sum_abs)
    }

    /// Root of the mean squared difference.
    pub fn rmse(&self) -> f64 {
        self.mean(self.sum_squares).sqrt()
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of elements, far below 2^53")]
    fn mean(&self, sum: f64) -> f64 {
        if self.finite == 0 { 0.0 } else { sum / self.finite as f64 }
    }

    /// Cosine similarity: 1 where both are zero throughout, 0 where one is.
    pub fn cosine(&self) -> f64 {
        let norms = self.actual_squares.sqrt() * self.reference_squares.sqrt();
        if norms > 0.0 {
            (self.dot / norms).clamp(-1.0, 1.0)
        } else if self.actual_squares.max(self.reference_squares) <= 0.0 {
            1.0
        } else {
            0.0
        }
    }

    /// Signal-to-noise ratio in decibels, infinite where both are equal.
    pub fn snr_db(&self) -> f64 {
        if self.sum_squares > 0.0 {
            10.0 * (self.reference_squares / self.sum_squares).log10()
        } else {
            f64::INFINITY
        }
    }
}

/// Whether both are NaN, or the same infinity.
fn is_same_nonfinite(actual: f64, reference: f64) -> bool {
    (actual.is_nan() && reference.is_nan())
        || (actual.is_infinite()
            && reference.is_infinite()
            && actual.is_sign_positive() == reference.is_sign_positive())
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact in binary")]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * b.abs().max(1.0)
    }

    #[test]
    fn values_computed_by_hand_come_out() {
        let mut difference = Difference::new(0.0);
        difference.add(0, &[1.0, 2.0], &[1.0, 4.0]);
        difference.add(1, &[-3.0, 0.5], &[-4.0, 0.0]);
        // |a-r| = 0, 2, 1, 0.5; max|r| = 4; sum of squares 5.25; sum r^2 = 33; sum a^2 = 14.25
        assert_eq!(difference.elements(), 4);
        assert!(close(difference.max_abs(), 2.0));
        assert!(close(difference.max_relative_error(), 0.5));
        assert!(close(difference.max_elementwise_relative(), 0.5));
        assert!(close(difference.mean_abs(), 0.875));
        assert!(close(difference.rmse(), 1.3125_f64.sqrt()));
        assert!(close(difference.cosine(), 21.0 / (14.25_f64.sqrt() * 33_f64.sqrt())));
        assert!(close(difference.snr_db(), 10.0 * (33.0_f64 / 5.25).log10()));
        let worst = difference.worst().unwrap();
        assert_eq!((worst.sample, worst.element), (0, 1));
        assert_eq!((worst.actual, worst.reference), (2.0, 4.0));
    }

    #[test]
    fn an_all_zero_reference_is_judged_by_the_absolute_difference() {
        let mut difference = Difference::new(0.0);
        difference.add(0, &[0.25, 0.0], &[0.0, 0.0]);
        assert!(close(difference.max_relative_error(), 0.25));
        assert!(close(difference.max_elementwise_relative(), 0.0));
        assert!(close(difference.cosine(), 0.0));
        assert_eq!(difference.snr_db(), f64::NEG_INFINITY);
    }

    #[test]
    fn equal_outputs_are_perfect() {
        let mut difference = Difference::new(0.0);
        difference.add(0, &[0.0, 0.0], &[0.0, -0.0]);
        assert!(close(difference.cosine(), 1.0));
        assert_eq!(difference.snr_db(), f64::INFINITY);
        assert_eq!(difference.max_relative_error(), 0.0);
    }

    #[test]
    fn small_references_count_elementwise_only_above_the_floor() {
        let mut difference = Difference::new(0.1);
        difference.add(0, &[0.2, 2.2], &[0.1, 2.0]);
        assert!(close(difference.max_elementwise_relative(), 0.1));
        assert_eq!(difference.worst_relative().unwrap().element, 1);
    }

    #[test]
    fn nan_and_infinity_match_only_themselves() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let mut difference = Difference::new(0.0);
        difference.add(0, &[nan, inf, -inf, 1.0], &[nan, inf, -inf, 1.0]);
        assert_eq!((difference.nonfinite(), difference.elements()), (0, 1));
        difference.add(7, &[1.0, nan, inf, inf, 1.0], &[1.0, 1.0, -inf, 1.0, nan]);
        assert_eq!(difference.nonfinite(), 4);
        let first = difference.first_nonfinite().unwrap();
        assert_eq!((first.sample, first.element), (7, 1));
        assert_eq!(difference.max_abs(), 0.0);
    }
}
