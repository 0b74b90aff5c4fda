//! [`SpecError`]: something wrong with a spec, and where.

use crate::source::Span;
use crate::stage::Problem;
use crate::suggest::did_you_mean;

/// One thing wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SpecError {
    /// Stable identifier, such as `spec::unknown_key`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
    /// The words under the marked text.
    pub label: String,
    /// Other places that belong to it, with their words.
    pub also: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
}

impl SpecError {
    /// An error at one place.
    pub fn new(
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            span,
            label: label.into(),
            also: Vec::new(),
            help: None,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn and_at(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also.push((span, label.into()));
        self
    }

    /// Adds the candidate that `name` most likely meant, or the list of all of them.
    #[must_use]
    pub fn suggesting<'a>(
        self,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str> + Clone,
        what: &str,
    ) -> Self {
        let help = did_you_mean(name, candidates, what);
        self.with_help(help)
    }
}

impl From<Problem> for SpecError {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code,
            message: problem.message,
            span: problem.span,
            label: problem.label,
            also: Vec::new(),
            help: problem.help,
        }
    }
}

/// Sorts by place and drops repetitions, the order in which errors are shown.
pub(crate) fn sorted(mut errors: Vec<SpecError>) -> Vec<SpecError> {
    errors.sort_by(|a, b| (a.span, a.code, &a.message).cmp(&(b.span, b.code, &b.message)));
    errors.dedup();
    errors
}
