//! `convert`: takes a model into the pipeline, checked.
//!
//! An ONNX model is copied. Any other is exported by the framework it was made with, in a Python
//! process, and compared with what the framework computes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::artifact::ArtifactKind;
use crate::onnx::{self, Model, Summary};
use crate::source_model::{SourceKind, SourceModel, SourceModelError, detect, is_named_as_other};

use super::{
    Accepts, CheckContext, FileRef, Input, Problem, Stage, StageContext, StageError, ToolProbe,
};

mod answer;
mod check;
mod error;
mod export;
mod files;
mod noise;
mod place;
mod problems;
mod python;
mod samples;
mod settings;
mod telling;
#[cfg(test)]
mod tests;

pub use error::ConvertError;
pub use settings::{Check, Convert, Exporter, Extent, InputSetting};

use answer::on_one_line;
use check::Comparison;
use export::{Exported, Framework};

/// The name of the description.
const FILE: &str = "convert.json";

/// What is written beside the model, as `convert.json`.
#[derive(Debug, Serialize)]
struct Description<'a> {
    format: u32,
    opset: Option<i64>,
    #[serde(flatten)]
    summary: &'a Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Origin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
}

/// What an exported model was, and how it was exported.
#[derive(Debug, Serialize)]
struct Origin {
    kind: Option<SourceKind>,
    /// What in the file says so.
    why: Option<String>,
    exporter: String,
    choices: BTreeMap<String, Value>,
    warnings: Vec<String>,
    /// The versions of Python and its packages.
    versions: BTreeMap<String, String>,
}

impl Convert {
    /// What exports the model at a path, and what that is; `None` for a model that is copied, and
    /// for what is none.
    fn exporter_of(&self, path: &Path) -> Option<(Framework, Option<SourceModel>)> {
        let found = detect(path).ok();
        let is_there = || fs::metadata(path).is_ok_and(|found| found.is_file() || found.is_dir());
        match &found {
            Some(source) if source.kind == SourceKind::Engine => None,
            _ if self.script.is_some() && is_there() => Some((Framework::Own, found)),
            Some(source) if source.kind == SourceKind::Onnx => None,
            Some(source) if !source.kind.is_convertible() => None,
            Some(source) => Some((Framework::of(source.kind), found)),
            None => None,
        }
    }

    /// Copies an ONNX model.
    fn take(path: &Path, cx: &StageContext<'_>) -> Result<(), StageError> {
        let source = onnx::locate(path)?;
        cx.progress.report("checking", 0, None);
        let model = Model::load(&source)?;
        model.check()?;
        let summary = model.summary()?;
        if cx.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        cx.progress.report("copying", 0, None);
        files::copy_model(&model, cx.out)?;
        let opset = model.opset();
        let summary = &summary;
        let description = Description { format: 1, opset, summary, source: None, comparison: None };
        write_json(&cx.out.join(FILE), &description)
    }

    /// Makes an ONNX model of another one.
    fn make(
        &self,
        framework: Framework,
        source: Option<SourceModel>,
        cx: &StageContext<'_>,
    ) -> Result<(), StageError> {
        let (kind, why) = source.map(|source| (source.kind, source.why)).unzip();
        let (program, versions) = self.versions_now(cx)?;
        let versions = framework.versions(versions);
        let exported = self.export(framework, kind, &program, cx)?;
        if framework == Framework::Own {
            self.hold_to_opset(exported.model.opset())?;
        }
        let Exported { model, cases, exporter, warnings, choices } = exported;
        let summary = &model.summary()?;
        // They may say why the comparison fails.
        for warning in &warnings {
            tracing::warn!(stage = cx.name, "{}", on_one_line(warning));
        }
        let comparison = self.compare(&model, &cases, cx)?;
        let opset = model.opset();
        cx.progress.summary(&comparison.in_words(&exporter, opset));
        let comparison = Some(comparison);
        cx.progress.report("copying", 0, None);
        files::move_model(&model, cx.out)?;
        let origin = Origin { kind, why, exporter, choices, warnings, versions };
        let source = Some(origin);
        let description = Description { format: 1, opset, summary, source, comparison };
        write_json(&cx.out.join(FILE), &description)
    }
}

