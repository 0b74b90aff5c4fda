//! Graphs are made here, node by node; what must hold of every lowered graph is in [`lowered`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use super::*;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto, type_proto,
};
use crate::onnx::signature::value_info;
use crate::onnx::tensors::{self, from_tensor};
use crate::onnx::walk;
use crate::tensor::{DType, Dim, Shape, Tensor, TensorSpec};

mod borders;
mod kept;
mod random;

/// A node from `Op in in > out out`; its name is its first output.
pub(super) fn node(text: &str) -> NodeProto {
    let (before, after) = text.split_once(" > ").unwrap();
    let mut words = before.split(' ').map(|word| if word == "_" { "" } else { word });
    let output: Vec<String> = after.split(' ').map(Into::into).collect();
    NodeProto {
        name: Some(output[0].clone()),
        op_type: Some(words.next().unwrap().into()),
        input: words.map(Into::into).collect(),
        output,
        ..NodeProto::default()
    }
}

pub(super) fn with(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(value),
        ..AttributeProto::default()
    });
    node
}

pub(super) fn cast(text: &str, to: DataType) -> NodeProto {
    with(node(&format!("Cast {text}")), "to", to as i64)
}

pub(super) fn nodes(texts: &[&str]) -> Vec<NodeProto> {
    texts.iter().map(|text| node(text)).collect()
}

pub(super) fn weight(name: &str, values: &[f32]) -> TensorProto {
    from_tensor(name, &Tensor::from_f32(Shape(vec![values.len()]), values).unwrap())
}

pub(super) fn value(name: &str, dtype: DType) -> ValueInfoProto {
    let dims = Some(vec![Dim::Symbol("n".into()), Dim::Fixed(2)]);
    value_info(&TensorSpec { name: name.into(), dtype, dims })
}

/// Inputs and outputs are float32, or of the type behind a colon.
fn values(text: &str) -> Vec<ValueInfoProto> {
    let value = |word: &str| match word.split_once(':') {
        None => value(word, DType::Float32),
        Some((name, dtype)) => value(name, dtype.parse().unwrap()),
    };
    text.split(' ').map(value).collect()
}

pub(super) fn model(
    inputs: &str,
    outputs: &str,
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
) -> Model {
    let graph = GraphProto {
        name: Some("test".into()),
        node: nodes,
        input: values(inputs),
        output: values(outputs),
        initializer: weights,
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { version: Some(17), ..OperatorSetIdProto::default() };
    let header =
        ModelProto { ir_version: Some(8), opset_import: vec![opset], ..ModelProto::default() };
    let model = Model::new(header, graph, Path::new("test.onnx"));
    model.check().unwrap();
    model.check_types().unwrap();
    model
}

pub(super) static FP16: LazyLock<Settings<'static>> = LazyLock::new(|| {
    static NONE: LazyLock<NodePatterns> = LazyLock::new(NodePatterns::default);
    Settings { half: Half::Float16, io: Io::Keep, keep: &NONE, observed: None }
});

