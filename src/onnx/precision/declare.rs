//! What a rewritten graph declares of its tensors.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{GraphProto, TensorProto, ValueInfoProto, type_proto};

use super::rewrite::Names;
use super::view::View;

/// A tensor that is another one in another type.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) of: String,
    pub(super) low: bool,
}

/// Gives inputs, outputs and intermediate tensors the types that they have now. New tensors have
/// the shape of those that they were made from; what is gone is no longer declared.
pub(super) fn update(
    graph: &mut GraphProto,
    view: &View<'_>,
    names: &BTreeMap<String, Names>,
    made: &[Made],
) {
    let half = view.half.data_type();
    let is_low =
        |name: &str| names.get(name).is_some_and(|names| names.low.as_deref() == Some(name));
    let declared = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    for value in declared.filter(|value| is_low(value.name())) {
        set_type(value, half);
    }
    let produced: BTreeSet<&str> =
        graph.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let constant: BTreeSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    let old = &view.model.graph;
    let described: HashMap<&str, &ValueInfoProto> = old
        .input
        .iter()
        .chain(&old.output)
        .chain(&old.value_info)
        .map(|value| (value.name(), value))
        .collect();
    let is_there = |name: &str| produced.contains(name) || constant.contains(name);
    graph.value_info.retain(|value| is_there(value.name()));
    for made in made.iter().filter(|made| produced.contains(made.name.as_str())) {
        let Some(&of) = described.get(made.of.as_str()) else { continue };
        let mut value = of.clone();
        value.name = Some(made.name.clone());
        set_type(&mut value, if made.low { half } else { DataType::Float });
        graph.value_info.push(value);
    }
}

fn set_type(value: &mut ValueInfoProto, dtype: DataType) {
    let declared = value.r#type.as_mut().and_then(|declared| declared.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = declared {
        tensor.elem_type = Some(dtype as i32);
    }
}
