//! `validate`: runs an engine or model and a reference over data and holds the difference, the
//! accuracy and the time to limits.
//!
//! Owns the arithmetic, the gates and the report. Knows nothing of how a backend computes.

use std::collections::BTreeMap;
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;

use crate::artifact::ArtifactKind;
use crate::backend::{self, Engine, tensorrt};
use crate::data::{Column, Dataset};
use crate::onnx;
use crate::source::Spanned;
use crate::suggest::did_you_mean;
use crate::tensor::TensorSpec;

use super::assess::{self, Findings, Labels, Lane, Question, Runnable, Watch, setting};
use super::{
    Accepts, CheckContext, FromRef, Input, Problem, ResolvedInput, Stage, StageContext, StageError,
    ToolProbe, engine, reference,
};

mod check;
mod gates;
mod report;
mod settings;
#[cfg(test)]
mod tests;
mod timing;

pub use super::assess::{Accuracy, AccuracyMetric};
pub use settings::{Compare, Latency, Limits, OnNoise, ReferenceBackend, Validate};

use report::{Report, Subject};

/// A gate that did not hold. The report was written before.
#[derive(Debug, thiserror::Error)]
#[error("{}", failures.join("\n"))]
pub struct GateFailure {
    /// One line per limit that was broken: which output, by how much, in which sample.
    pub failures: Vec<String>,
    /// The readable report.
    pub report: PathBuf,
}

impl GateFailure {
    /// What the user can do next.
    pub fn help(&self) -> Option<String> {
        Some(format!("all numbers are in {}", self.report.display()))
    }
}

/// Something to run, and how the report calls it.
type Loaded = (Subject, Arc<dyn Engine>);

/// The role of the engine that the tested one must not be slower than.
const RIVAL: &str = "latency.at_least_as_fast_as";

impl Validate {
    fn rival(&self) -> Option<&Spanned<FromRef>> {
        self.latency.as_ref()?.at_least_as_fast_as.as_ref()
    }

    fn dataset(&self, cx: &StageContext<'_>, role: &str) -> Result<Dataset, StageError> {
        Ok(Dataset::open(&cx.input(role)?.path, &self.raw)?)
    }

    /// Loads what `role` names, if that is something to run.
    fn runnable(&self, input: &ResolvedInput) -> Result<Option<Loaded>, StageError> {
        let is_onnx = input.path.extension().is_some_and(|extension| extension == "onnx");
        match input.kind {
            Some(ArtifactKind::Engine) => {
                let (manifest, engine) = engine::load(input)?;
                let backend = Some(manifest.backend);
                Ok(Some((Subject { kind: "engine", backend, digest: input.digest }, engine)))
            }
            Some(ArtifactKind::Model) => self.model(input).map(Some),
            _ if is_onnx => self.model(input).map(Some),
            _ => Ok(None),
        }
    }

    fn model(&self, input: &ResolvedInput) -> Result<Loaded, StageError> {
        let name = self.reference_backend.name();
        let file = onnx::locate(&input.path)?;
        // A file that no stage made was not checked before, and backends say less clearly what is
        // wrong with it.
        onnx::Model::load(&file)?.check()?;
        let engine = backend::by_name(name)?.reference(&file, &[])?;
        Ok((
            Subject { kind: "model", backend: Some(name.to_owned()), digest: input.digest },
            engine,
        ))
    }

    fn check_output_names(&self, outputs: &[TensorSpec]) -> Result<(), StageError> {
        let Some(compare) = &self.compare else { return Ok(()) };
        let names = outputs.iter().map(|output| output.name.as_str());
        let is_output = |name: &str| names.clone().any(|output| output == name);
        match compare.outputs.iter().find(|(name, _)| !is_output(name)) {
            None => Ok(()),
            Some((name, limits)) => Err(setting(
                format!("`compare.outputs` names `{name}`, which is no output"),
                limits.set().next().map_or(self.from.span, |(_, limit)| limit.span),
                Some(did_you_mean(name, names, "outputs")),
            )),
        }
    }

