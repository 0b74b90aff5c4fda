//! `optimize`: rewrites a model into an equal one with less to do.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::ArtifactKind;
use crate::onnx::passes::{self, PassReport};
use crate::onnx::{self, Model};
use crate::source::Spanned;

use super::convert::write_json;
use super::{Accepts, FromRef, Input, Stage, StageContext, StageError};

mod evaluate;
#[cfg(test)]
mod tests;

/// Rewrites a model into one that computes the same with less to do: constants are computed
/// ahead, `Identity` and `Dropout` go, `BatchNormalization` is folded into convolutions, equal
/// weights are kept once, what reaches no output is removed, and shapes are written down.
/// Inputs and outputs stay as they are.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Optimize {
    /// The model: the name of a stage that makes one, or `{ file: model.onnx, kind: model }`.
    pub from: Spanned<FromRef>,
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
        vec![Input {
            role: "from".into(),
            reference: FromRef::reference(&self.from),
            accepts: Accepts::Model,
        }]
    }

    fn settings(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }

    fn deterministic(&self) -> bool {
        true
    }

    fn keeps_signature_of(&self) -> Option<&'static str> {
        Some("from")
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
