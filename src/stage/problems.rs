//! [`Problems`]: collects what is wrong with a stage's settings, where several kinds of stages say
//! it in the same words.

use crate::source::{Span, Spanned};
use crate::suggest::did_you_mean;
use crate::tensor::TensorSpec;

use super::Problem;
use super::assess::Accuracy;

/// What a limit may be.
#[derive(Clone, Copy)]
pub(super) enum Range {
    NotNegative,
    Above0,
    Fraction,
    Cosine,
    Any,
}

impl Range {
    fn text(self) -> &'static str {
        match self {
            Self::NotNegative => "a number from 0",
            Self::Above0 => "a number above 0",
            Self::Fraction => "a fraction from 0 to 1",
            Self::Cosine => "a number from -1 to 1",
            Self::Any => "a number",
        }
    }

    fn contains(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Self::NotNegative => value >= 0.0,
                Self::Above0 => value > 0.0,
                Self::Fraction => (0.0..=1.0).contains(&value),
                Self::Cosine => (-1.0..=1.0).contains(&value),
                Self::Any => true,
            }
    }
}

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) found: Vec<Problem>,
}

impl Problems {
    pub(super) fn add(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        help: &str,
    ) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        let (message, label) = (message.into(), "here".into());
        self.found.push(Problem { code, message, span, label, help });
    }

    pub(super) fn limit(&mut self, name: &str, limit: Option<&Spanned<f64>>, range: Range) {
        if let Some(limit) = limit
            && !range.contains(limit.value)
        {
            let message = format!("`{name}` is {limit}, expected {}", range.text());
            let help = match range {
                Range::Fraction if limit.value > 1.0 && limit.value <= 100.0 => {
                    format!("write {} % as {}", limit.value, limit.value / 100.0)
                }
                _ => String::new(),
            };
            self.add("validate::limit", message, limit.span, &help);
        }
    }

    pub(super) fn count(&mut self, name: &str, count: &Spanned<usize>) {
        if count.value == 0 {
            self.add("validate::count", format!("`{name}` is 0"), count.span, "");
        }
    }

    pub(super) fn name(&mut self, name: &str, span: Span, outputs: Option<&[TensorSpec]>) {
        let Some(outputs) = outputs else { return };
        let names = outputs.iter().map(|output| output.name.as_str());
        if !names.clone().any(|output| output == name) {
            let help = did_you_mean(name, names, "outputs");
            self.add("validate::output", format!("the model has no output `{name}`"), span, &help);
        }
    }

    pub(super) fn accuracy(
        &mut self,
        accuracy: &Accuracy,
        has_reference: bool,
        outputs: Option<&[TensorSpec]>,
    ) {
        self.limit("at_least", accuracy.at_least.as_ref(), Range::Fraction);
        self.limit("max_drop", accuracy.max_drop.as_ref(), Range::Fraction);
        match (&accuracy.at_least, &accuracy.max_drop) {
            (None, None) => {
                let help = if has_reference {
                    "set `at_least` or `max_drop`"
                } else {
                    "set `at_least`, or `max_drop` together with `reference`"
                };
                let message = "`accuracy` sets no limit";
                self.add("validate::no_limit", message, accuracy.labels.span, help);
            }
            (_, Some(drop)) if !has_reference => {
                let message = "`max_drop` needs a `reference` to drop from";
                self.add("validate::no_reference", message, drop.span, "add `reference:`");
            }
            _ => {}
        }
        match (&accuracy.output, outputs) {
            (Some(name), _) => self.name(name, name.span, outputs),
            (None, Some(outputs)) if outputs.len() > 1 => {
                let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
                let help = format!("add `output:` with one of: {}", names.join(", "));
                let message = "the model has several outputs, which has the scores?";
                self.add("validate::output", message, accuracy.labels.span, &help);
            }
            _ => {}
        }
    }
}