    /// Fails where outputs were recorded of another number of samples than there are now.
    fn check_recorded(
        &self,
        recorded: &Dataset,
        data: &Dataset,
        inputs: &[Column<'_>],
        outputs: &[TensorSpec],
    ) -> Result<(), StageError> {
        let samples = data.common_samples(inputs)?;
        let mut arrays = outputs.iter().filter_map(|output| recorded.array(&output.name).ok());
        let Some(array) = arrays.find(|array| array.samples() != samples) else { return Ok(()) };
        let message = format!(
            "`{}` was recorded for {} samples, `{}` has {samples}",
            array.name(),
            array.samples(),
            data.path().display(),
        );
        let span = self.reference.as_ref().map_or(self.from.span, |place| place.span);
        Err(setting(message, span, Some("record the reference on the same samples".into())))
    }

    /// Fails where a limit cannot be judged, because the recording lacks the output.
    fn check_referenced(&self, findings: &Findings) -> Result<(), StageError> {
        let limited = self.compare.iter().flat_map(|compare| &compare.outputs);
        let mut absent = limited.filter(|(name, _)| findings.unreferenced.contains(*name));
        if let Some((name, limits)) = absent.next() {
            let span = limits.set().next().map_or(self.from.span, |(_, limit)| limit.span);
            let message = format!("the recorded reference has no output `{name}` to compare with");
            let help = "record it too, or remove the limit for it".to_owned();
            return Err(setting(message, span, Some(help)));
        }
        match self.accuracy.as_ref().and_then(|accuracy| accuracy.max_drop.as_ref()) {
            Some(drop) if findings.reference_score.is_none() => {
                let message = "the recorded reference lacks the output with the scores";
                let help = "record it too, or remove `max_drop`".to_owned();
                Err(setting(message.into(), drop.span, Some(help)))
            }
            _ => Ok(()),
        }
    }
}

impl Stage for Validate {
    fn kind(&self) -> &'static str {
        "validate"
    }

    fn version(&self) -> u32 {
        1
    }

    fn makes(&self) -> ArtifactKind {
        ArtifactKind::Report
    }

    fn inputs(&self) -> Vec<Input> {
        let mut inputs = vec![
            Input::new("from", FromRef::reference(&self.from), Accepts::ModelOrEngine),
            Input::data("data", &self.data),
        ];
        if let Some(place) = &self.reference {
            inputs.push(Input::new(
                "reference",
                reference::stage_or_file(place),
                Accepts::ModelEngineOrData,
            ));
        }
        if let Some(place) = self.rival() {
            inputs.push(Input::new(RIVAL, FromRef::reference(place), Accepts::Engine));
        }
        inputs
    }

    fn settings(&self) -> serde_json::Value {
        let mut settings = serde_json::Map::new();
        let mut set = |name: &str, value: serde_json::Value| {
            settings.insert(name.to_owned(), value);
        };
        if !self.reference_backend.is_default() {
            set("reference_backend", serde_json::json!(self.reference_backend));
        }
        if !self.raw.is_empty() {
            set("raw", serde_json::json!(self.raw));
        }
        if self.batch != settings::default_batch() {
            set("batch", serde_json::json!(self.batch));
        }
        if let Some(compare) = &self.compare {
            set("compare", serde_json::json!(compare));
        }
        if let Some(accuracy) = &self.accuracy {
            set("accuracy", serde_json::json!(accuracy));
        }
        if let Some(latency) = &self.latency {
            set("latency", serde_json::json!(latency));
        }
        settings.into()
    }

    fn tools(&self, _probe: &dyn ToolProbe) -> Result<BTreeMap<String, String>, StageError> {
        let mut tools =
            backend::by_name(self.reference_backend.name())?.tools(&tensorrt::Options::default())?;
        if self.latency.is_some() {
            tools.insert("machine.cpu".into(), backend::cpu::processor());
        }
        Ok(tools)
    }

    fn deterministic(&self, _tools: &BTreeMap<String, String>) -> bool {
        false
    }

