//! `optimize`: rewrites a model into an equal one with less to do.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::artifact::ArtifactKind;
use crate::onnx::passes::{self, PassName};
use crate::onnx::{self, Model};
use crate::process::CancelToken;
use crate::source::Spanned;

use super::convert::write_json;
use super::{Accepts, FromRef, Input, Stage, StageContext, StageError};

mod evaluate;
mod settings;
mod summary;
#[cfg(test)]
mod tests;

pub use settings::Batch;
use summary::Inventory;
pub use summary::{Changes, Counts};

/// Rewrites a model into one that computes the same with less to do: constants and shapes are
/// computed ahead, what changes nothing goes, what is there twice is kept once, normalizations and
/// scalings of channels are folded into the weights before them, what reaches no output is removed,
/// and shapes are written down. Inputs and outputs stay as they are unless other ones are named.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Optimize {
    /// The model: the name of a stage that makes one, or `{ file: model.onnx, kind: model }`.
    pub from: Spanned<FromRef>,
    /// The tensors that the model is to take, by name, to keep a part of it; by default its
    /// inputs.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// The tensors that the model is to give, by name, to keep a part of it; by default its
    /// outputs.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// How many samples the model takes at once: `dynamic`, or a number. Sets axis 0 of every
    /// input and output; a model that has another number built in where it cannot be changed is
    /// refused. By default as it is.
    #[serde(default)]
    pub batch: Option<Batch>,
    /// The version of the operator set that the model is to be of, such as 21; only to later ones.
    /// By default as it is.
    #[serde(default)]
    pub opset: Option<i64>,
    /// Passes to leave out.
    #[serde(default)]
    pub skip: BTreeSet<PassName>,
}

impl Optimize {
    /// Optimizes a model in memory and tells what changed. On an error the model is of no use.
    pub fn rewrite(&self, model: &mut Model, cancel: &CancelToken) -> Result<Changes, StageError> {
        let alive = || if cancel.is_cancelled() { Err(StageError::Cancelled) } else { Ok(()) };
        model.check()?;
        let before = Inventory::of(model)?;
        alive()?;
        if !self.inputs.is_empty() || !self.outputs.is_empty() {
            model.extract(&self.inputs, &self.outputs)?;
        }
        if let Some(Batch(size)) = self.batch {
            model.set_batch(size)?;
        }
        if let Some(opset) = self.opset {
            model.raise_opset(opset)?;
        }
        let evaluator = evaluate::CpuEvaluator { cancel };
        let passes = passes::run_without(model, &evaluator, &self.skip)?;
        alive()?;
        // What a pass breaks must not leave this stage.
        model.check()?;
        Ok(Changes::between(&before, &Inventory::of(model)?, passes))
    }
}

impl Stage for Optimize {
    fn kind(&self) -> &'static str {
        "optimize"
    }

    fn version(&self) -> u32 {
        // 2: more passes, shapes by our own rules, initializers are no inputs, and the opset is in
        // the report.
        2
    }

    fn makes(&self) -> ArtifactKind {
        ArtifactKind::Model
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input {
            role: "from".into(),
            reference: FromRef::reference(&self.from),
            accepts: Accepts::Model,
        }]
    }

    fn settings(&self) -> Value {
        let mut settings = serde_json::Map::new();
        let mut set = |name: &str, value: Value| {
            settings.insert(name.to_owned(), value);
        };
        if !self.inputs.is_empty() {
            set("inputs", json!(self.inputs));
        }
        if !self.outputs.is_empty() {
            set("outputs", json!(self.outputs));
        }
        if let Some(batch) = self.batch {
            set("batch", json!(batch));
        }
        if let Some(opset) = self.opset {
            set("opset", json!(opset));
        }
        if !self.skip.is_empty() {
            set("skip", json!(self.skip));
        }
        settings.into()
    }

    fn deterministic(&self) -> bool {
        true
    }

    fn keeps_signature_of(&self) -> Option<&'static str> {
        let keeps = self.inputs.is_empty() && self.outputs.is_empty() && self.batch.is_none();
        keeps.then_some("from")
    }

    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError> {
        cx.progress.report("reading", 0, None);
        let mut model = Model::load(&onnx::locate(&cx.input("from")?.path)?)?;
        if cx.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        cx.progress.report("rewriting", 0, None);
        let changes = self.rewrite(&mut model, cx.cancel)?;
        cx.progress.report("writing", 0, None);
        model.save(cx.out)?;
        cx.progress.summary(&changes.to_string());
        write_json(&cx.out.join("optimize.json"), &changes)
    }
}
