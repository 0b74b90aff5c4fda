use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::calibration::{Quantizer, Range};
use crate::onnx::names::node_name;
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, TensorProto, attribute_proto,
};
use crate::onnx::signature::value_info;
use crate::onnx::tensors::from_tensor;
use crate::tensor::{DType, Dim, Shape, Tensor, TensorSpec};

/// Builds a graph of float32 tensors, node by node.
#[derive(Default)]
struct Builder(GraphProto);

impl Builder {
    fn new(inputs: &[(&str, &[usize])], outputs: &[&str]) -> Self {
        let spec = |name: &str, dims: Option<Vec<Dim>>| {
            value_info(&TensorSpec { name: name.to_owned(), dtype: DType::Float32, dims })
        };
        let dims = |shape: &[usize]| shape.iter().map(|extent| Dim::Fixed(*extent)).collect();
        let graph = GraphProto {
            name: Some("graph".into()),
            input: inputs.iter().map(|(name, shape)| spec(name, Some(dims(shape)))).collect(),
            output: outputs.iter().map(|name| spec(name, None)).collect(),
            ..GraphProto::default()
        };
        Self(graph)
    }

    /// A node named as its output.
    fn node(mut self, op: &str, inputs: &[&str], output: &str) -> Self {
        self.0.node.push(NodeProto {
            name: Some(format!("/{output}")),
            op_type: Some(op.into()),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.to_owned()],
            ..NodeProto::default()
        });
        self
    }

    fn with(mut self, name: &str, value: i64) -> Self {
        let attribute = AttributeProto {
            name: Some(name.into()),
            r#type: Some(attribute_proto::AttributeType::Int as i32),
            i: Some(value),
            ..AttributeProto::default()
        };
        self.0.node.last_mut().unwrap().attribute.push(attribute);
        self
    }

    fn with_many(mut self, name: &str, values: &[i64]) -> Self {
        let attribute = AttributeProto {
            name: Some(name.into()),
            r#type: Some(attribute_proto::AttributeType::Ints as i32),
            ints: values.to_vec(),
            ..AttributeProto::default()
        };
        self.0.node.last_mut().unwrap().attribute.push(attribute);
        self
    }

    /// Weights that differ from channel to channel.
    fn weights(mut self, name: &str, shape: &[usize]) -> Self {
        let count: u16 = shape.iter().product::<usize>().try_into().unwrap();
        let values: Vec<f32> = (0..count).map(|at| f32::from(at % 61) / 10.0 - 3.0).collect();
        let tensor = Tensor::from_f32(Shape(shape.to_vec()), &values).unwrap();
        self.0.initializer.push(from_tensor(name, &tensor));
        self
    }

    fn model(self) -> Model {
        let header = ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
            ..ModelProto::default()
        };
        let model = Model::new(header, self.0, Path::new("test.onnx"));
        model.check().unwrap();
        model
    }
}

fn every() -> Rules {
    Rules { min_channels: 1, per_channel: true, ..Rules::default() }
}

fn skipping(pattern: &str) -> Rules {
    Rules { skip: NodePatterns::new([pattern.to_owned()]), ..every() }
}

fn find(model: &Model, rules: &Rules) -> Placement {
    Placement::find(model, rules).unwrap()
}

/// Quantized inputs as `node[input]`, sorted.
fn places(model: &Model, placement: &Placement) -> Vec<String> {
    let all = placement.activations.values().chain(placement.weights.values()).flatten();
    let text =
        |place: &Place| format!("{}[{}]", node_name(&model.graph.node[place.node]), place.input);
    let mut places: Vec<String> = all.map(text).collect();
    places.sort();
    places
}

/// The reason why a node stays as it is.
fn reason<'a>(placement: &'a Placement, node: &str) -> &'a str {
    let decision = placement.decisions.iter().find(|decision| decision.node == node).unwrap();
    assert!(!decision.quantized, "{node} is quantized");
    &decision.reason
}

