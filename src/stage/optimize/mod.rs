//! `optimize`: rewrites a model into an equal one with less to do.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::artifact::ArtifactKind;
use crate::backend::{self, tensorrt};
use crate::data::RawArray;
use crate::onnx::passes::{self, PassName, PassReport};
use crate::onnx::{self, Model, OnnxError};
use crate::process::CancelToken;
use crate::source::Spanned;

use super::convert::write_json;
use super::search::Search;
use super::validate::ReferenceBackend;
use super::{
    Accepts, CheckContext, FileRef, FromRef, Input, Problem, Stage, StageContext, StageError,
    ToolProbe,
};

mod evaluate;
mod keep;
mod magnitudes;
mod precision;
mod settings;
mod summary;
#[cfg(test)]
mod tests;
mod told;

pub use precision::{IoTypes, Precision};
pub use settings::Batch;
use summary::Inventory;
pub use summary::{Changes, Counts};
pub use told::Told;

/// Rewrites a model into one that computes the same with less to do: constants and shapes are
/// computed ahead, what changes nothing goes, what is there twice is kept once, normalizations and
/// scalings of channels are folded into the weights before them, what reaches no output is removed,
/// and shapes are written down. With `precision`, what can do with 16 bits computes in 16 bits.
/// Inputs and outputs stay as they are unless other ones are named, or `io` says otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Optimize {
    /// The model: the name of a stage that makes one, or `{ file: model.onnx, kind: model }`.
    pub from: Spanned<FromRef>,
    /// The tensors that the model is to take, by name, to keep a part of it; by default its
    /// inputs.
    #[serde(default)]
    pub inputs: Vec<Spanned<String>>,
    /// The tensors that the model is to give, by name, to keep a part of it; by default its
    /// outputs.
    #[serde(default)]
    pub outputs: Vec<Spanned<String>>,
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
    /// The type to compute in. `fp16` and `bf16` put casts into the graph, so that every backend
    /// computes the same nodes in it; `precision.json` lists them. Nodes that need more stay in
    /// float32: sums, softmaxes and normalizations, powers and exponentials, weights beyond the
    /// type's range, and operators that the standard knows in float32 only.
    #[serde(default)]
    pub precision: Spanned<Precision>,
    /// Of which type the inputs and outputs are that were float32.
    #[serde(default)]
    pub io: Spanned<IoTypes>,
    /// Nodes that stay in float32: operators such as `MatMul`, and names of nodes, in which `*`
    /// stands for any text, such as `encoder/*`.
    #[serde(default)]
    pub keep_fp32: Vec<Spanned<String>>,
    /// Samples that tell which values come near the end of the range of `precision`, or stay below
    /// it; the nodes that make or read them stay in float32. An `.npz` file, an `.npy` file, or a
    /// folder of `.npy` or raw files. Arrays are named as the model's inputs; axis 0 counts the
    /// samples.
    #[serde(default)]
    pub data: Option<Spanned<FileRef>>,
    /// Finds a smallest set of nodes that must stay in float32, beside those of `keep_fp32` and
    /// those that need it by their operator, for the model to reach an objective.
    #[serde(default)]
    pub search: Option<Search>,
    /// What runs the model over the samples.
    #[serde(default)]
    pub backend: Spanned<ReferenceBackend>,
    /// Arrays of `data` that are raw files, by name: `NAME/*.bin` with one sample each in the
    /// order of their names, or `NAME.bin` with all samples. `.raw` does as well.
    #[serde(default)]
    pub raw: IndexMap<String, RawArray>,
}

impl Optimize {
    /// Optimizes a model in memory, in the precision that it has, and tells what changed. On an
    /// error the model is of no use.
    pub fn rewrite(&self, model: &mut Model, cancel: &CancelToken) -> Result<Changes, StageError> {
        let (before, passes) = self.simplify(model, cancel)?;
        Ok(Changes::between(&before, &self.inventory(model)?, passes))
    }

