//! Models of old opsets give the same after they were brought to later ones.

use super::models::Value::{Float, Floats, Int, Ints, Text};
use super::models::{Parts, Value, assert_same, model, ops};
use super::*;
use crate::onnx::OnnxError;

type Case<'a> = (i64, &'a str, &'a [(&'a str, Value<'a>)]);

/// One node of `x`, which has the axes 2, 3, 4.
fn one(opset: i64, node: &str, attributes: &[(&str, Value<'_>)]) -> Model {
    model(
        opset,
        &Parts {
            inputs: &["x 2 3 4"],
            outputs: &["y *"],
            nodes: &[(node, attributes)],
            ..Parts::default()
        },
    )
}

#[test]
fn each_change_of_an_operator_keeps_what_it_computes() {
    let cases: [Case<'_>; 24] = [
        (9, "y = Clip(x)", &[("min", Float(-0.25))]),
        (9, "y = Clip(x)", &[("max", Float(0.25)), ("min", Float(-0.25))]),
        (9, "y = Pad(x)", &[("pads", Ints(&[0, 1, 0, 1, 0, 2])), ("value", Float(0.5))]),
        (9, "y = Pad(x)", &[("pads", Ints(&[0, 0, 0, 1, 0, 2]))]),
        (9, "y = Pad(x)", &[("pads", Ints(&[0, 1, 1, 0, 1, 1])), ("mode", Text("reflect"))]),
        (
            9,
            "y = Slice(x)",
            &[("starts", Ints(&[1, 0])), ("ends", Ints(&[3, -1])), ("axes", Ints(&[1, 2]))],
        ),
        (9, "y = Slice(x)", &[("starts", Ints(&[1])), ("ends", Ints(&[2])), ("axes", Ints(&[0]))]),
        (9, "y, rest = Split(x)", &[("axis", Int(2)), ("split", Ints(&[1, 3]))]),
        (9, "y, rest = Split(x)", &[("axis", Int(2))]),
        (9, "y = Unsqueeze(x)", &[("axes", Ints(&[0, 3]))]),
        (9, "y = ReduceMean(x)", &[("axes", Ints(&[1, 2]))]),
        (9, "y = ReduceSum(x)", &[("axes", Ints(&[1])), ("keepdims", Int(0))]),
        (9, "y = ReduceMax(x)", &[]),
        (11, "y = ReduceMin(x)", &[("axes", Ints(&[-1]))]),
        (11, "y = ReduceL1(x)", &[("axes", Ints(&[-1]))]),
        (11, "y = ReduceL2(x)", &[("axes", Ints(&[0]))]),
        (11, "y = ReduceProd(x)", &[("axes", Ints(&[2]))]),
        (11, "y = ReduceSumSquare(x)", &[("axes", Ints(&[2]))]),
        (11, "y = ReduceLogSumExp(x)", &[("axes", Ints(&[2]))]),
        (9, "y = Softmax(x)", &[]),
        (9, "y = Softmax(x)", &[("axis", Int(2))]),
        (11, "y = Softmax(x)", &[("axis", Int(-2))]),
        (9, "y = LogSoftmax(x)", &[("axis", Int(0))]),
        (9, "y = Dropout(x)", &[("ratio", Float(0.5))]),
    ];
    for (from, node, attributes) in cases {
        let before = one(from, node, attributes);
        for to in [13, 19, 21, 26] {
            let mut after = before.clone();
            after.raise_opset(to).unwrap();
            assert_eq!(after.opset(), Some(to), "{node}");
            assert_same(&before, &after, 1e-6);
        }
    }
}

#[test]
fn a_softmax_over_one_long_axis_stays_one_node() {
    let flat = |inputs| Parts {
        inputs,
        outputs: &["y *"],
        nodes: &[("y = Softmax(x)", &[])],
        ..Parts::default()
    };
    for inputs in [&["x batch 5"], &["x batch 5 1 1"], &["x batch 1 1 5"]] {
        let before = model(9, &flat(inputs));
        let mut after = before.clone();
        after.raise_opset(13).unwrap();
        assert_eq!(ops(&after), ["Softmax"]);
        assert_same(&before, &after, 1e-6);
    }
    let before = model(9, &flat(&["x batch 5 width 1"]));
    let mut after = before.clone();
    after.raise_opset(13).unwrap();
    assert_eq!(ops(&after), ["Shape", "Flatten", "Softmax", "Reshape"]);
    assert_same(&before, &after, 1e-6);
}

#[test]
fn an_upsampling_becomes_a_resize() {
    let parts = Parts {
        inputs: &["x 1 1 2 3"],
        outputs: &["y *"],
        nodes: &[("y = Upsample(x)", &[("scales", Floats(&[1.0, 1.0, 2.0, 2.0]))])],
        ..Parts::default()
    };
    for to in [11, 13, 21] {
        let mut after = model(8, &parts);
        after.raise_opset(to).unwrap();
        assert_eq!(ops(&after), ["Resize"]);
        after.check().unwrap();
        let folder = tempfile::tempdir().unwrap();
        after.save(folder.path()).unwrap();
        let x = sample(&after.signature().unwrap().inputs[0], 1).to_f64();
        let (shape, y) = outputs(&folder.path().join("model.onnx"), 1).remove(0);
        assert_eq!(shape, Shape(vec![1, 1, 4, 6]));
        let expected: Vec<f64> = (0..24).map(|at| x[at / 12 * 3 + at % 6 / 2]).collect();
        assert_eq!(y, expected);
    }
}

#[test]
fn the_number_of_the_largest_becomes_an_input() {
    let mut after = one(9, "y, at = TopK(x)", &[("k", Int(2))]);
    after.raise_opset(21).unwrap();
    after.check().unwrap();
    let folder = tempfile::tempdir().unwrap();
    after.save(folder.path()).unwrap();
    let x = sample(&after.signature().unwrap().inputs[0], 1).to_f64();
    let (shape, y) = outputs(&folder.path().join("model.onnx"), 1).remove(0);
    assert_eq!(shape, Shape(vec![2, 3, 2]));
    for (row, largest) in x.chunks(4).zip(y.chunks(2)) {
        let mut sorted = row.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(sorted[..2], *largest);
    }
}

#[test]
fn normalizations_lose_the_attribute_that_is_gone() {
    let part: &[f32] = &[0.5, 1.5, 1.0];
    let before = model(
        8,
        &Parts {
            inputs: &["x 2 3 4"],
            outputs: &["y *"],
            floats: &[("s", part), ("b", part), ("m", part), ("v", part)],
            nodes: &[("y = BatchNormalization(x, s, b, m, v)", &[("spatial", Int(1))])],
            ..Parts::default()
        },
    );
    let mut after = before.clone();
    after.raise_opset(21).unwrap();
    assert_same(&before, &after, 1e-6);
}

fn refusal(model: &mut Model, to: i64) -> String {
    let before = model.encode();
    let error = model.raise_opset(to).unwrap_err();
    assert_eq!(model.encode(), before, "a refused model stays as it was");
    assert!(matches!(error, OnnxError::Opset { .. }) && error.help().is_some());
    error.to_string()
}

#[test]
fn what_cannot_be_converted_is_named() {
    let mut old = one(9, "y = Relu(x)", &[]);
    assert_eq!(
        refusal(&mut old, 7),
        "`test.onnx` cannot be brought from opset 9 to 7: a model is only brought to later opsets"
    );
    assert!(refusal(&mut old, 99).ends_with("opsets up to 26 are known"));
    let mut dropout = model(
        9,
        &Parts {
            inputs: &["x 2 3"],
            outputs: &["y *", "mask *"],
            nodes: &[("y, mask = Dropout(x)", &[])],
            ..Parts::default()
        },
    );
    assert_eq!(
        refusal(&mut dropout, 13),
        "`test.onnx` cannot be brought from opset 9 to 13: node `Dropout_y_mask` (Dropout) \
         changed in opset 10: its mask, which has another element type, is read"
    );
}

#[test]
fn the_version_of_the_format_follows_and_initializers_are_no_inputs_any_more() {
    let mut raised = Model::load(&fixture("mlp.onnx")).unwrap();
    let signature = raised.signature().unwrap();
    raised.header.ir_version = Some(3);
    raised.header.opset_import[0].version = Some(9);
    let mut listed = raised.graph.input[0].clone();
    listed.name = Some("w1".into());
    raised.graph.input.push(listed);
    raised.raise_opset(21).unwrap();
    assert_eq!(raised.header.ir_version, Some(10));
    assert_eq!(raised.graph.input.len(), 1);
    assert_eq!(raised.signature().unwrap(), signature);
}
