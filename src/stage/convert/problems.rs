//! Problems with the settings of `convert`: on their own, and with what the model turns out to be.

use std::path::Path;
use std::time::Duration;

use crate::source::Span;
use crate::source_model::{SourceKind, SourceModel};
use crate::stage::Problem;
use crate::stage::problems::Problems;

use super::Convert;

impl Convert {
    /// Everything wrong with the settings; `known` is the model's path and what is there, where that
    /// is known.
    pub(super) fn problems(&self, known: Option<(&Path, &SourceModel)>) -> Vec<Problem> {
        let mut problems = Problems::default();
        self.numbers(&mut problems);
        self.pairs(&mut problems);
        if let Some((path, source)) = known {
            self.fit(path, source, &mut problems);
        }
        problems.found
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.timeout_seconds.as_ref()?.value).ok()
    }

    fn numbers(&self, problems: &mut Problems) {
        let check = &self.check;
        for (name, limit) in [
            ("max_relative_error", Some(&check.max_relative_error)),
            ("max_abs", check.max_abs.as_ref()),
        ] {
            if let Some(limit) = limit
                && !(limit.is_finite() && limit.value >= 0.0)
            {
                let message = format!("`check.{name}` is {limit}, expected a number from 0");
                problems.add("convert::limit", message, limit.span, "");
            }
        }
        if let Some(seconds) = &self.timeout_seconds
            && !(seconds.value > 0.0 && self.timeout().is_some())
        {
            let message = format!("`timeout_seconds` is {seconds}, expected a number above 0");
            problems.add("convert::timeout", message, seconds.span, "");
        }
        if let Some(limit) = &self.memory_limit_mib
            && !(64..=1 << 40).contains(&limit.value)
        {
            let message = format!("`memory_limit_mib` is {limit}, expected 64 or more");
            problems.add("convert::memory_limit", message, limit.span, "it counts MiB");
        }
        for (name, input) in &self.inputs {
            if let Some(range) = &input.range
                && !(range[0].is_finite() && range[1].is_finite() && range[0] <= range[1])
            {
                let message = format!(
                    "the range of `{name}` is [{}, {}], expected two numbers, the lower first",
                    range[0], range[1]
                );
                problems.add("convert::range", message, range.span, "");
            }
        }
    }

    fn pairs(&self, problems: &mut Problems) {
        if let (Some(_), Some(venv)) = (&self.python, &self.venv) {
            let message = "`python` and `venv` both name a Python";
            problems.add("convert::python", message, venv.span, "remove one of both");
        }
        match (&self.module, &self.factory) {
            (Some(module), None) => {
                let help =
                    "add `factory:` with the name of the function or class that makes the model";
                problems.add("convert::factory", "`module` needs a `factory`", module.span, help);
            }
            (None, Some(factory)) => {
                let help = "add `module:` with the Python file that defines it";
                problems.add("convert::factory", "`factory` needs a `module`", factory.span, help);
            }
            (None, None) if !self.arguments.is_empty() && self.script.is_none() => {
                let message = "`arguments` are for a `factory` or a `script`, and there is none";
                problems.add("convert::factory", message, self.arguments.span, "");
            }
            _ => {}
        }
    }

    /// Says of every option that means nothing for such a model that it does not fit.
    fn fit(&self, path: &Path, source: &SourceModel, problems: &mut Problems) {
        let (kind, written) = (source.kind, self.model.value.to_string());
        // An engine is refused when it is read; a script makes of the options what it likes.
        if kind == SourceKind::Engine || self.script.is_some() {
            return;
        }
        if !kind.is_convertible() {
            let message = format!("`{written}` is {kind}, which is not taken");
            problems.add("convert::model", message, self.model.span, &source.needs(&written));
            return;
        }
        if kind == SourceKind::SavedModel && path != source.path {
            let message = format!("`{written}` is only a part of a SavedModel");
            let help = "name its folder, which holds the weights as well";
            problems.add("convert::model", message, self.model.span, help);
        }
        let mut refuse = |name: &str, span: Option<Span>, fits: bool, help: &str| {
            if let Some(span) = span.filter(|_| !fits) {
                let message = format!("`{name}` means nothing for {kind}");
                problems.add("convert::option", message, span, help);
            }
        };
        let is_exported = kind != SourceKind::Onnx;
        let for_onnx = "an ONNX model is taken as it is; remove it";
        for (name, span) in self.export_options() {
            refuse(name, span, is_exported, for_onnx);
        }
        let help = if is_exported { "remove it" } else { for_onnx };
        let exporter = (!self.exporter.is_default()).then_some(self.exporter.span);
        refuse("exporter", exporter, is_torch(kind), help);
        let signature = self.signature.as_ref().map(|name| name.span);
        refuse("signature", signature, kind == SourceKind::SavedModel, help);
        let module = self.module.as_ref().map(|module| module.span);
        refuse("module", module, kind.is_weights_only(), help);
        if kind.is_weights_only() && self.module.is_none() && self.factory.is_none() {
            let message = format!("`{written}` is {kind}: it has weights and no code");
            let help = source.needs(&written);
            problems.add("convert::weights", message, self.model.span, &help);
        }
    }

    /// The options that are for any export.
    fn export_options(&self) -> [(&'static str, Option<Span>); 9] {
        [
            ("inputs", self.inputs.keys().next().map(|name| name.span)),
            ("outputs", self.outputs.first().map(|name| name.span)),
            ("opset", self.opset.as_ref().map(|opset| opset.span)),
            ("python", self.python.as_ref().map(|python| python.span)),
            ("venv", self.venv.as_ref().map(|venv| venv.span)),
            ("timeout_seconds", self.timeout_seconds.as_ref().map(|seconds| seconds.span)),
            ("memory_limit_mib", self.memory_limit_mib.as_ref().map(|limit| limit.span)),
            ("samples", self.samples.as_ref().map(|samples| samples.span)),
            ("check", (!self.check.is_default()).then_some(self.check.span)),
        ]
    }
}

fn is_torch(kind: SourceKind) -> bool {
    use SourceKind::{ExportedProgram, Safetensors, TorchScript, TorchStateDict};
    matches!(kind, TorchScript | ExportedProgram | TorchStateDict | Safetensors)
}
