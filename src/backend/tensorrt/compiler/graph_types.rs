//! Which element types a model computes in, and where each shows first.

use std::collections::{BTreeMap, BTreeSet};

use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

/// The element types of a model's values, each with the node (or value) that shows it first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GraphTypes {
    first: BTreeMap<DataType, Place>,
    /// Whether it has Q/DQ nodes.
    pub(super) quantized: bool,
    /// The first of those whose scale is float16.
    pub(super) half_scale: Option<Place>,
}

/// Where a type shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The node's name, or the name of the value.
    pub(super) name: String,
    /// The operator, or `input`, `initializer`.
    pub(super) op: String,
}

impl GraphTypes {
    pub(super) fn of(graph: &GraphProto) -> Self {
        let mut types = Self::default();
        types.graph(graph);
        types
    }

    /// Where one of these types shows first, in the order given.
    pub(super) fn first_of(&self, types: &[DataType]) -> Option<(DataType, &Place)> {
        types.iter().find_map(|dtype| Some((*dtype, self.first.get(dtype)?)))
    }

    pub(super) fn has(&self, dtype: DataType) -> bool {
        self.first.contains_key(&dtype)
    }

    /// The names of the nodes that compute in float32, as far as the graph tells: a type follows
    /// from casts, constants and inputs through the nodes, and most operators keep it.
    pub(super) fn float32_nodes(graph: &GraphProto) -> BTreeSet<String> {
        let inputs = graph.input.iter().map(|input| (input.name(), element_type(input)));
        let constants = graph.initializer.iter().map(|tensor| (tensor.name(), tensor.data_type()));
        let mut types: BTreeMap<&str, i32> = inputs.chain(constants).collect();
        let mut found = BTreeSet::new();
        for node in &graph.node {
            let dtype = output_type(node, &types);
            if dtype == DataType::Float as i32 {
                found.insert(node.name().to_owned());
            }
            types.extend(node.output.iter().map(|output| (output.as_str(), dtype)));
        }
        found
    }

    fn graph(&mut self, graph: &GraphProto) {
        let initializers: BTreeMap<&str, i32> =
            graph.initializer.iter().map(|tensor| (tensor.name(), tensor.data_type())).collect();
        // Nodes first: they say more than the values they use.
        for node in &graph.node {
            self.node(node, &initializers);
        }
        for tensor in &graph.initializer {
            self.note(tensor.data_type(), tensor.name(), "initializer");
        }
        for (values, what) in
            [(&graph.input, "input"), (&graph.output, "output"), (&graph.value_info, "value")]
        {
            for value in values {
                self.note(element_type(value), value.name(), what);
            }
        }
    }

    fn node(&mut self, node: &NodeProto, initializers: &BTreeMap<&str, i32>) {
        let name = match node.name() {
            "" => node.output.first().map_or("", String::as_str),
            name => name,
        };
        if matches!(node.op_type(), "QuantizeLinear" | "DequantizeLinear") {
            self.quantized = true;
            let scale = node.input.get(1).and_then(|name| initializers.get(name.as_str()));
            if scale == Some(&(DataType::Float16 as i32)) {
                let place = || Place { name: name.to_owned(), op: node.op_type().to_owned() };
                self.half_scale.get_or_insert_with(place);
            }
        }
        for input in &node.input {
            if let Some(dtype) = initializers.get(input.as_str()) {
                self.note(*dtype, name, node.op_type());
            }
        }
        for attribute in &node.attribute {
            if matches!(attribute.name(), "to" | "dtype" | "output_dtype") {
                self.note(i32::try_from(attribute.i()).unwrap_or(0), name, node.op_type());
            }
            if let Some(tensor) = &attribute.t {
                self.note(TensorProto::data_type(tensor), name, node.op_type());
            }
            for graph in attribute.g.iter().chain(&attribute.graphs) {
                self.graph(graph);
            }
        }
    }

    fn note(&mut self, dtype: i32, name: &str, op: &str) {
        if let Ok(dtype) = DataType::try_from(dtype) {
            let place = || Place { name: name.to_owned(), op: op.to_owned() };
            self.first.entry(dtype).or_insert_with(place);
        }
    }
}

/// The element type of a node's outputs; 0 where it is not known.
fn output_type(node: &NodeProto, types: &BTreeMap<&str, i32>) -> i32 {
    let attribute = |name: &str| node.attribute.iter().find(|found| found.name() == name);
    let of = |input: usize| {
        node.input.get(input).and_then(|name| types.get(name.as_str())).copied().unwrap_or(0)
    };
    match node.op_type() {
        "Cast" => attribute("to").and_then(|to| i32::try_from(to.i()).ok()).unwrap_or(0),
        "Constant" | "ConstantOfShape" => {
            let value = attribute("value").and_then(|value| value.t.as_ref());
            value.map_or(DataType::Float as i32, TensorProto::data_type)
        }
        "QuantizeLinear" => of(2),
        // The type of the scale, and of the values to choose from.
        "DequantizeLinear" | "Where" | "CastLike" => of(1),
        "Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" => DataType::Int64 as i32,
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Not"
        | "Xor" | "IsNaN" | "IsInf" => DataType::Bool as i32,
        _ => of(0),
    }
}

fn element_type(value: &ValueInfoProto) -> i32 {
    match value.r#type.as_ref().and_then(|of| of.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor.elem_type(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use crate::onnx::Model;

    use super::*;

    fn fixture(name: &str) -> GraphProto {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tensorrt");
        Model::load(&std::path::Path::new(folder).join(name)).unwrap().graph
    }

    #[test]
    fn nodes_between_casts_to_half_do_not_compute_in_float32() {
        let graph = fixture("digits_fp16.onnx");
        let float32 = GraphTypes::float32_nodes(&graph);
        for node in &graph.node {
            let is_last_cast = node.op_type() == "Cast" && node.output == ["logits"];
            assert_eq!(float32.contains(node.name()), is_last_cast, "{}", node.name());
        }
        let graph = fixture("digits_fp32.onnx");
        assert_eq!(GraphTypes::float32_nodes(&graph).len(), graph.node.len());
    }

    #[test]
    fn the_first_node_of_a_type_is_named() {
        let types = GraphTypes::of(&fixture("digits_bf16.onnx"));
        let (dtype, place) = types.first_of(&[DataType::Float16, DataType::Bfloat16]).unwrap();
        assert_eq!((dtype, place.op.as_str()), (DataType::Bfloat16, "Cast"));
        assert!(!types.quantized);
        assert!(GraphTypes::of(&fixture("digits_int8_qdq.onnx")).quantized);
    }
}
