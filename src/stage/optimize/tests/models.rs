//! Small models made in place, and what the CPU backend makes of them.

use std::path::Path;

use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};
use crate::onnx::{Model, data_type, from_tensor};
use crate::tensor::{DType, Tensor};

/// A float32 tensor of a model: its name and its axes, of which words are symbols: `x 2 batch 4`.
fn value(text: &str, dtype: DType) -> ValueInfoProto {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap().to_owned();
    let dim = |word: &str| Dimension {
        value: Some(match word.parse() {
            Ok(extent) => dimension::Value::DimValue(extent),
            Err(_) => dimension::Value::DimParam(word.to_owned()),
        }),
        denotation: None,
    };
    let shape = (!text.ends_with(" *")).then(|| TensorShapeProto { dim: words.map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: Some(data_type(dtype) as i32), shape };
    ValueInfoProto {
        name: Some(name),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            denotation: None,
        }),
        ..ValueInfoProto::default()
    }
}

/// What [`model`] puts together.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) inputs: &'a [&'a str],
    pub(super) outputs: &'a [&'a str],
    /// One-dimensional unless the name says otherwise: `w 2 3`.
    pub(super) floats: &'a [(&'a str, &'a [f32])],
    pub(super) integers: &'a [(&'a str, &'a [i64])],
    /// `output.. = Operator(input..)`, without the attributes.
    pub(super) nodes: &'a [(&'a str, &'a [(&'a str, Value<'a>)])],
}

#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Floats(&'a [f32]),
    Text(&'static str),
}

fn attribute(name: &str, value: Value<'_>) -> AttributeProto {
    let mut made = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    let kind = match value {
        Value::Int(value) => {
            made.i = Some(value);
            AttributeType::Int
        }
        Value::Float(value) => {
            made.f = Some(value);
            AttributeType::Float
        }
        Value::Ints(values) => {
            made.ints = values.to_vec();
            AttributeType::Ints
        }
        Value::Floats(values) => {
            made.floats = values.to_vec();
            AttributeType::Floats
        }
        Value::Text(text) => {
            made.s = Some(text.as_bytes().into());
            AttributeType::String
        }
    };
    made.r#type = Some(kind as i32);
    made
}

fn node(text: &str, attributes: &[(&str, Value<'_>)]) -> NodeProto {
    let (output, call) = text.split_once(" = ").unwrap();
    let (op, input) = call.strip_suffix(')').unwrap().split_once('(').unwrap();
    let names = |list: &str| match list {
        "" => vec![],
        list => list.split(',').map(|name| name.trim().to_owned()).collect(),
    };
    NodeProto {
        op_type: Some(op.to_owned()),
        name: Some(format!("{op}_{}", output.replace(", ", "_"))),
        input: names(input),
        output: names(output),
        attribute: attributes.iter().map(|(name, value)| attribute(name, *value)).collect(),
        ..NodeProto::default()
    }
}

/// The shape that follows a constant's name, or one axis.
fn named(text: &str, count: usize) -> (String, Vec<usize>) {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap().to_owned();
    let mut shape: Vec<usize> = words.filter_map(|word| word.parse().ok()).collect();
    if shape.is_empty() && !text.ends_with(" scalar") {
        shape.push(count);
    }
    (name, shape)
}

pub(super) fn model(opset: i64, parts: &Parts<'_>) -> Model {
    let floats = parts.floats.iter().map(|(text, values)| {
        let (name, shape) = named(text, values.len());
        from_tensor(&name, &Tensor::from_f32(shape.into(), values).unwrap())
    });
    let integers = parts.integers.iter().map(|(text, values)| {
        let (name, shape) = named(text, values.len());
        from_tensor(&name, &Tensor::from_i64(shape.into(), values).unwrap())
    });
    let float = |text: &&str| value(text, DType::Float32);
    let graph = GraphProto {
        name: Some("test".into()),
        node: parts.nodes.iter().map(|(text, attributes)| node(text, attributes)).collect(),
        input: parts.inputs.iter().map(float).collect(),
        output: parts.outputs.iter().map(float).collect(),
        initializer: floats.chain(integers).collect(),
        ..GraphProto::default()
    };
    let import = OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) };
    let header =
        ModelProto { ir_version: Some(8), opset_import: vec![import], ..ModelProto::default() };
    let made = Model::new(header, graph, Path::new("test.onnx"));
    made.check().unwrap();
    made
}

pub(super) fn ops(model: &Model) -> Vec<&str> {
    model.graph.node.iter().map(NodeProto::op_type).collect()
}

/// That two models give the same on inputs that look random: within `limit` of the result's size.
pub(super) fn assert_same(before: &Model, after: &Model, limit: f64) {
    after.check().unwrap();
    let outputs = |model: &Model, seed: u64| {
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        super::outputs(&folder.path().join("model.onnx"), seed)
    };
    for seed in 1..4 {
        let (expected, found) = (outputs(before, seed), outputs(after, seed));
        assert_eq!(expected.len(), found.len());
        for ((shape, expected), (found_shape, found)) in expected.iter().zip(&found) {
            assert_eq!(shape, found_shape);
            for (expected, found) in expected.iter().zip(found) {
                let near = (expected - found).abs() <= limit * expected.abs().max(1.0);
                let same = expected.to_bits() == found.to_bits();
                assert!(same || near, "{expected} {found}: {:?}", ops(after));
            }
        }
    }
}
