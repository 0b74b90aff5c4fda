//! `check`: everything that can be told without running.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::onnx::{self, Model, OnnxError};
use crate::plan::{Plan, RootModel, StageIndex};
use crate::source::Span;
use crate::spec::{InvalidSpec, SpecError};
use crate::stage::ModelSignature;

use super::ExitStatus;
use super::console::Console;
use super::diagnostic::show_invalid;
use super::project::{self, SpecArgs};

/// The code of errors about models that cannot be read.
const UNREADABLE: &str = "check::model";

pub(super) fn check(args: &SpecArgs, console: &Console) -> ExitStatus {
    let plan = match project::load(args, console) {
        Ok(plan) => plan,
        Err(status) => return status,
    };
    let all: Vec<StageIndex> = plan.order().to_vec();
    if let Err(invalid) = check_models(&plan, &all, true) {
        show_invalid(&invalid, console);
        return ExitStatus::USAGE;
    }
    let count = plan.stages().len();
    let stages = if count == 1 { "stage" } else { "stages" };
    console.line(&format!("{}: ok, {count} {stages}", plan.spec().name.value));
    ExitStatus::OK
}

/// Checks settings against the root models they will meet. A model that cannot be read is an
/// error of the spec only where `strict`; else the stage that reads it says so.
pub(super) fn check_models(
    plan: &Plan,
    stages: &[StageIndex],
    strict: bool,
) -> Result<(), InvalidSpec> {
    let mut signatures: HashMap<PathBuf, Result<ModelSignature, OnnxError>> = HashMap::new();
    let mut errors = Vec::new();
    let mut unreadable = Vec::new();
    for &at in stages {
        let Some(RootModel { path, span, converted_by }) = plan.root_model(at) else { continue };
        if let Some(stage) = converted_by {
            if stage == at {
                let found = plan.check_source(at, path).into_iter();
                errors.extend(found.filter(|error| strict || error.code != UNREADABLE));
            }
            if !plan.stages()[stage].stage.takes_as_is(path) {
                // Its inputs and outputs are known once it was exported, if it can be.
                continue;
            }
        }
        let signature = signatures
            .entry(path.to_owned())
            .or_insert_with(|| Model::load(&onnx::locate(path)?)?.signature());
        match signature {
            Ok(signature) => errors.extend(plan.check(at, Some(signature))),
            Err(error) if strict && !unreadable.contains(&path.to_owned()) => {
                unreadable.push(path.to_owned());
                errors.push(broken_model(error, path, span));
            }
            Err(_) => {}
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let file = std::sync::Arc::clone(&plan.spec().source);
    Err(InvalidSpec::new(file, errors))
}

fn broken_model(error: &OnnxError, path: &Path, span: Span) -> SpecError {
    let message = super::diagnostic::with_causes(error);
    let label = format!("`{}` is no usable model", path.display());
    let told = SpecError::new(UNREADABLE, span, message, label);
    match error.help() {
        Some(help) => told.with_help(help),
        None => told,
    }
}
