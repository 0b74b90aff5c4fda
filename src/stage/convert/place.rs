//! Which setting a failed export is the fault of.

use crate::source::Span;
use crate::stage::StageError;

use super::{Convert, ConvertError};

impl Convert {
    /// The failure at the setting that brought it about, where one did.
    pub(super) fn placed(&self, error: StageError) -> StageError {
        match &error {
            StageError::Convert(cause) => {
                let span = self.culprit(cause);
                error.at(span)
            }
            _ => error,
        }
    }

    fn culprit(&self, error: &ConvertError) -> Option<Span> {
        let model = Some(self.model.span);
        let script = self.script.as_ref().map(|script| script.span);
        match error {
            ConvertError::NoPython { .. }
            | ConvertError::OldPython { .. }
            | ConvertError::NotPython { .. }
            | ConvertError::MissingPackage { .. } => self.python_span(),
            ConvertError::SilentPython { is_short, .. } => {
                let limit = self.timeout_seconds.as_ref().filter(|_| *is_short);
                limit.map(|seconds| seconds.span).or(self.python_span())
            }
            ConvertError::Source(_) => model,
            ConvertError::Refused { kind, .. } => match kind.as_str() {
                "inputs" => self.inputs.keys().next().map(|name| name.span).or(model),
                "outputs" => self.outputs.first().map(|name| name.span).or(model),
                "signature" => self.signature.as_ref().map(|name| name.span).or(model),
                "samples" => self.samples.as_ref().map(|samples| samples.span).or(model),
                "opset" => self.opset.as_ref().map(|opset| opset.span).or(model),
                "exporter" => Some(self.exporter.span),
                "module" => self.module.as_ref().map(|module| module.span).or(model),
                "factory" => self.factory.as_ref().map(|name| name.span).or(model),
                "script" => script,
                _ => script.or(model),
            },
            ConvertError::OutOfMemory { .. } => {
                self.memory_limit_mib.as_ref().map(|limit| limit.span)
            }
            ConvertError::TimedOut { .. } => {
                self.timeout_seconds.as_ref().map(|seconds| seconds.span)
            }
            ConvertError::Crashed { .. }
            | ConvertError::NotMade { .. }
            | ConvertError::Sample { .. }
            | ConvertError::SampleData { .. } => script,
            ConvertError::Differs { .. } | ConvertError::NotRun { .. } => {
                (!self.check.is_default()).then_some(self.check.span)
            }
            ConvertError::NothingCompared { .. } => {
                let samples = self.samples.as_ref().map(|samples| samples.span);
                samples.or_else(|| self.inputs.keys().next().map(|name| name.span))
            }
            ConvertError::System { .. } => None,
        }
    }
}
