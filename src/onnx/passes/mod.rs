//! Rewrites of a model that keep what it computes, one file each.
//!
//! A pass changes the main graph only. Names that bodies of `If`, `Loop` and `Scan` capture count
//! as used and keep their meaning. Inputs and outputs of the model never change, and what is known
//! only when the model runs, such as a batch size, is never fixed.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tensor::{DType, Dim, Tensor};

use super::error::OnnxError;
use super::model::Model;
use super::tensors::byte_size;

mod bypass;
mod constants;
mod dead_nodes;
mod duplicates;
mod equal_nodes;
mod foldable;
mod gemm;
mod identities;
mod moves;
mod neutral;
mod no_ops;
mod reshapes;
mod scaling;
mod shape_values;
mod shapes;
#[cfg(test)]
mod tests;
mod transposes;

pub(super) use shape_values::shape_constant;

/// What a tensor is known to be: its element type and, where known, its axes.
pub type TensorFacts = (DType, Option<Vec<Dim>>);

/// Computes what passes need computed. Everything it refuses is left as it is.
pub trait Evaluator {
    /// Runs a model that has no inputs and embeds its initializers; gives its outputs in order.
    fn evaluate(&self, model: &Model) -> Result<Vec<Tensor>, String>;

    /// What is known of the tensors of a model, by name.
    fn infer_shapes(&self, _model: &Model) -> BTreeMap<String, TensorFacts> {
        BTreeMap::new()
    }
}

/// What the passes of one run share.
pub struct Tools<'e> {
    evaluator: &'e dyn Evaluator,
    /// Bytes of weights that may still be filled in, so that a small file cannot become a huge one.
    fills: Cell<u64>,
    /// Bytes that may still be computed ahead.
    computed: Cell<u64>,
}

/// Bytes of weights that may be filled in.
const FILLS: u64 = 1 << 30;
/// Bytes that may be computed ahead, beside twice those of the weights.
const COMPUTED: u64 = 1 << 26;

impl<'e> Tools<'e> {
    fn new(evaluator: &'e dyn Evaluator, model: &Model) -> Self {
        let sizes = model.graph.initializer.iter().filter_map(byte_size);
        let weights = sizes.fold(0_u64, u64::saturating_add);
        let computed = COMPUTED.saturating_add(weights.saturating_mul(2));
        Self { evaluator, fills: Cell::new(FILLS), computed: Cell::new(computed) }
    }

    /// Takes so many bytes of those for weights that are filled in, if they are left.
    fn take_fill(&self, bytes: u64) -> bool {
        take(&self.fills, bytes)
    }

    /// Whether so many bytes may be computed ahead.
    fn may_compute(&self, bytes: u64) -> bool {
        bytes <= self.computed.get()
    }

    /// Takes so many bytes of those, if they are left.
    fn take_computed(&self, bytes: u64) -> bool {
        take(&self.computed, bytes)
    }
}

fn take(room: &Cell<u64>, bytes: u64) -> bool {
    let left = room.get().checked_sub(bytes);
    left.inspect(|left| room.set(*left)).is_some()
}

/// One rewrite.
pub trait Pass: Sync {
    /// Its name in settings and reports.
    fn name(&self) -> PassName;

    /// Changes the model; gives the number of changes.
    fn run(&self, model: &mut Model, tools: &Tools<'_>) -> Result<usize, OnnxError>;
}

/// The name of a rewrite.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PassName {
    /// Weights of equal content are kept once.
    MergeInitializers,
    /// Nodes that compute the same from the same inputs become one.
    MergeNodes,
    /// Arithmetic on shapes is done ahead, as far as axes are known.
    FoldShapes,
    /// What depends on constants only is computed ahead.
    FoldConstants,
    /// `Identity` and, outside training, `Dropout` go.
    RemoveIdentities,
    /// Nodes go that change nothing, such as a `Reshape` to the shape that is there.
    RemoveNoOps,
    /// Multiplications by one, additions of zero and their like go.
    RemoveNeutral,
    /// Transpositions of transpositions become one.
    MergeTransposes,
    /// Reshapings of reshapings become one.
    MergeReshapes,
    /// What scales or shifts channels goes into the weights before it.
    FoldScaling,
    /// A product of matrices and the sum after it become a `Gemm`.
    FuseGemm,
    /// What reaches no output goes.
    RemoveDeadNodes,
    /// Shapes of intermediate tensors are written down.
    InferShapes,
}

impl fmt::Display for PassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As settings and reports spell it.
        self.serialize(f)
    }
}

/// Every rewrite of a round, in its order: equal things become one before they are computed, and
/// values are computed before what then is unused is removed.
pub const PASSES: [&dyn Pass; 12] = [
    &duplicates::MergeInitializers,
    &equal_nodes::MergeNodes,
    &shape_values::FoldShapes,
    &constants::FoldConstants,
    &identities::RemoveIdentities,
    &no_ops::RemoveNoOps,
    &neutral::RemoveNeutral,
    &transposes::MergeTransposes,
    &reshapes::MergeReshapes,
    &scaling::FoldScaling,
    &gemm::FuseGemm,
    &dead_nodes::RemoveDeadNodes,
];

/// How often a pass changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassReport {
    /// The pass.
    pub name: PassName,
    /// Its changes in all rounds.
    pub changes: usize,
}

/// More rounds than any chain of rewrites that feed each other needs.
const MOST_ROUNDS: usize = 32;

/// Runs every pass until none changes anything, then writes down the inferred shapes. The model
/// must have passed [`Model::check`].
pub fn run(model: &mut Model, evaluator: &dyn Evaluator) -> Result<Vec<PassReport>, OnnxError> {
    run_without(model, evaluator, &BTreeSet::new())
}

/// Like [`run`], without the passes of these names.
pub fn run_without(
    model: &mut Model,
    evaluator: &dyn Evaluator,
    skip: &BTreeSet<PassName>,
) -> Result<Vec<PassReport>, OnnxError> {
    let tools = Tools::new(evaluator, model);
    let wanted = |pass: &&&dyn Pass| !skip.contains(&pass.name());
    let passes: Vec<&dyn Pass> = PASSES.iter().filter(wanted).copied().collect();
    let report = |pass: &&dyn Pass| PassReport { name: pass.name(), changes: 0 };
    let mut reports: Vec<PassReport> = passes.iter().map(report).collect();
    for _ in 0..MOST_ROUNDS {
        let mut again = false;
        for (pass, report) in passes.iter().zip(&mut reports) {
            let changes = pass.run(model, &tools)?;
            report.changes += changes;
            again |= changes > 0;
        }
        if !again {
            break;
        }
    }
    if reports.iter().any(|report| report.changes > 0) {
        model.allow_unlisted_initializers();
    }
    let last: &dyn Pass = &shapes::InferShapes;
    if wanted(&&last) {
        let changes = last.run(model, &tools)?;
        reports.push(PassReport { name: last.name(), changes });
    }
    Ok(reports)
}
