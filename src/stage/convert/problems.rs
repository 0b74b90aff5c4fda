//! Problems with the settings of `convert`: on their own, and with what the model turns out to be.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::source::Span;
use crate::source_model::{SourceKind, SourceModel, SourceModelError};
use crate::stage::problems::Problems;
use crate::stage::{Problem, StageError};

use super::{Convert, Exporter, samples};

/// The operator sets that exporters write and that are known here.
const OPSETS: std::ops::RangeInclusive<u32> = 7..=26;

impl Convert {
    /// Everything wrong with the settings; `known` is the model's path and what is there, where that
    /// is known.
    pub(super) fn problems(&self, known: Option<(&Path, &SourceModel)>) -> Vec<Problem> {
        let mut problems = Problems::default();
        self.numbers(&mut problems);
        self.samples(&mut problems);
        self.names(&mut problems);
        self.pairs(&mut problems);
        if let Some((path, source)) = known {
            self.fit(path, source, &mut problems);
        }
        problems.found
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.timeout_seconds.as_ref()?.value).ok()
    }

    /// In bytes.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        self.memory_limit_mib.as_ref().map(|limit| limit.value.saturating_mul(1 << 20))
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
            let of = if seconds.value > 0.0 { "that a clock can count" } else { "above 0" };
            let message =
                format!("`timeout_seconds` is {}, expected a number {of}", shown(seconds.value));
            problems.add("convert::timeout", message, seconds.span, "leave it out for no limit");
        }
        if let Some(limit) = &self.memory_limit_mib
            && !(64..=1 << 40).contains(&limit.value)
        {
            let of = if limit.value < 64 { "64 or more" } else { "at most 1099511627776" };
            let message = format!("`memory_limit_mib` is {limit}, expected {of}");
            problems.add("convert::memory_limit", message, limit.span, "it counts MiB");
        }
        if let Some(opset) = &self.opset
            && !OPSETS.contains(&opset.value)
        {
            let message =
                format!("`opset` is {opset}, expected {} to {}", OPSETS.start(), OPSETS.end());
            let help = "leave it out to get the one that the exporter prefers";
            problems.add("convert::opset", message, opset.span, help);
        }
    }

    /// Samples that cannot be made up.
    fn samples(&self, problems: &mut Problems) {
        for (name, input) in &self.inputs {
            let Some(bounds) = samples::bounds(input.dtype.value) else {
                let message = format!("`{name}` is {}, of which there are no samples", input.dtype);
                let help = "inputs may be floats from float16, integers from 8 bits, and bool";
                problems.add("convert::dtype", message, input.dtype.span, help);
                continue;
            };
            if let Some(range) = &input.range
                && let Err(why) = samples::fits(range.value, input.dtype.value, bounds)
            {
                let [low, high] = range.value.map(shown);
                let message = format!("the range of `{name}` is [{low}, {high}], {why}");
                problems.add("convert::range", message, range.span, "");
            }
        }
    }

    fn names(&self, problems: &mut Problems) {
        let mut seen = BTreeSet::new();
        for name in self.inputs.keys().chain(&self.outputs.value) {
            if name.is_empty() {
                let message = "an input or output has no name";
                problems.add("convert::name", message, name.span, "");
            } else if !seen.insert(name.as_str()) {
                let is_input = self.inputs.keys().any(|input| input.value == name.value);
                let both = if is_input { "names an input as well" } else { "is an output twice" };
                let message = format!("`{name}` {both}");
                problems.add("convert::name", message, name.span, "give it another name");
            }
        }
    }

    /// What is at the model's path is none.
    pub(super) fn no_model(&self, error: &SourceModelError) -> Problem {
        let (message, help) = (error.to_string(), error.help());
        let (code, span, label) = ("check::model", self.model.span, "here".into());
        Problem { code, message, span, label, help }
    }

    /// Fails where a script wrote another operator set than it was asked for.
    pub(super) fn hold_to_opset(&self, wrote: Option<i64>) -> Result<(), StageError> {
        match &self.opset {
            Some(opset) if wrote != Some(i64::from(opset.value)) => {
                let wrote = wrote.map_or("no opset".to_owned(), |wrote| format!("opset {wrote}"));
                Err(StageError::Setting {
                    message: format!("`opset` is {opset}, the script wrote a model of {wrote}"),
                    span: opset.span,
                    help: Some("export with `request[\"opset\"]`, or remove `opset`".into()),
                })
            }
            _ => Ok(()),
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
            (Some(_), Some(factory)) if factory.is_empty() => {
                let help = "name the function or class of `module` that makes the model";
                problems.add("convert::factory", "`factory` is empty", factory.span, help);
            }
            _ => {}
        }
    }

    /// Says of every option that means nothing for such a model that it does not fit.
    fn fit(&self, path: &Path, source: &SourceModel, problems: &mut Problems) {
        let (kind, written) = (source.kind, self.model.value.to_string());
        let is_engine = kind == SourceKind::Engine;
        if self.script.is_some() && !is_engine {
            // It makes of the options what it likes.
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
        if kind == SourceKind::TorchScript && self.exporter.value == Exporter::Dynamo {
            let help = "leave it out, or write `torchscript`";
            let message = "the dynamo exporter takes no TorchScript files";
            problems.add("convert::exporter", message, self.exporter.span, help);
        }
        if kind.is_weights_only() && self.module.is_none() && self.factory.is_none() {
            let message = format!("`{written}` is {kind}: it has weights and no code");
            let help = source.needs(&written);
            problems.add("convert::weights", message, self.model.span, &help);
        } else if (kind.is_weights_only() || kind == SourceKind::TorchScript)
            && self.inputs.is_empty()
        {
            let message = format!("`{written}` does not tell the shapes of its inputs");
            let told = source.describe().unwrap_or_default();
            let forward = told.facts.get("method");
            let forward = forward.map_or("`forward`".to_owned(), |text| format!("`{text}`"));
            let help = format!(
                "declare them in the order of {forward}: `inputs: {{ NAME: {{ shape: [batch, 3, \
                 224, 224] }} }}`"
            );
            problems.add("convert::inputs", message, self.model.span, &help);
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

/// A number without hundreds of digits.
fn shown(number: f64) -> String {
    if number.abs() < 1e15 { number.to_string() } else { format!("{number:e}") }
}