    /// Gives what the model was, and what each pass did to it.
    fn simplify(
        &self,
        model: &mut Model,
        cancel: &CancelToken,
    ) -> Result<(Inventory, Vec<PassReport>), StageError> {
        let alive = || if cancel.is_cancelled() { Err(StageError::Cancelled) } else { Ok(()) };
        model.check()?;
        let before = self.inventory(model)?;
        alive()?;
        if !self.inputs.is_empty() || !self.outputs.is_empty() {
            let names = |list: &[Spanned<String>]| -> Vec<String> {
                list.iter().map(|name| name.value.clone()).collect()
            };
            let extracted = model.extract(&names(&self.inputs), &names(&self.outputs));
            extracted.map_err(|error| self.not_extracted(error))?;
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
        Ok((before, passes))
    }

    /// The error at the name that it is about, with the model as the spec calls it.
    fn not_extracted(&self, error: OnnxError) -> StageError {
        let OnnxError::Extract { problem, .. } = &error else { return error.into() };
        let mut named = self.inputs.iter().chain(&self.outputs).rev();
        let named = named.find(|name| name.value == problem.tensor()).or(self.inputs.first());
        let Some(Spanned { span, .. }) = named else { return error.into() };
        let from = match &self.from.value {
            FromRef::Stage(name) => name.clone(),
            FromRef::File { file, .. } => file.to_string(),
        };
        let message = format!("the model of `{from}`: {problem}");
        StageError::Setting { message, span: *span, help: problem.help() }
    }

    fn inventory(&self, model: &Model) -> Result<Inventory, StageError> {
        let mut inventory = Inventory::of(model)?;
        if self.batch.is_none() {
            // Where another tensor is the input, its axis 0 need not count samples.
            inventory.batch.clear();
        }
        Ok(inventory)
    }
}

impl Stage for Optimize {
    fn kind(&self) -> &'static str {
        "optimize"
    }

    fn version(&self) -> u32 {
        // 2: more passes, shapes by our own rules, initializers are no inputs, and the opset is in
        // the report. 3: the report is of the model that is written, whatever its precision. 4: scales of 8
        // bits are of 16.
        4
    }

    fn makes(&self) -> ArtifactKind {
        ArtifactKind::Model
    }

    fn inputs(&self) -> Vec<Input> {
        let from = Input::new("from", FromRef::reference(&self.from), Accepts::Model);
        let data = self.data.as_ref().map(|place| Input::data("data", place));
        let search = self.search.iter().flat_map(Search::inputs);
        [from].into_iter().chain(data).chain(search).collect()
    }

    fn settings(&self) -> Value {
        let mut settings = serde_json::Map::new();
        self.precision_settings(&mut settings);
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

    fn tools(&self, _probe: &dyn ToolProbe) -> Result<BTreeMap<String, String>, StageError> {
        if self.data.is_none() && self.search.is_none() {
            return Ok(BTreeMap::new());
        }
        Ok(backend::by_name(self.backend.name())?.tools(&tensorrt::Options::default())?)
    }

    /// What samples come to differs in the last bit from processor to processor.
    fn deterministic(&self, _tools: &BTreeMap<String, String>) -> bool {
        self.data.is_none() && self.search.is_none()
    }

    fn keeps_signature_of(&self) -> Option<&'static str> {
        let keeps = self.inputs.is_empty()
            && self.outputs.is_empty()
            && self.batch.is_none()
            && !self.converts_io();
        keeps.then_some("from")
    }

    fn check(&self, cx: &CheckContext<'_>) -> Vec<Problem> {
        self.precision_problems(cx)
    }

    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError> {
        cx.progress.report("reading", 0, None);
        let mut model = Model::load(&onnx::locate(&cx.input("from")?.path)?)?;
        if cx.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        cx.progress.report("rewriting", 0, None);
        let (before, passes) = self.simplify(&mut model, cx.cancel)?;
        let lowered = self.lower(&mut model, cx)?;
        let changes = Changes::between(&before, &self.inventory(&model)?, passes);
        cx.progress.report("writing", 0, None);
        model.save(cx.out)?;
        let told: Vec<String> = std::iter::once(changes.to_string()).chain(lowered).collect();
        cx.progress.summary(&told.join("\n"));
        write_json(&cx.out.join(Changes::FILE), &changes)
    }
}
