//! [`Accuracy`]: the settings of a limit for a classifier's accuracy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::source::Spanned;

/// Limits for the accuracy of a classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// When a sample counts as right.
    pub metric: Spanned<AccuracyMetric>,
    /// The array of `data` with the right class of every sample, as integers from 0.
    pub labels: Spanned<String>,
    /// The output with a score per class; needed only where there are several outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Spanned<String>>,
    /// At least this fraction of the samples is right, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Spanned<f64>>,
    /// The accuracy is at most this much lower than the reference's, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_drop: Option<Spanned<f64>>,
}

/// When a sample counts as right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccuracyMetric {
    /// The highest score is the label's.
    Top1,
    /// One of the five highest scores is the label's.
    Top5,
}

impl AccuracyMetric {
    /// The name in specs and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Top1 => "top1",
            Self::Top5 => "top5",
        }
    }
}
