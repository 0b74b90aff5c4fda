//! [`Labels`]: the right answers of a classifier's samples.

use crate::data::{Array, Dataset};
use crate::source::Span;
use crate::stage::StageError;
use crate::suggest::did_you_mean;
use crate::tensor::{DType, TensorSpec};

use super::accuracy::{Accuracy, AccuracyMetric};
use super::runnable::{Values, setting};
use super::runner::Rows;
use super::score::{Score, is_right};

/// The labels of a classifier's samples.
pub(crate) struct Labels<'a> {
    pub(crate) array: &'a Array,
    /// The output with the scores.
    pub(crate) output: String,
    metric: AccuracyMetric,
    span: Span,
}

impl<'a> Labels<'a> {
    /// Those that the settings name, of a model with these outputs.
    pub(crate) fn new(
        accuracy: &Accuracy,
        data: &'a Dataset,
        outputs: &[TensorSpec],
    ) -> Result<Self, StageError> {
        let span = accuracy.labels.span;
        let array = data
            .array(&accuracy.labels)
            .map_err(|error| setting(error.to_string(), span, error.help()))?;
        check(array, span)?;
        let output = scores(accuracy, outputs)?;
        Ok(Self { array, output, metric: accuracy.metric.value, span })
    }

    pub(super) fn read(&self, start: usize, end: usize) -> Result<Vec<f64>, StageError> {
        Ok(self.array.rows(start, end)?.to_f64())
    }

    pub(super) fn count(
        &self,
        rows: Rows,
        scores: &Values,
        labels: &[f64],
        score: &mut Score,
    ) -> Result<(), StageError> {
        if scores.shape.0.first() != Some(&rows.count) || scores.shape.rank() < 2 {
            let message = format!(
                "output `{}` of shape {} has no score per sample and class",
                self.output, scores.shape
            );
            let help = "accuracy needs an output of shape [batch, classes]".to_owned();
            return Err(setting(message, self.span, Some(help)));
        }
        for (sample, range) in rows.of(scores) {
            let classes = range.len();
            let label = labels.get(sample - rows.first).copied().unwrap_or(f64::NAN);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "checked to be a whole number within the classes"
            )]
            let class = if label >= 0.0 && label.fract() == 0.0 && label < classes as f64 {
                label as usize
            } else {
                let message = format!(
                    "label of sample {sample} is {label}, output `{}` has classes 0 to {}",
                    self.output,
                    classes.saturating_sub(1)
                );
                let help = "labels are the numbers of the classes, from 0".to_owned();
                return Err(setting(message, self.span, Some(help)));
            };
            score.add(sample, is_right(self.metric, &scores.values[range], class));
        }
        Ok(())
    }
}

/// The output that holds the scores: the named one, or the only one.
fn scores(accuracy: &Accuracy, outputs: &[TensorSpec]) -> Result<String, StageError> {
    let names = outputs.iter().map(|output| output.name.as_str());
    match (&accuracy.output, outputs) {
        (Some(name), _) if names.clone().any(|output| output == name.as_str()) => {
            Ok(name.value.clone())
        }
        (Some(name), _) => Err(setting(
            format!("there is no output `{name}`"),
            name.span,
            Some(did_you_mean(name, names, "outputs")),
        )),
        (None, [only]) => Ok(only.name.clone()),
        (None, _) => Err(setting(
            "there are several outputs, and `accuracy` does not say which has the scores".into(),
            accuracy.labels.span,
            Some(format!("add `output:` with one of: {}", names.collect::<Vec<_>>().join(", "))),
        )),
    }
}

/// Fails where an array cannot hold one class number per sample.
fn check(array: &Array, span: Span) -> Result<(), StageError> {
    let dtype = array.dtype();
    if dtype.is_float() || dtype == DType::Bool {
        let message = format!("labels are integers, the array `{}` is {dtype}", array.name());
        let help = format!("convert it when saving: `{}.astype(\"int64\")`", array.name());
        return Err(setting(message, span, Some(help)));
    }
    let shape = array.shape();
    if shape.0.iter().skip(1).any(|extent| *extent != 1) {
        let message = format!(
            "labels are one class number per sample, the array `{}` has shape {shape}",
            array.name()
        );
        let help = "save the number of the right class, such as `one_hot.argmax(1)`".to_owned();
        return Err(setting(message, span, Some(help)));
    }
    Ok(())
}
