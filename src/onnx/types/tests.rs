use std::path::Path;

use super::*;
use crate::onnx::check::NodeName;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, ModelProto, OperatorSetIdProto, TensorProto};

fn fixture(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    Model::load(&folder.join(name)).unwrap()
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: outputs.iter().map(|&name| name.into()).collect(),
        ..NodeProto::default()
    }
}

fn int(name: &str, dtype: DataType) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(dtype as i64),
        ..AttributeProto::default()
    }
}

fn value(name: &str, dtype: DataType) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: Some(dtype as i32), shape: None };
    let declared = crate::onnx::proto::TypeProto {
        value: Some(type_proto::Value::TensorType(tensor)),
        denotation: None,
    };
    ValueInfoProto { name: Some(name.into()), r#type: Some(declared), ..Default::default() }
}

/// A model with a float32 `x`, an int64 `i` and a bool `b`, of opset 21.
fn model(node: Vec<NodeProto>) -> Model {
    let input = [("x", DataType::Float), ("i", DataType::Int64), ("b", DataType::Bool)];
    let graph = GraphProto {
        node,
        input: input.map(|(name, dtype)| value(name, dtype)).to_vec(),
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { version: Some(21), ..OperatorSetIdProto::default() };
    let header = ModelProto { opset_import: vec![opset], ..ModelProto::default() };
    Model::new(header, graph, Path::new("test.onnx"))
}

fn defects(model: &Model) -> Vec<Defect> {
    match model.check_types() {
        Ok(()) => Vec::new(),
        Err(OnnxError::Defects { defects, .. }) => defects,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn operators_give_the_types_that_the_standard_says() {
    use DataType::{Bool, Double, Float, Float16, Int64, Uint8};

    let with = |mut node: NodeProto, attribute| {
        node.attribute.push(attribute);
        node
    };
    let model = model(vec![
        node("Shape", &["x"], &["shape"]),
        with(node("Cast", &["i"], &["half"]), int("to", DataType::Float16)),
        node("CastLike", &["i", "x"], &["like"]),
        node("Greater", &["x", "x"], &["more"]),
        node("Where", &["b", "i", "i"], &["chosen"]),
        node("TopK", &["x", "i"], &["most", "places"]),
        node("ConstantOfShape", &["i"], &["zeros"]),
        with(node("EyeLike", &["i"], &["eye"]), int("dtype", DataType::Double)),
        node("EyeLike", &["i"], &["same"]),
        node("RandomNormal", &[], &["drawn"]),
        node("QuantizeLinear", &["x", "x"], &["q"]),
        node("DequantizeLinear", &["q", "half"], &["d"]),
        node("LayerNormalization", &["half", "half"], &["n", "mean"]),
        node("DynamicQuantizeLinear", &["x"], &["dq", "dscale", "dzero"]),
        node("Dropout", &["x"], &["dropped", "mask"]),
    ]);
    let types = model.element_types();
    for (name, dtype) in [
        ("shape", Int64),
        ("half", Float16),
        ("like", Float),
        ("more", Bool),
        ("chosen", Int64),
        ("most", Float),
        ("places", Int64),
        ("zeros", Float),
        ("eye", Double),
        ("same", Int64),
        ("drawn", Float),
        ("q", Uint8),
        ("d", Float16),
        ("n", Float16),
        ("mean", Float),
        ("dq", Uint8),
        ("dscale", Float),
        ("dzero", Uint8),
        ("mask", Bool),
    ] {
        assert_eq!(types.get(name), Some(dtype), "{name}");
    }
    assert_eq!(types.get("nobody"), None);
    assert_eq!(defects(&model), []);
}

#[test]
fn inputs_that_must_agree_and_do_not_are_named() {
    let mut sum = node("Add", &["x", "i"], &["y"]);
    sum.name = Some("sum".into());
    let name = NodeName { name: "sum".into(), op: "Add".into() };
    let found = defects(&model(vec![sum]));
    let types = "float32 and int64".to_owned();
    let (first, second) = ("x".into(), "i".into());
    assert_eq!(found, [Defect::TypesDiffer { node: name, first, second, types }]);
}

#[test]
fn inputs_of_a_type_that_the_operator_does_not_take_are_named() {
    let found = defects(&model(vec![node("Conv", &["i", "i"], &["y"])]));
    assert_eq!(
        found[0].to_string(),
        "node `y` (Conv) reads `i`, which is int64; it takes float32, float16, float64"
    );
}

#[test]
fn wrong_declarations_are_named_and_do_not_count() {
    let mut model = model(vec![node("Relu", &["x"], &["y"]), node("Shape", &["y"], &["z"])]);
    model.graph.output = vec![value("z", DataType::Float)];
    model.graph.value_info = vec![value("y", DataType::Float16)];
    let texts: Vec<String> = defects(&model).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "`y` is declared to be float16, but it is float32",
            "`z` is declared to be float32, but it is int64"
        ]
    );
    assert_eq!(model.element_types().get("y"), Some(DataType::Float));
}

#[test]
fn what_nobody_knows_is_what_it_is_declared_to_be() {
    let mut foreign = node("Twice", &["x"], &["y"]);
    foreign.domain = Some("mine".into());
    let mut model = model(vec![foreign, node("Relu", &["y"], &["z"])]);
    assert_eq!(model.element_types().get("z"), None);
    model.graph.value_info = vec![value("y", DataType::Double)];
    assert_eq!(model.element_types().get("z"), Some(DataType::Double));
}

#[test]
fn bodies_are_typed_with_what_they_capture() {
    let mut model = fixture("onnx/if_capture.onnx");
    assert_eq!(defects(&model), []);
    let choice = model.graph.node.iter().position(|node| node.op_type() == "If").unwrap();
    let output = model.graph.node[choice].output[0].clone();
    assert_eq!(model.element_types().get(&output), Some(DataType::Float));
    // A captured weight of another type breaks the body.
    let weight = &mut model.graph.initializer[0];
    *weight = TensorProto {
        name: weight.name.clone(),
        dims: vec![1],
        data_type: Some(DataType::Int64 as i32),
        int64_data: vec![1],
        ..TensorProto::default()
    };
    assert!(matches!(defects(&model)[..], [Defect::TypesDiffer { .. }, ..]));
}