/// Two convolutions with a shortcut around them, as in residual networks.
fn residual_block(projected: bool) -> Model {
    let builder = Builder::new(&[("x", &[1, 16, 8, 8])], &["y"])
        .weights("w0", &[16, 16, 3, 3])
        .weights("w1", &[16, 16, 3, 3])
        .weights("w2", &[16, 16, 1, 1])
        .weights("scale", &[16])
        .node("Relu", &["x"], "r")
        .node("Conv", &["r", "w0"], "c0")
        .node("Relu", &["c0"], "r0")
        .node("Conv", &["r0", "w1"], "c1")
        .node("BatchNormalization", &["c1", "scale", "scale", "scale", "scale"], "n1");
    let builder = if projected {
        builder.node("Conv", &["r", "w2"], "s").node("Add", &["n1", "s"], "a")
    } else {
        builder.node("Add", &["n1", "r"], "a")
    };
    builder.node("Relu", &["a"], "y").model()
}

#[test]
fn layers_take_inputs_and_weights_quantized_and_additions_their_shortcut() {
    let model = residual_block(false);
    let placement = find(&model, &every());
    assert_eq!(places(&model, &placement), ["/a[1]", "/c0[0]", "/c0[1]", "/c1[0]", "/c1[1]"]);
    // One scale for the tensor that a layer and the shortcut read.
    assert_eq!(placement.activations["r"].len(), 2);
    let projected = residual_block(true);
    let placement = find(&projected, &every());
    // The deeper branch stays as it is, whatever the order in the file.
    assert!(places(&projected, &placement).contains(&"/a[1]".to_owned()));
    assert!(!places(&projected, &placement).contains(&"/a[0]".to_owned()));
}

#[test]
fn an_addition_to_a_layer_that_is_kept_is_kept() {
    let model = residual_block(false);
    let placement = find(&model, &skipping("/c1"));
    assert_eq!(places(&model, &placement), ["/c0[0]", "/c0[1]"]);
    assert_eq!(reason(&placement, "/c1"), "`skip` names `/c1`");
    assert_eq!(reason(&placement, "/a"), "the layer that it adds to is not quantized");
}

#[test]
fn first_and_last_layers_may_be_kept() {
    let model = residual_block(false);
    let placement = find(&model, &Rules { keeps_first: true, ..every() });
    assert_eq!(places(&model, &placement), ["/a[1]", "/c1[0]", "/c1[1]"]);
    let placement = find(&model, &Rules { keeps_last: true, ..every() });
    assert_eq!(places(&model, &placement), ["/c0[0]", "/c0[1]"]);
}

#[test]
fn weights_are_quantized_along_their_output_channels() {
    let model = Builder::new(&[("x", &[1, 16, 8, 8])], &["g", "t", "m"])
        .weights("w", &[32, 16, 3, 3])
        .weights("wt", &[16, 8, 2, 2])
        .weights("wg", &[10, 16])
        .weights("wm", &[16, 4])
        .node("Conv", &["x", "w"], "c")
        .node("ConvTranspose", &["x", "wt"], "t")
        .node("GlobalAveragePool", &["x"], "p")
        .node("Flatten", &["p"], "f")
        .node("Gemm", &["f", "wg"], "g")
        .with("transB", 1)
        .node("MatMul", &["f", "wm"], "m")
        .model();
    let placement = find(&model, &every());
    let axes: Vec<(&str, Option<usize>)> =
        placement.weights.keys().map(|weight| (weight.tensor.as_str(), weight.axis)).collect();
    assert_eq!(axes, [("w", Some(0)), ("wt", Some(1)), ("wg", Some(0)), ("wm", Some(1))]);
    let whole = find(&model, &Rules { grid: Grid::Fp8E4m3, ..every() });
    assert!(whole.weights.keys().all(|weight| weight.axis.is_none()));
}

#[test]
fn both_factors_of_a_computed_product_are_quantized() {
    let model = Builder::new(&[("q", &[2, 16, 16]), ("k", &[2, 16, 16])], &["y"])
        .node("MatMul", &["q", "k"], "y")
        .model();
    assert_eq!(places(&model, &find(&model, &every())), ["/y[0]", "/y[1]"]);
}

