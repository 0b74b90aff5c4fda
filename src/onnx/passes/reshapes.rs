//! Makes one reshaping of two that follow each other.

use std::collections::HashMap;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::{FreshNames, Uses, int_attribute};
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::shapes::{Shapes, integers};
use crate::onnx::tensors::elements;

use super::shape_values::{reshape_target, shape_constant};
use super::{Pass, PassName, Tools};

pub(super) struct MergeReshapes;

impl Pass for MergeReshapes {
    fn name(&self) -> PassName {
        PassName::MergeReshapes
    }

    fn run(&self, model: &mut Model, _tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let found = find(model);
        let count = found.len();
        if count == 0 {
            return Ok(0);
        }
        let mut fresh = FreshNames::of(&model.graph);
        for Merge { index, source, target } in found {
            let node = &mut model.graph.node[index];
            node.input[0] = source;
            if let Some(target) = target {
                let name = fresh.take(&format!("{}_shape", node.output[0]));
                node.op_type = Some("Reshape".into());
                node.attribute.clear();
                node.input.truncate(1);
                node.input.push(name.clone());
                model.graph.initializer.extend(shape_constant(&name, &target));
            }
        }
        Ok(count)
    }
}

/// A reshaping that may read what the one before it reads.
struct Merge {
    index: usize,
    source: String,
    /// The shape that it then needs, unless it is told one that fits.
    target: Option<Vec<i64>>,
}

fn find(model: &Model) -> Vec<Merge> {
    let shapes = Shapes::of(model);
    let uses = Uses::of(&model.graph);
    let constants = model.constants();
    // What each reshaping's output is made of.
    let mut sources: HashMap<&str, &str> = HashMap::new();
    let mut found = Vec::new();
    for (index, node) in model.graph.node.iter().enumerate() {
        let ([input, ..], [output]) = (node.input.as_slice(), node.output.as_slice()) else {
            continue;
        };
        let is_reshaping =
            matches!(node.op_type(), "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze");
        if !is_reshaping || !model.is_standard_operator(node) {
            continue;
        }
        let between = uses.get(input);
        let before = sources.get(input.as_str()).copied();
        let source = before.filter(|_| between.reads == 1 && !between.pinned);
        let target = source.and_then(|source| {
            let target = reshape_target(shapes.dims(source)?, shapes.dims(output)?);
            target.map(Some).or_else(|| says_it_all(model, node, &constants).then_some(None))
        });
        let made_of = match (source, target) {
            (Some(source), Some(target)) => {
                found.push(Merge { index, source: source.to_owned(), target });
                source
            }
            _ => input.as_str(),
        };
        sources.insert(output, made_of);
    }
    found
}

/// Whether a reshaping is told a shape that copies nothing from its input's.
fn says_it_all(model: &Model, node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> bool {
    let shape = node.input.get(1).and_then(|name| constants.get(name.as_str()));
    node.op_type() == "Reshape"
        && int_attribute(node, "allowzero", 0) == 0
        && shape.is_some_and(|shape| {
            elements(shape).is_some_and(|count| count <= 64)
                && integers(model, shape).is_some_and(|numbers| !numbers.contains(&0))
        })
}
