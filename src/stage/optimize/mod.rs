//! `optimize`: rewrites a model into an equal one with less to do.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::ArtifactKind;
use crate::backend::{self, tensorrt};
use crate::data::RawArray;
use crate::onnx::passes::{self, PassReport};
use crate::onnx::{self, Model};
use crate::source::Spanned;

use super::convert::write_json;
use super::validate::ReferenceBackend;
use super::{
    Accepts, CheckContext, FileRef, FromRef, Input, Problem, Stage, StageContext, StageError,
    ToolProbe,
};

mod evaluate;
mod magnitudes;
mod precision;
#[cfg(test)]
mod tests;

pub use precision::{IoTypes, Precision};

/// Rewrites a model into one that computes the same with less to do: constants are computed
/// ahead, `Identity` and `Dropout` go, `BatchNormalization` is folded into convolutions, equal
/// weights are kept once, what reaches no output is removed, and shapes are written down. With
/// `precision`, what can do with 16 bits computes in 16 bits. Inputs and outputs stay as they are
/// unless `io` says otherwise.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Optimize {
    /// The model: the name of a stage that makes one, or `{ file: model.onnx, kind: model }`.
    pub from: Spanned<FromRef>,
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
    /// What runs the model over the samples.
    #[serde(default)]
    pub backend: Spanned<ReferenceBackend>,
    /// Arrays of `data` that are raw files, by name: `NAME/*.bin` with one sample each in the
    /// order of their names, or `NAME.bin` with all samples. `.raw` does as well.
    #[serde(default)]
    pub raw: IndexMap<String, RawArray>,
}

/// What is written beside the model, as `optimize.json`.
#[derive(Debug, Serialize)]
struct Changes {
    format: u32,
    passes: Vec<PassReport>,
    nodes: Counts,
    /// By operator; only those whose number changed.
    operators: BTreeMap<String, Counts>,
    parameter_bytes: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Counts {
    before: u64,
    after: u64,
}

impl Stage for Optimize {
    fn kind(&self) -> &'static str {
        "optimize"
    }

    fn version(&self) -> u32 {
        1
    }

    fn makes(&self) -> ArtifactKind {
        ArtifactKind::Model
    }

    fn inputs(&self) -> Vec<Input> {
        let from = Input {
            role: "from".into(),
            reference: FromRef::reference(&self.from),
            accepts: Accepts::Model,
        };
        let data = self.data.as_ref().map(|place| Input {
            role: "data".into(),
            reference: FileRef::reference(place),
            accepts: Accepts::Data,
        });
        [from].into_iter().chain(data).collect()
    }

    fn settings(&self) -> Value {
        let mut settings = serde_json::Map::new();
        self.precision_settings(&mut settings);
        settings.into()
    }

    fn tools(&self, _probe: &dyn ToolProbe) -> Result<BTreeMap<String, String>, StageError> {
        if self.data.is_none() {
            return Ok(BTreeMap::new());
        }
        Ok(backend::by_name(self.backend.name())?.tools(&tensorrt::Options::default())?)
    }

    /// What is observed differs in the last bit from processor to processor.
    fn deterministic(&self) -> bool {
        self.data.is_none()
    }

    fn keeps_signature_of(&self) -> Option<&'static str> {
        (!self.converts_io()).then_some("from")
    }

    fn check(&self, cx: &CheckContext<'_>) -> Vec<Problem> {
        self.precision_problems(cx)
    }

    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError> {
        cx.progress.report("checking", 0, None);
        let mut model = Model::load(&onnx::locate(&cx.input("from")?.path)?)?;
        model.check()?;
        let before = model.summary()?;
        if cx.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        cx.progress.report("rewriting", 0, None);
        let evaluator = evaluate::CpuEvaluator { cancel: cx.cancel };
        let passes = passes::run(&mut model, &evaluator)?;
        if cx.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        // What a pass breaks must not leave this stage.
        model.check()?;
        if let Some(told) = self.lower(&mut model, cx)? {
            cx.progress.summary(&told);
        }
        let after = model.summary()?;
        cx.progress.report("writing", 0, None);
        model.save(cx.out)?;
        let names: BTreeSet<&String> =
            before.operators.keys().chain(after.operators.keys()).collect();
        let count = |counts: &BTreeMap<String, usize>, name| {
            counts.get(name).map_or(0, |&count| count as u64)
        };
        let changes = Changes {
            format: 1,
            passes,
            nodes: Counts { before: before.nodes as u64, after: after.nodes as u64 },
            operators: names
                .into_iter()
                .map(|name| {
                    let before = count(&before.operators, name);
                    (name.clone(), Counts { before, after: count(&after.operators, name) })
                })
                .filter(|(_, counts)| counts.before != counts.after)
                .collect(),
            parameter_bytes: Counts {
                before: before.parameter_bytes,
                after: after.parameter_bytes,
            },
        };
        write_json(&cx.out.join("optimize.json"), &changes)
    }
}
