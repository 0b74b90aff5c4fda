//! Which element types a model computes in, and where each shows first.

use std::collections::BTreeMap;

use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

/// The element types of a model's values, each with the node (or value) that shows it first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GraphTypes {
    first: BTreeMap<DataType, Place>,
    /// Whether it has Q/DQ nodes.
    pub(super) quantized: bool,
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
        self.quantized |= matches!(node.op_type(), "QuantizeLinear" | "DequantizeLinear");
        let name = match node.name() {
            "" => node.output.first().map_or("", String::as_str),
            name => name,
        };
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

fn element_type(value: &ValueInfoProto) -> i32 {
    match value.r#type.as_ref().and_then(|of| of.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor.elem_type(),
        _ => 0,
    }
}
