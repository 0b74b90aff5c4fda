//! Removes nodes that hand their input on: `Identity`, and `Dropout` outside training.

use std::collections::HashMap;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::Uses;
use crate::onnx::proto::{NodeProto, TensorProto};

use super::bypass::bypass;
use super::{Pass, PassName, Tools};

pub(super) struct RemoveIdentities;

impl Pass for RemoveIdentities {
    fn name(&self) -> PassName {
        PassName::RemoveIdentities
    }

    fn run(&self, model: &mut Model, _tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let uses = Uses::of(&model.graph);
        let constants = model.constants();
        let source = |node| hands_on(model, node, &uses, &constants).then_some(0);
        let sources: Vec<Option<usize>> = model.graph.node.iter().map(source).collect();
        Ok(bypass(model, &sources))
    }
}

/// Whether a node's first output always equals its first input and nothing else of it is used.
fn hands_on(
    model: &Model,
    node: &NodeProto,
    uses: &Uses<'_>,
    constants: &HashMap<&str, &TensorProto>,
) -> bool {
    let missing = |names: &[String]| names.first().is_none_or(String::is_empty);
    if missing(&node.input) || missing(&node.output) {
        return false;
    }
    if model.is_standard(node, "Identity") {
        return true;
    }
    let mask_is_used = node.output.get(1).is_some_and(|mask| {
        let found = uses.get(mask);
        !mask.is_empty() && (found.reads > 0 || found.pinned)
    });
    model.is_standard(node, "Dropout")
        && !mask_is_used
        && match node.input.get(2).map(String::as_str) {
            None | Some("") => true,
            Some(training) => constants.get(training).is_some_and(|training| {
                model.values(training).is_ok_and(|value| value.to_f64() == [0.0])
            }),
        }
}
