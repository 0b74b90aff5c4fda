//! [`Measured`]: what the outputs of one trial came to.

use serde::{Deserialize, Serialize};

use crate::search;
use crate::stage::assess::{Accuracy, Findings, SLACK};

use super::settings::Objective;

/// What the outputs of one trial came to, on all samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// The lowest signal-to-noise ratio of an output; minus infinity where one has NaN or infinity
    /// that it did not have.
    pub(super) snr_db: f64,
    /// Where there are labels.
    pub(super) answers: Option<Answers>,
}

/// Right answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answers {
    pub(super) right: usize,
    /// Of the model as it was.
    pub(super) right_before: usize,
    pub(super) samples: usize,
}

impl Answers {
    pub(super) fn accuracy(self) -> f64 {
        fraction(self.right, self.samples)
    }

    pub(super) fn accuracy_before(self) -> f64 {
        fraction(self.right_before, self.samples)
    }

    fn hold(self, limits: &Accuracy) -> bool {
        let at_least =
            limits.at_least.as_ref().is_none_or(|limit| self.accuracy() >= limit.value - SLACK);
        let max_drop = limits
            .max_drop
            .as_ref()
            .is_none_or(|limit| self.accuracy_before() - self.accuracy() <= limit.value + SLACK);
        at_least && max_drop
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples, far below 2^53")]
fn fraction(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Measured {
    pub(super) fn of(findings: &Findings) -> Self {
        let ratios = findings.differences.iter().map(|(_, difference, _)| {
            if difference.nonfinite() > 0 { f64::NEG_INFINITY } else { difference.snr_db() }
        });
        let answers = findings.reference_score.map(|before| Answers {
            right: findings.score.right,
            right_before: before.right,
            samples: findings.score.samples,
        });
        Self { snr_db: ratios.fold(f64::INFINITY, f64::min), answers }
    }

    /// As the search sees it. The noise says what is lost, also where the objective is an accuracy:
    /// on some hundred samples that moves in steps, and most single nodes do not move it at all.
    pub(super) fn score(self, objective: &Objective) -> search::Score {
        let is_clear =
            objective.snr_db.as_ref().is_none_or(|limit| self.snr_db >= limit.value - SLACK);
        let is_right = objective
            .accuracy
            .as_ref()
            .is_none_or(|limits| self.answers.is_some_and(|answers| answers.hold(limits)));
        // As in `validate`, no limit makes up for NaN where there were numbers.
        let is_finite = self.snr_db > f64::NEG_INFINITY;
        search::Score { loss: -self.snr_db, passes: is_clear && is_right && is_finite }
    }

    /// `SNR 27.4 dB, top1 0.9722`.
    pub(super) fn text(self, objective: &Objective) -> String {
        let name = if self.snr_db.is_finite() { "SNR " } else { "" };
        let noise = format!("{name}{}", decibels(self.snr_db));
        match (&objective.accuracy, self.answers) {
            (Some(limits), Some(answers)) => {
                format!("{noise}, {} {:.4}", limits.metric.name(), answers.accuracy())
            }
            _ => noise,
        }
    }
}

/// A signal-to-noise ratio in words.
pub(super) fn decibels(snr_db: f64) -> String {
    if snr_db.is_finite() {
        format!("{snr_db:.1} dB")
    } else if snr_db > 0.0 {
        "no noise".to_owned()
    } else {
        "useless".to_owned()
    }
}