#[test]
fn poolings_beside_layers_are_quantized_and_the_largest_keeps_the_grid() {
    let model = Builder::new(&[("x", &[1, 16, 8, 8])], &["y"])
        .weights("w0", &[16, 16, 3, 3])
        .weights("w1", &[16, 16, 3, 3])
        .weights("wg", &[16, 16])
        .node("Conv", &["x", "w0"], "c0")
        .node("Relu", &["c0"], "r0")
        .node("MaxPool", &["r0"], "p0")
        .with_many("kernel_shape", &[1, 1])
        .node("Conv", &["p0", "w1"], "c1")
        .node("Relu", &["c1"], "r1")
        .node("GlobalAveragePool", &["r1"], "p1")
        .node("Flatten", &["p1"], "f")
        .node("Gemm", &["f", "wg"], "y")
        .model();
    let placement = find(&model, &every());
    let found = places(&model, &placement);
    assert!(found.contains(&"/p0[0]".to_owned()) && found.contains(&"/p1[0]".to_owned()));
    assert_eq!(placement.source("p0"), "r0");
    assert_eq!(placement.source("f"), "f");
}

#[test]
fn layers_that_are_too_small_are_kept() {
    let model = Builder::new(&[("x", &[1, 3, 8, 8])], &["y", "d"])
        .weights("w0", &[16, 3, 3, 3])
        .weights("w1", &[16, 1, 3, 3])
        .weights("wg", &[16, 10])
        .node("Conv", &["x", "w0"], "c0")
        .node("Conv", &["c0", "w1"], "d")
        .with("group", 16)
        .node("GlobalAveragePool", &["c0"], "p")
        .node("Flatten", &["p"], "f")
        .node("Gemm", &["f", "wg"], "y")
        .model();
    let placement = find(&model, &Rules { min_channels: 16, ..every() });
    assert_eq!(
        reason(&placement, "/y"),
        "16 by 10 channels are too few to gain from 8 bits, by `min_channels: 16`"
    );
    // The first layer and depthwise ones fill the kernels in another way.
    let found = places(&model, &placement);
    assert!(found.contains(&"/c0[0]".to_owned()) && found.contains(&"/d[0]".to_owned()));
}

#[test]
fn what_has_no_quantized_form_is_kept_with_the_reason() {
    let mut model =
        Builder::new(&[("x", &[1, 16, 8, 8]), ("k", &[16, 16, 1, 1])], &["a", "b", "c"])
            .weights("half", &[16, 16, 1, 1])
            .weights("both", &[16, 16])
            .node("Conv", &["x", "k"], "a")
            .node("Conv", &["x", "half"], "b")
            .node("MatMul", &["both", "both"], "c")
            .model();
    model.graph.initializer[0].data_type = Some(10);
    let placement = find(&model, &every());
    assert_eq!(reason(&placement, "/a"), "its weights are computed");
    assert_eq!(reason(&placement, "/b"), "its weights are float16, not float32");
    assert_eq!(reason(&placement, "/c"), "both of its inputs are constants");
    assert!(placement.activations.is_empty() && placement.weights.is_empty());
}

#[test]
fn a_quantized_model_is_refused_with_the_node() {
    let mut model = residual_block(false);
    let placement = find(&model, &every());
    insert(&mut model, &placement, &quantizers(&placement), Grid::Int8).unwrap();
    let error = Placement::find(&model, &every()).unwrap_err();
    insta::assert_snapshot!(
        error,
        @"`test.onnx`: node `w0/DequantizeLinear` (DequantizeLinear): the model is quantized already"
    );
    assert!(error.help().unwrap().contains("before it was quantized"));
}

fn quantizers(placement: &Placement) -> BTreeMap<String, Quantizer> {
    let quantizer = Quantizer::asymmetric(Range { min: -1.0, max: 3.0 });
    placement.activations.keys().map(|tensor| (tensor.clone(), quantizer)).collect()
}

#[test]
fn every_place_reads_a_pair_and_the_model_stays_sound() {
    for grid in [Grid::Int8, Grid::Fp8E4m3] {
        let mut model = residual_block(true);
        model.header.opset_import[0].version = Some(19);
        let signature = model.signature().unwrap();
        let placement = find(&model, &Rules { grid, ..every() });
        let quantizers = placement
            .activations
            .keys()
            .map(|tensor| (tensor.clone(), Quantizer::symmetric(grid, 3.0)))
            .collect();
        let weights = insert(&mut model, &placement, &quantizers, grid).unwrap();
        model.check().unwrap();
        assert_eq!(model.signature().unwrap(), signature);
        assert_eq!(weights.len(), 3);
        for (op, count) in [("QuantizeLinear", 3), ("DequantizeLinear", 6)] {
            let found = model.graph.node.iter().filter(|node| node.op_type() == op).count();
            assert_eq!(found, count, "{op}");
        }
        let conv = model.graph.node.iter().find(|node| node.name() == "/c1").unwrap();
        assert_eq!(conv.input, ["r0/dequantized", "w1/dequantized"]);
        // The float32 weights are gone.
        assert!(model.graph.initializer.iter().all(|tensor| tensor.name() != "w1"));
    }
}

