//! Rewrites of a model that keep what it computes, one file each.
//!
//! A pass changes the main graph only. Names that bodies of `If`, `Loop` and `Scan` capture count
//! as used and keep their meaning. Inputs and outputs of the model never change.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::tensor::{DType, Dim, Tensor};

use super::error::OnnxError;
use super::model::Model;

mod batch_norm;
mod constants;
mod dead_nodes;
mod duplicates;
mod foldable;
mod identities;
mod shapes;
#[cfg(test)]
mod tests;

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

/// One rewrite.
pub trait Pass: Sync {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Changes the model; gives the number of changes.
    fn run(&self, model: &mut Model, evaluator: &dyn Evaluator) -> Result<usize, OnnxError>;
}

/// Every rewrite, in the order of a round. Values are computed before what then is unused is
/// removed.
pub const PASSES: [&dyn Pass; 5] = [
    &constants::FoldConstants,
    &identities::RemoveIdentities,
    &batch_norm::FoldBatchNorm,
    &duplicates::MergeInitializers,
    &dead_nodes::RemoveDeadNodes,
];

/// How often a pass changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassReport {
    /// The pass.
    pub name: &'static str,
    /// Its changes in all rounds.
    pub changes: usize,
}

/// More rounds than any chain of rewrites that feed each other needs.
const MOST_ROUNDS: usize = 32;

const FIRST_WITHOUT_LISTED_INITIALIZERS: i64 = 4;

/// Runs every pass until none changes anything, then writes down the inferred shapes. The model
/// must have passed [`Model::check`].
pub fn run(model: &mut Model, evaluator: &dyn Evaluator) -> Result<Vec<PassReport>, OnnxError> {
    let mut reports = PASSES.map(|pass| PassReport { name: pass.name(), changes: 0 }).to_vec();
    for _ in 0..MOST_ROUNDS {
        let mut again = false;
        for (pass, report) in PASSES.iter().zip(&mut reports) {
            let changes = pass.run(model, evaluator)?;
            report.changes += changes;
            again |= changes > 0;
        }
        if !again {
            break;
        }
    }
    // Before this version of the format every initializer had to be listed as an input too.
    if reports.iter().any(|report| report.changes > 0) {
        let version = model.header.ir_version().max(FIRST_WITHOUT_LISTED_INITIALIZERS);
        model.header.ir_version = Some(version);
    }
    let last = &shapes::InferShapes as &dyn Pass;
    let changes = last.run(model, evaluator)?;
    reports.push(PassReport { name: last.name(), changes });
    Ok(reports)
}
