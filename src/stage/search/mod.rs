//! `search:` of stages that lower the precision of a model: which nodes to keep so that it still
//! reaches an objective.
//!
//! Owns the settings, how a set of nodes is scored, what is remembered of that, and the report.
//! Which sets are scored is decided in [`crate::search`]; what keeping a node means, by the stage.

use std::path::Path;
use std::sync::Arc;

use crate::artifact::{Digest, Fingerprint};
use crate::backend::Backend;
use crate::data::Dataset;
use crate::search::{self, SearchError};

use super::assess::{Labels, Question, Runnable, setting};
use super::{StageContext, StageError};

mod measured;
mod memory;
mod report;
mod settings;
#[cfg(test)]
mod tests;
mod trials;

pub(super) use settings::DATA;
pub use settings::{Objective, Search};

use measured::Measured;
use memory::Memory;
use report::Report;
use trials::Trials;

/// Writes the model in which the nodes of these names are kept into an empty folder. The same names
/// always give the same model.
pub(super) type MakeModel<'a> = dyn Fn(&[&str], &Path) -> Result<(), StageError> + 'a;

/// Stands for what the model with the nodes of these names kept is: of the same model, it is the
/// same.
pub(super) type Effect<'a> = dyn Fn(&[&str]) -> Result<Digest, StageError> + 'a;

/// What to do where a model misses the objective as it is.
pub(super) const LOWER_IT: &str = "lower the objective to what the model reaches as it is";

/// What a stage has searched.
pub(super) struct Task<'a> {
    pub(super) settings: &'a Search,
    /// What runs the models.
    pub(super) backend: &'static dyn Backend,
    /// The model as it was.
    pub(super) model: &'a Path,
    /// The names of the nodes that may be kept, each once, in topological order.
    pub(super) candidates: &'a [String],
    pub(super) make: &'a MakeModel<'a>,
    pub(super) effect: &'a Effect<'a>,
    /// All that decides what [`Task::make`] writes: the stage's kind, version, settings without the
    /// search, inputs and tools.
    pub(super) made_of: Fingerprint,
    /// The setting whose list the found names belong in, such as `skip`.
    pub(super) list: &'static str,
    /// What becomes of nodes that are not kept, such as `quantized`.
    pub(super) lowered: &'static str,
    /// What to do where the objective is missed with everything kept.
    pub(super) out_of_reach: &'static str,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The names of the nodes to keep.
    pub(super) kept: Vec<String>,
    /// What people see.
    pub(super) summary: String,
}

/// Searches, and writes `search.json` into the stage's artifact.
pub(super) fn run(task: &Task<'_>, cx: &StageContext<'_>) -> Result<Outcome, StageError> {
    let Search { raw, objective, budget, batch, .. } = task.settings;
    let data = Dataset::open(&cx.input(DATA)?.path, raw)?;
    // What there is to warn of is said of the first model that is tried: it has the later opset.
    let before = task.backend.another(task.model)?;
    let outputs = before.outputs().to_vec();
    let runnable = Runnable::new(Arc::clone(&before), &data)?;
    let labels = match &objective.accuracy {
        Some(accuracy) => Some(Labels::new(accuracy, &data, &outputs)?),
        None => None,
    };
    let used: Vec<_> = runnable
        .arrays()
        .iter()
        .copied()
        .chain(labels.as_ref().map(|labels| labels.array.into()))
        .collect();
    let samples = data.common_samples(&used)?;
    // More contexts than batches would have nothing to do.
    let lanes = rayon::current_num_threads().min(samples.div_ceil(batch.value.max(1)));
    let mut references = vec![runnable];
    for _ in 1..lanes {
        references.push(Runnable::new(Arc::clone(&before), &data)?);
    }
    let mut key = task.made_of.clone();
    key.settings = serde_json::json!([key.settings, task.settings.scoring()]);
    let mut trials = Trials {
        names: task.candidates,
        make: task.make,
        effect: task.effect,
        backend: task.backend,
        data: &data,
        references,
        question: Question {
            floors: std::collections::BTreeMap::new(),
            labels,
            recorded: None,
            batch: batch.value,
            reference_span: task.settings.data.span,
        },
        objective,
        memory: Memory::new(cx.kept, &key.key()),
        scratch: cx.scratch,
        progress: cx.progress,
        cancel: cx.cancel,
        budget: budget.value,
        measured: Vec::new(),
        remembered: 0,
    };
    let found = search::smallest(task.candidates.len(), budget.value, &mut trials);
    let Trials { measured, remembered, .. } = trials;
    let found = found.map_err(|error| match error {
        SearchError::Measure(error) => error,
        SearchError::Unreachable { .. } => unreachable(task, measured.last().copied()),
        SearchError::Budget => setting(
            format!("`search.budget` is {budget}, which is not enough to search"),
            budget.span,
            None,
        ),
    })?;
    let report = Report::new(task, samples, &found, &measured);
    super::convert::write_json(&cx.out.join("search.json"), &report)?;
    let kept = found.kept.iter().map(|&index| task.candidates[index].clone()).collect();
    Ok(Outcome { kept, summary: report::summary(task, &found, &measured, remembered) })
}

fn unreachable(task: &Task<'_>, kept: Option<Measured>) -> StageError {
    let objective = &task.settings.objective;
    let reached =
        kept.map_or(String::new(), |measured| format!(": it reaches {}", measured.text(objective)));
    let message = match task.candidates.len() {
        0 => format!(
            "nothing of the model is {}, and it misses the objective{reached}",
            task.lowered
        ),
        count => {
            format!("the model misses the objective even where all {count} nodes are kept{reached}")
        }
    };
    setting(message, objective.span, Some(task.out_of_reach.to_owned()))
}
