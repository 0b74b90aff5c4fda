//! [`Score`]: how many samples a classifier gets right.

use super::accuracy::AccuracyMetric;

/// A count of right answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) right: usize,
    pub(crate) samples: usize,
    /// The first sample that was wrong.
    pub(crate) first_wrong: Option<usize>,
}

impl Score {
    /// Counts one sample.
    pub(crate) fn add(&mut self, sample: usize, right: bool) {
        self.samples += 1;
        self.right += usize::from(right);
        if !right {
            self.first_wrong.get_or_insert(sample);
        }
    }

    /// The fraction that is right.
    #[expect(clippy::cast_precision_loss, reason = "a count of samples, far below 2^53")]
    pub(crate) fn accuracy(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { self.right as f64 / self.samples as f64 }
    }
}

/// Whether the label's score is among the highest. Of equal scores the lower class goes first; a
/// NaN score is never right.
pub(crate) fn is_right(metric: AccuracyMetric, scores: &[f64], label: usize) -> bool {
    let Some(&own) = scores.get(label).filter(|score| !score.is_nan()) else { return false };
    let before = scores
        .iter()
        .enumerate()
        .filter(|&(class, &score)| score > own || (score >= own && class < label))
        .count();
    before
        < match metric {
            AccuracyMetric::Top1 => 1,
            AccuracyMetric::Top5 => 5,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccuracyMetric::{Top1, Top5};

    #[test]
    fn the_label_must_be_among_the_highest_scores() {
        let scores = [0.1, 0.7, 0.2, 0.0, 0.3, 0.4, 0.5];
        assert!(is_right(Top1, &scores, 1));
        assert!(!is_right(Top1, &scores, 6));
        assert!(is_right(Top5, &scores, 2));
        assert!(!is_right(Top5, &scores, 0));
        assert!(!is_right(Top5, &scores, 7), "a class that does not exist");
    }

    #[test]
    fn ties_go_to_the_lower_class_and_nan_is_never_right() {
        assert!(is_right(Top1, &[0.5, 0.5], 0));
        assert!(!is_right(Top1, &[0.5, 0.5], 1));
        assert!(!is_right(Top1, &[f64::NAN, 0.5], 0));
        assert!(is_right(Top1, &[f64::NAN, 0.5], 1));
    }
}