    fn check(&self, cx: &CheckContext<'_>) -> Vec<Problem> {
        check::problems(self, cx)
    }

    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError> {
        let input = cx.input("from")?;
        let (subject, engine) = self.runnable(input)?.ok_or_else(|| {
            let message = format!("`{}` is neither a model nor an engine", input.path.display());
            setting(message, self.from.span, None)
        })?;
        let outputs = engine.outputs().to_vec();
        self.check_output_names(&outputs)?;
        let data = self.dataset(cx, "data")?;
        let tested = Runnable::new(engine, &data)?;
        let mut used = tested.arrays().to_vec();

        let mut recorded = None;
        let mut reference_subject = None;
        let mut reference = None;
        if self.reference.is_some() {
            let input = cx.input("reference")?;
            if let Some((subject, engine)) = self.runnable(input)? {
                let runnable = Runnable::new(engine, &data)?;
                used.extend(runnable.arrays());
                reference_subject = Some(subject);
                reference = Some(runnable);
            } else {
                let outputs_of = recorded.insert(self.dataset(cx, "reference")?);
                reference_subject =
                    Some(Subject { kind: "recorded outputs", backend: None, digest: input.digest });
                self.check_recorded(outputs_of, &data, tested.arrays(), &outputs)?;
            }
        }
        let labels = match &self.accuracy {
            Some(accuracy) => {
                let labels = Labels::new(accuracy, &data, &outputs)?;
                used.push(labels.array.into());
                Some(labels)
            }
            None => None,
        };
        let mut rival = None;
        if let Some(place) = self.rival() {
            let (manifest, engine) = engine::load(cx.input(RIVAL)?)?;
            let runnable = Runnable::new(engine, &data).map_err(|error| {
                let message = format!("this engine does not run on the same data: {error}");
                let help = "name an engine with the same inputs".to_owned();
                StageError::Setting { message, span: place.span, help: Some(help) }
            })?;
            used.extend(runnable.arrays());
            let digest = cx.input(RIVAL)?.digest;
            let subject = Subject { kind: "engine", backend: Some(manifest.backend), digest };
            rival = Some((subject, runnable));
        }
        let samples = data.common_samples(&used)?;
        let watch = Watch { progress: cx.progress, cancel: cx.cancel };
        let mut report = Report::new(samples, subject);
        report.reference = reference_subject;
        let mut lane = Lane { tested, reference };
        if self.reference.is_some() || labels.is_some() {
            let floor = |name: &str| {
                let limits = self.compare.as_ref()?.of_output(name);
                Some((name.to_owned(), limits.floor?.value))
            };
            let scored = labels.as_ref().map(|labels| labels.output.clone());
            let question = Question {
                floors: outputs.iter().filter_map(|output| floor(&output.name)).collect(),
                labels,
                recorded: recorded.as_ref(),
                batch: self.batch.value,
                reference_span: self.reference.as_ref().map_or(self.data.span, |place| place.span),
            };
            let findings = assess::run(std::slice::from_mut(&mut lane), &question, watch)?;
            self.check_referenced(&findings)?;
            gates::judge(self, &findings, &mut report);
            if let (Some(accuracy), Some(scored)) = (&mut report.accuracy, scored) {
                accuracy.output = scored;
            }
        }
        if let Some(latency) = &self.latency {
            let (rival, mut runnable) = rival.unzip();
            let _slot = timing::slot(iter::once(&report.tested).chain(&rival), cx)?;
            let timing =
                timing::measure(latency, &mut lane.tested, runnable.as_mut(), samples, watch)?;
            gates::judge_latency(latency, &timing, rival, &mut report);
        }
        for note in &report.notes {
            tracing::warn!(stage = cx.name, "{note}");
        }
        let failures: Vec<String> =
            report.gates.iter().filter(|gate| !gate.passed).map(report::Gate::failure).collect();
        report.passed = failures.is_empty();
        report.write(cx.out)?;
        if failures.is_empty() {
            return Ok(());
        }
        Err(GateFailure { failures, report: cx.out.join("report.md") }.into())
    }
}