fn has_no_namesakes(model: &Model) -> bool {
    let mut names: Vec<&str> = model.graph.node.iter().map(NodeProto::name).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

/// Lowers a model and checks what holds of each.
pub(super) fn lowered(model: &Model, settings: &Settings<'_>) -> (Model, Lowered) {
    let mut low = model.clone();
    let report = lower(&mut low, settings).unwrap();
    assert_eq!(report.nodes.len(), model.graph.node.len());
    assert_eq!(report.counts.low + report.counts.float32 + report.counts.other, report.nodes.len());
    let is_cast = |node: &&NodeProto| node.op_type() == "Cast";
    let before = model.graph.node.iter().filter(is_cast).count();
    assert!(low.graph.node.iter().filter(is_cast).count() <= before + report.casts);
    casts_are_few(model, &low);
    names_are_declared(&low);
    assert!(has_no_namesakes(&low) || !has_no_namesakes(model), "two nodes of one name");
    if settings.io == Io::Keep {
        assert_eq!(low.signature().unwrap(), model.signature().unwrap());
    }
    let again = &mut model.clone();
    assert_eq!(lower(again, settings).unwrap(), report);
    assert_eq!(again.encode(), low.encode(), "the bytes differ");
    (low, report)
}

/// No constant is cast, no cast is undone by the next, and no tensor is cast twice to one type.
fn casts_are_few(model: &Model, low: &Model) {
    let own: BTreeSet<&String> = model.graph.node.iter().flat_map(|node| &node.output).collect();
    let is_new = |node: &&NodeProto| node.op_type() == "Cast" && !own.contains(&node.output[0]);
    let casts: Vec<&NodeProto> = low.graph.node.iter().filter(is_new).collect();
    let constants = low.constants();
    let made: BTreeMap<&String, &&NodeProto> =
        casts.iter().map(|node| (&node.output[0], node)).collect();
    let mut seen = BTreeSet::new();
    for cast in &casts {
        let (from, to) = (&cast.input[0], cast.attribute[0].i());
        assert!(!constants.contains_key(from.as_str()), "{from} is constant");
        assert!(seen.insert((from, to)), "{from} is cast twice");
        assert!(!made.contains_key(from), "{from} is a cast already");
    }
    for body in low.graph.node.iter().flat_map(walk::subgraphs) {
        assert!(body.node.iter().all(|node| node.op_type() != "Cast"));
    }
}

fn names_are_declared(low: &Model) {
    let names: BTreeSet<&str> =
        low.graph.node.iter().flat_map(|n| &n.output).map(|n| &**n).collect();
    for declared in &low.graph.value_info {
        assert!(names.contains(declared.name()), "{} is nowhere", declared.name());
    }
}

/// The operators in order, low ones with a `*`.
pub(super) fn shown(model: &Model, half: Half) -> String {
    let types = model.element_types();
    let show = |node: &NodeProto| {
        let low = node.input.iter().chain(&node.output);
        let low = node.op_type() != "Cast"
            && low.into_iter().any(|name| types.get(name) == Some(half.data_type()));
        format!("{}{}", node.op_type(), if low { "*" } else { "" })
    };
    model.graph.node.iter().map(show).collect::<Vec<_>>().join(" ")
}

pub(super) fn reason<'a>(report: &'a Lowered, node: &str) -> &'a str {
    report.nodes.iter().find(|found| found.node == node).unwrap().reason
}

pub(super) fn constant_type(model: &Model, name: &str) -> Option<DType> {
    tensors::dtype(model.constants().get(name)?.data_type())
}

fn declared(values: &[ValueInfoProto], name: &str) -> Option<DType> {
    let value = values.iter().find(|value| value.name() == name)?;
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => tensors::dtype(tensor.elem_type()),
        _ => None,
    }
}

fn fixture(folder: &str, name: &str) -> Model {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let model = Model::load(&fixtures.join(folder).join(format!("{name}.onnx"))).unwrap();
    model.check().unwrap();
    model
}

#[test]
fn every_fixture_stays_well_typed_in_both_types_and_with_both_sorts_of_io() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut count = 0;
    for folder in ["onnx", "cpu", "tensorrt", "tensorrt/light", "serving"] {
        let Ok(entries) = std::fs::read_dir(fixtures.join(folder)) else { continue };
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "onnx")) {
            let Ok(model) = Model::load(file) else { continue };
            let is_wrong = file.file_stem().unwrap().to_str().unwrap().starts_with("wrong_");
            if is_wrong || model.check().is_err() || model.opset() < Some(13) {
                continue;
            }
            model.check_types().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            count += 1;
            for half in [Half::Float16, Half::BFloat16] {
                for io in [Io::Keep, Io::Convert] {
                    lowered(&model, &Settings { half, io, ..*FP16 });
                }
            }
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn a_classifier_is_low_but_for_its_softmax() {
    let model = fixture("onnx", "mlp");
    let (low, report) = lowered(&model, &FP16);
    assert_eq!(shown(&low, Half::Float16), "Cast Gemm* Relu* Gemm* Cast Softmax");
    assert_eq!((report.counts.low, report.counts.float32, report.casts), (3, 1, 2));
    assert_eq!(reason(&report, "prob"), "operator");
    assert_eq!(constant_type(&low, "w1"), Some(DType::Float16));
}

#[test]
fn inputs_and_outputs_are_of_16_bits_where_that_is_asked_for() {
    let model = fixture("onnx", "mlp");
    let (low, report) = lowered(&model, &Settings { io: Io::Convert, ..*FP16 });
    assert_eq!(shown(&low, Half::Float16), "Gemm* Relu* Gemm* Cast Softmax Cast");
    assert_eq!(report.casts, 2);
    let signature = low.signature().unwrap();
    assert_eq!(signature.inputs[0].to_string(), "x float16 [batch,4]");
    assert_eq!(signature.outputs[0].to_string(), "y float16 [batch,3]");
}
