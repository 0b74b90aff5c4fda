//! Makes one transposition of two that follow each other.

use std::collections::HashMap;

use crate::onnx::error::OnnxError;
use crate::onnx::model::Model;
use crate::onnx::names::ints_attribute;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, NodeProto};
use crate::onnx::shapes::Shapes;

use super::{Pass, PassName, Tools};

pub(super) struct MergeTransposes;

impl Pass for MergeTransposes {
    fn name(&self) -> PassName {
        PassName::MergeTransposes
    }

    fn run(&self, model: &mut Model, _tools: &Tools<'_>) -> Result<usize, OnnxError> {
        let merged = find(model);
        let count = merged.len();
        for (index, source, order) in merged {
            let node = &mut model.graph.node[index];
            node.input[0] = source;
            node.attribute = vec![AttributeProto {
                name: Some("perm".into()),
                r#type: Some(AttributeType::Ints as i32),
                ints: order,
                ..AttributeProto::default()
            }];
        }
        Ok(count)
    }
}

/// Transpositions of transpositions: each node, what it may read instead, and in which order.
fn find(model: &Model) -> Vec<(usize, String, Vec<i64>)> {
    let shapes = Shapes::of(model);
    // The output of each transposition: what it is made of, and how.
    let mut known: HashMap<&str, (&str, Vec<i64>)> = HashMap::new();
    let mut found = Vec::new();
    for (index, node) in model.graph.node.iter().enumerate() {
        let ([input], [output]) = (node.input.as_slice(), node.output.as_slice()) else { continue };
        if !model.is_standard(node, "Transpose") {
            continue;
        }
        let Some(order) = order(node, shapes.dims(input).map(<[_]>::len)) else { continue };
        let before = known.get(input.as_str()).filter(|(_, first)| first.len() == order.len());
        let made = match before {
            None => (input.as_str(), order),
            Some((source, first)) => {
                let at = |index: &i64| usize::try_from(*index).ok().map(|at| first[at]);
                let Some(merged) = order.iter().map(at).collect::<Option<Vec<_>>>() else {
                    continue;
                };
                found.push((index, (*source).to_owned(), merged.clone()));
                (*source, merged)
            }
        };
        known.insert(output, made);
    }
    found
}

/// The axes of a transposition's input in the order of its output.
fn order(node: &NodeProto, rank: Option<usize>) -> Option<Vec<i64>> {
    let order = match ints_attribute(node, "perm") {
        Some(order) => order.to_vec(),
        None => (0..i64::try_from(rank?).ok()?).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    (0_i64..).zip(&sorted).all(|(index, axis)| index == *axis).then_some(order)
}
