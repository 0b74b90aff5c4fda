use std::path::Path;

use super::*;
use crate::onnx::names::int;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use crate::onnx::signature::value_info;
use crate::tensor::{Dim, TensorSpec};

fn fixture(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
    let model = Model::load(&folder.join(format!("{name}.onnx"))).unwrap();
    model.check().unwrap();
    model
}

fn specs(model: &Model) -> Vec<String> {
    let shapes = Shapes::of(model);
    let names = model.graph.node.iter().flat_map(|node| &node.output);
    names
        .map(|name| shapes.spec(name).map_or(format!("{name}?"), |spec| spec.to_string()))
        .collect()
}

#[test]
fn symbols_of_inputs_reach_the_outputs() {
    assert_eq!(
        specs(&fixture("mlp")),
        [
            "h float32 [batch,8]",
            "a float32 [batch,8]",
            "logits float32 [batch,3]",
            "y float32 [batch,3]"
        ]
    );
}

#[test]
fn the_operators_that_keep_a_shape_are_sorted_and_of_the_standard() {
    assert!(rules::KEEPING.is_sorted_by(|a, b| a < b));
    for op in rules::KEEPING {
        assert!(crate::onnx::operators::lookup(op, 26).is_some(), "{op}");
    }
}

#[test]
fn quantization_gives_the_type_that_it_is_asked_for() {
    let values = ["scale", "x"].map(|name| {
        let dims = Some(vec![Dim::Fixed(2); usize::from(name == "x")]);
        value_info(&TensorSpec { name: name.into(), dtype: DType::Float32, dims })
    });
    let node = |op: &str, input: &str, output: &str, dtype: DataType| NodeProto {
        op_type: Some(op.into()),
        input: vec![input.into(), "scale".into()],
        output: vec![output.into()],
        attribute: vec![int("output_dtype", dtype as i64)],
        ..NodeProto::default()
    };
    let graph = GraphProto {
        name: Some("g".into()),
        input: values.to_vec(),
        node: vec![
            node("QuantizeLinear", "x", "q", DataType::Int8),
            node("DequantizeLinear", "q", "y", DataType::Float16),
        ],
        output: vec![value_info(&TensorSpec {
            name: "y".into(),
            dtype: DType::Float16,
            dims: Some(vec![Dim::Fixed(2)]),
        })],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { version: Some(23), ..OperatorSetIdProto::default() };
    let header =
        ModelProto { ir_version: Some(11), opset_import: vec![opset], ..ModelProto::default() };
    let model = Model::new(header, graph, Path::new("test.onnx"));
    model.check().unwrap();
    model.check_types().unwrap();
    assert_eq!(specs(&model), ["q int8 [2]", "y float16 [2]"]);
}
