//! The settings of a search: what to judge by, what to reach, and how much to try.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::data::RawArray;
use crate::search::FEWEST_TRIALS;
use crate::source::Spanned;
use crate::stage::assess::Accuracy;
use crate::stage::problems::{Problems, Range};
use crate::stage::{FileRef, Input, Problem};
use crate::tensor::TensorSpec;

/// The role of the samples.
pub(in crate::stage) const DATA: &str = "search.data";

/// Finds a smallest set of nodes to keep in high precision with which the model still reaches an
/// objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// The samples to judge by: an `.npz` file, an `.npy` file, or a folder of `.npy` or raw files.
    /// Arrays are named as the model's inputs; axis 0 counts the samples. Keep the samples of a
    /// later `validate` apart from these.
    #[serde(skip_serializing)]
    pub data: Spanned<FileRef>,
    /// Arrays of `data` that are raw files, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub raw: IndexMap<String, RawArray>,
    /// Samples per run; less where the model takes fewer.
    #[serde(default = "default_batch", skip_serializing_if = "is_default_batch")]
    #[schemars(extend("default" = default_batch()))]
    pub batch: Spanned<usize>,
    /// What the model must reach; where several limits are set, all of them.
    pub objective: Spanned<Objective>,
    /// Sets of nodes that are tried at most; each try runs all samples. Tries that an earlier run
    /// made already count, but take no time.
    #[serde(default = "default_budget", skip_serializing_if = "is_default_budget")]
    #[schemars(extend("default" = default_budget()))]
    pub budget: Spanned<usize>,
}

/// What a model must reach.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Limits for the accuracy on labels. `max_drop` counts from the model as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
    /// At least this signal-to-noise ratio of every output, in dB: the signal is what the model
    /// gave as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snr_db: Option<Spanned<f64>>,
}

fn default_batch() -> Spanned<usize> {
    Spanned::unplaced(32)
}

fn is_default_batch(batch: &Spanned<usize>) -> bool {
    *batch == default_batch()
}

fn default_budget() -> Spanned<usize> {
    Spanned::unplaced(64)
}

fn is_default_budget(budget: &Spanned<usize>) -> bool {
    *budget == default_budget()
}

impl Search {
    /// The inputs it brings to its stage.
    pub(in crate::stage) fn inputs(&self) -> Vec<Input> {
        vec![Input::data(DATA, &self.data)]
    }

    /// What of it decides how a set scores: limits and the budget do not.
    pub(super) fn scoring(&self) -> Value {
        let accuracy = self.objective.accuracy.as_ref();
        json!({
            "raw": self.raw,
            "batch": self.batch,
            "metric": accuracy.map(|accuracy| accuracy.metric),
            "labels": accuracy.map(|accuracy| &accuracy.labels),
            "output": accuracy.and_then(|accuracy| accuracy.output.as_ref()),
        })
    }

    /// Everything wrong with it; `outputs` are those of the model, where they are known.
    pub(in crate::stage) fn problems(&self, outputs: Option<&[TensorSpec]>) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.count("search.batch", &self.batch);
        if self.budget.value < FEWEST_TRIALS {
            let message =
                format!("`search.budget` is {}, expected {FEWEST_TRIALS} or more", self.budget);
            let help = "about twice as many as there are nodes find them one by one; fewer find \
                        blocks of them";
            problems.add("search::budget", message, self.budget.span, help);
        }
        for (name, raw) in &self.raw {
            if raw.sample_bytes().is_none() {
                let message = format!("raw array `{name}` has samples without bytes, or too many");
                problems.add("search::raw_shape", message, raw.shape.span, "");
            }
        }
        let Objective { accuracy, snr_db } = &self.objective.value;
        if accuracy.is_none() && snr_db.is_none() {
            let help = "set `accuracy`, or `snr_db` where there are no labels";
            let message = "`search.objective` sets no limit";
            problems.add("search::no_objective", message, self.objective.span, help);
        }
        if let Some(accuracy) = accuracy {
            problems.accuracy(accuracy, true, outputs);
        }
        problems.limit("snr_db", snr_db.as_ref(), Range::Any);
        problems.found
    }
}