#[test]
fn weights_that_others_read_too_stay_for_them_and_shared_ones_are_stored_once() {
    let mut model = Builder::new(&[("x", &[16, 16])], &["a", "b", "c"])
        .weights("w", &[16, 16])
        .node("MatMul", &["x", "w"], "a")
        .node("MatMul", &["x", "w"], "b")
        .node("Add", &["x", "w"], "c")
        .model();
    let placement = find(&model, &every());
    insert(&mut model, &placement, &quantizers(&placement), Grid::Int8).unwrap();
    model.check().unwrap();
    let names: Vec<&str> = model.graph.initializer.iter().map(TensorProto::name).collect();
    assert!(names.contains(&"w"));
    assert_eq!(names.iter().filter(|name| **name == "w/quantized").count(), 1);
}

#[test]
fn nodes_have_names_of_their_own() {
    let mut model = Builder::new(&[("x", &[16, 16])], &["w/DequantizeLinear", "b"])
        .weights("w", &[16, 16])
        .node("MatMul", &["x", "w"], "w/DequantizeLinear")
        .node("Gemm", &["x", "w"], "b")
        .with("transB", 1)
        .model();
    model.graph.node[0].name = Some("w/DequantizeLinear_2".into());
    let placement = find(&model, &every());
    assert_eq!(placement.weights.len(), 2, "each axis has its own scales");
    insert(&mut model, &placement, &quantizers(&placement), Grid::Int8).unwrap();
    model.check().unwrap();
    let mut names: Vec<&str> = model.graph.node.iter().map(NodeProto::name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}

#[test]
fn the_byte_of_each_weight_is_the_nearest_of_its_channel() {
    let mut model = Builder::new(&[("x", &[2, 3])], &["y"])
        .weights("w", &[3, 2])
        .node("MatMul", &["x", "w"], "y")
        .model();
    let values = [1.0, 0.0, -2.0, 0.0, 0.5, 0.0];
    let tensor = Tensor::from_f32(Shape(vec![3, 2]), &values).unwrap();
    model.graph.initializer[0] = from_tensor("w", &tensor);
    let placement = find(&model, &every());
    let weights = insert(&mut model, &placement, &quantizers(&placement), Grid::Int8).unwrap();
    assert_eq!((weights[0].axis, weights[0].scales, weights[0].zero_channels), (Some(1), 2, 1));
    let get = |name: &str| {
        let tensor = model.graph.initializer.iter().find(|tensor| tensor.name() == name).unwrap();
        model.values(tensor).unwrap().to_f64()
    };
    assert_eq!(get("w/quantized"), [64.0, 0.0, -127.0, 0.0, 32.0, 0.0]);
    let scales = get("w/scale");
    assert!((scales[0] - 2.0 / 127.0).abs() < 1e-9 && (scales[1] - 1.0).abs() < 1e-9);
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    let mut model = residual_block(false);
    let values = vec![f32::NAN; 16 * 16 * 9];
    let tensor = Tensor::from_f32(Shape(vec![16, 16, 3, 3]), &values).unwrap();
    model.graph.initializer[0] = from_tensor("w0", &tensor);
    let placement = find(&model, &every());
    let error = insert(&mut model, &placement, &quantizers(&placement), Grid::Int8).unwrap_err();
    insta::assert_snapshot!(
        error,
        @"`test.onnx`: tensor `w0`: value 0 is NaN, which no scale can represent"
    );
}

#[test]
fn what_turns_out_to_be_no_float_takes_its_nodes_along() {
    let model = residual_block(false);
    let mut placement = find(&model, &every());
    placement.without(&model, "r0", "`r0` is int64, not float32");
    assert_eq!(places(&model, &placement), ["/a[1]", "/c0[0]", "/c0[1]"]);
    assert_eq!(reason(&placement, "/c1"), "`r0` is int64, not float32");
}