impl Stage for Convert {
    fn kind(&self) -> &'static str {
        "convert"
    }

    fn version(&self) -> u32 {
        1
    }

    fn makes(&self) -> ArtifactKind {
        ArtifactKind::Model
    }

    fn inputs(&self) -> Vec<Input> {
        let model = Input::new("model", FileRef::reference(&self.model), Accepts::SourceModel);
        let files =
            [("module", &self.module), ("script", &self.script), ("samples", &self.samples)];
        let files =
            files.into_iter().filter_map(|(role, file)| Some(Input::data(role, file.as_ref()?)));
        std::iter::once(model).chain(files).collect()
    }

    fn settings(&self) -> Value {
        self.key_settings()
    }

    fn tools(&self, probe: &dyn ToolProbe) -> Result<BTreeMap<String, String>, StageError> {
        let model = probe.input("model").map(|input| input.path.as_path());
        let Some((framework, _)) = model.and_then(|path| self.exporter_of(path)) else {
            return Ok(BTreeMap::new());
        };
        let mut tools = framework.versions(self.versions(probe)?);
        tools.insert("scripts".to_owned(), export::scripts_digest().to_string());
        Ok(tools)
    }

    /// What an exporter writes is its own affair.
    fn deterministic(&self, tools: &BTreeMap<String, String>) -> bool {
        tools.is_empty()
    }

    fn keeps_signature_of(&self) -> Option<&'static str> {
        Some("model")
    }

    fn takes_as_is(&self, source: &Path) -> bool {
        self.exporter_of(source).is_none()
            && match detect(source) {
                Ok(found) => found.kind == SourceKind::Onnx,
                Err(error) => is_told_by_onnx(&error),
            }
    }

    fn check(&self, cx: &CheckContext<'_>) -> Vec<Problem> {
        match cx.source.map(|path| (path, detect(path))) {
            Some((path, Ok(source))) => self.problems(Some((path, &source))),
            Some((path, Err(error)))
                if self.exporter_of(path).is_none() && !is_told_by_onnx(&error) =>
            {
                let mut problems = self.problems(None);
                problems.push(self.no_model(&error));
                problems
            }
            _ => self.problems(None),
        }
    }

    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError> {
        let path = &cx.input("model")?.path;
        let found = detect(path);
        let known = found.as_ref().ok().map(|source| (path.as_path(), source));
        if let Some(problem) = self.problems(known).into_iter().next() {
            let Problem { message, span, help, .. } = problem;
            return Err(StageError::Setting { message, span, help });
        }
        match (self.exporter_of(path), found) {
            (Some((framework, source)), _) => self.make(framework, source, cx),
            (None, Err(error)) if !is_told_by_onnx(&error) => Err(ConvertError::from(error).into()),
            (None, _) => Self::take(path, cx),
        }
        .map_err(|error| self.placed(error))
    }
}

/// Whether reading the file as an ONNX model says at least as much of what is wrong with it.
fn is_told_by_onnx(error: &SourceModelError) -> bool {
    use SourceModelError::{Damaged, NoModel, NoModelInFolder, NotRegular, OtherFile, Unknown};
    match error {
        Damaged { .. } | NoModel { .. } | NotRegular { .. } | NoModelInFolder { .. } => false,
        OtherFile { path, .. } | Unknown { path } => !is_named_as_other(path),
        _ => true,
    }
}

/// Writes a description as JSON for people and programs.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StageError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| StageError::io("write", path)(error.into()))?;
    text.push('\n');
    fs::write(path, text).map_err(StageError::io("write", path))
}
