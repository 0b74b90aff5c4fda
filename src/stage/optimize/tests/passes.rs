//! Each pass alone keeps what a model computes, does what it is for, and leaves alone what only
//! looks like it.

use super::models::Value::{self, Float, Int, Ints};
use super::models::{Parts, assert_same, model, ops};
use super::*;
use crate::onnx::passes::PASSES;

/// Runs these passes until nothing changes and holds the result to the model's.
fn only(names: &[PassName], before: &Model, limit: f64) -> Model {
    let skip = PASSES.iter().map(|pass| pass.name()).filter(|name| !names.contains(name));
    let skip: BTreeSet<PassName> = skip.collect();
    let mut after = before.clone();
    let cancel = CancelToken::default();
    let evaluator = evaluate::CpuEvaluator { cancel: &cancel };
    crate::onnx::passes::run_without(&mut after, &evaluator, &skip).unwrap();
    assert_eq!(after.signature().unwrap(), before.signature().unwrap());
    assert_same(before, &after, limit);
    after
}

fn exact(names: &[PassName], before: &Model) -> Vec<String> {
    ops(&only(names, before, 0.0)).into_iter().map(str::to_owned).collect()
}

#[test]
fn equal_nodes_become_one() {
    let before = model(
        17,
        &Parts {
            inputs: &["x 2 3"],
            outputs: &["y *", "z *"],
            nodes: &[
                ("a = Softmax(x)", &[("axis", Int(1))]),
                ("b = Softmax(x)", &[("axis", Int(1))]),
                ("c = Softmax(x)", &[("axis", Int(0))]),
                ("d = Relu(a)", &[]),
                ("e = Relu(b)", &[]),
                ("y = Add(d, e)", &[]),
                ("z = Add(d, c)", &[]),
            ],
            ..Parts::default()
        },
    );
    let found = exact(&[PassName::MergeNodes], &before);
    assert_eq!(found, ["Softmax", "Softmax", "Relu", "Add", "Add"]);
}

#[test]
fn random_nodes_and_nodes_that_give_an_output_are_not_merged() {
    let mut random = model(
        17,
        &Parts {
            inputs: &["x 2 3"],
            outputs: &["y *"],
            nodes: &[
                ("a = RandomNormalLike(x)", &[]),
                ("b = RandomNormalLike(x)", &[]),
                ("y = Sub(a, b)", &[]),
            ],
            ..Parts::default()
        },
    );
    let cancel = CancelToken::default();
    crate::onnx::passes::run(&mut random, &evaluate::CpuEvaluator { cancel: &cancel }).unwrap();
    assert_eq!(ops(&random).len(), 3);
    let twins = model(
        17,
        &Parts {
            inputs: &["x 2 3"],
            outputs: &["y *", "z *"],
            nodes: &[("y = Relu(x)", &[]), ("z = Relu(x)", &[])],
            ..Parts::default()
        },
    );
    assert_eq!(exact(&[PassName::MergeNodes], &twins), ["Relu", "Relu"]);
}

#[test]
fn shapes_are_computed_ahead_and_symbols_stay_free() {
    let before = model(
        17,
        &Parts {
            inputs: &["x batch 2 6"],
            outputs: &["y *", "z *"],
            integers: &[("zero", &[0]), ("two", &[2]), ("three", &[3]), ("last scalar", &[2])],
            nodes: &[
                ("s = Shape(x)", &[]),
                ("n = Gather(s, zero)", &[]),
                ("w = Gather(s, last)", &[]),
                ("u = Unsqueeze(w, zero)", &[]),
                ("half = Div(u, two)", &[]),
                ("target = Concat(n, two, two, half)", &[("axis", Int(0))]),
                ("y = Reshape(x, target)", &[]),
                ("rest = Mul(half, two)", &[]),
                ("flat = Concat(n, rest, two)", &[("axis", Int(0))]),
                ("z = Reshape(x, flat)", &[]),
            ],
            ..Parts::default()
        },
    );
    let after = only(&[PassName::FoldShapes, PassName::RemoveDeadNodes], &before, 0.0);
    assert_eq!(ops(&after), ["Reshape", "Reshape"]);
    let shape = |index: usize| {
        let name = &after.graph.node[index].input[1];
        let found = after.graph.initializer.iter().find(|tensor| tensor.name() == name);
        after.values(found.unwrap()).unwrap().to_f64()
    };
    assert_eq!((shape(0), shape(1)), (vec![0.0, 2.0, 2.0, 3.0], vec![0.0, 6.0, 2.0]));
    assert_eq!(after.signature().unwrap().inputs[0].to_string(), "x float32 [batch,2,6]");
}

#[test]
fn nodes_that_change_nothing_go() {
    let before = model(
        17,
        &Parts {
            inputs: &["x batch 2 3"],
            outputs: &["y *"],
            integers: &[
                ("same", &[0, 2, -1]),
                ("ones", &[1, 1, 1]),
                ("zeros", &[0, 0, 0, 0, 0, 0]),
                ("start", &[0]),
                ("end", &[i64::MAX]),
                ("axis", &[0]),
            ],
            nodes: &[
                ("a = Reshape(x, same)", &[]),
                ("b = Transpose(a)", &[("perm", Ints(&[0, 1, 2]))]),
                ("c = Cast(b)", &[("to", Int(1))]),
                ("d = Sum(c)", &[]),
                ("e = Concat(d)", &[("axis", Int(1))]),
                ("f = Expand(e, ones)", &[]),
                ("g = Pad(f, zeros)", &[]),
                ("h = Slice(g, start, end, axis)", &[]),
                ("i = Tile(h, ones)", &[]),
                ("j = Max(i)", &[]),
                ("y = Relu(j)", &[]),
            ],
            ..Parts::default()
        },
    );
    assert_eq!(exact(&[PassName::RemoveNoOps], &before), ["Relu"]);
}

#[test]
fn nodes_that_change_something_stay() {
    let before = model(
        17,
        &Parts {
            inputs: &["x 1 3 3"],
            outputs: &["y *"],
            integers: &[
                ("minus", &[-1]),
                ("far", &[i64::MIN + 1]),
                ("axis", &[1]),
                ("more", &[2, 1, 1]),
            ],
            nodes: &[
                ("a = Slice(x, minus, far, axis, minus)", &[]),
                ("b = Transpose(a)", &[("perm", Ints(&[0, 2, 1]))]),
                ("y = Expand(b, more)", &[]),
            ],
            ..Parts::default()
        },
    );
    assert_eq!(exact(&[PassName::RemoveNoOps], &before), ["Slice", "Transpose", "Expand"]);
}

#[test]
fn neutral_arithmetic_goes_and_what_only_looks_neutral_stays() {
    let arithmetic = |nodes: &[(&str, &[(&str, models::Value<'_>)])]| {
        model(
            17,
            &Parts {
                inputs: &["x batch 3"],
                outputs: &["y *"],
                floats: &[
                    ("one scalar", &[1.0]),
                    ("ones", &[1.0; 3]),
                    ("wide 2 1 1", &[1.0; 2]),
                    ("zero scalar", &[0.0]),
                    ("minus_zero scalar", &[-0.0]),
                ],
                nodes,
                ..Parts::default()
            },
        )
    };
    let neutral = arithmetic(&[
        ("a = Mul(one, x)", &[]),
        ("b = Div(a, ones)", &[]),
        ("c = Sub(b, zero)", &[]),
        ("d = Add(minus_zero, c)", &[]),
        ("e = Pow(d, one)", &[]),
        ("y = Relu(e)", &[]),
    ]);
    assert_eq!(exact(&[PassName::RemoveNeutral], &neutral), ["Relu"]);
    for node in [
        "a = Add(x, zero)",
        "a = Sub(zero, x)",
        "a = Div(one, x)",
        "a = Mul(x, wide)",
        "a = Sub(x, minus_zero)",
    ] {
        let other = arithmetic(&[(node, &[]), ("y = Relu(a)", &[])]);
        assert_eq!(exact(&[PassName::RemoveNeutral], &other).len(), 2, "{node}");
    }
}

#[test]
fn transpositions_in_a_row_become_one_or_none() {
    let before = model(
        17,
        &Parts {
            inputs: &["x 2 3 batch"],
            outputs: &["y *", "z *"],
            nodes: &[
                ("a = Transpose(x)", &[("perm", Ints(&[1, 2, 0]))]),
                ("b = Transpose(a)", &[("perm", Ints(&[1, 2, 0]))]),
                ("c = Transpose(b)", &[("perm", Ints(&[1, 2, 0]))]),
                ("y = Relu(c)", &[]),
                ("z = Transpose(b)", &[]),
            ],
            ..Parts::default()
        },
    );
    let passes = [PassName::MergeTransposes, PassName::RemoveNoOps, PassName::RemoveDeadNodes];
    assert_eq!(exact(&passes, &before), ["Relu", "Transpose"]);
}

#[test]
fn reshapings_in_a_row_become_one() {
    let before = model(
        17,
        &Parts {
            inputs: &["x batch 2 6"],
            outputs: &["y *", "z *"],
            integers: &[("one", &[1]), ("flat", &[-1, 4]), ("deep", &[0, 3, 2, 2])],
            nodes: &[
                ("a = Flatten(x)", &[]),
                ("b = Unsqueeze(a, one)", &[]),
                ("c = Squeeze(b, one)", &[]),
                ("y = Reshape(c, deep)", &[]),
                ("d = Flatten(x)", &[("axis", Int(2))]),
                ("z = Reshape(d, flat)", &[]),
            ],
            ..Parts::default()
        },
    );
    let passes = [PassName::MergeReshapes, PassName::RemoveDeadNodes];
    assert_eq!(exact(&passes, &before), ["Reshape", "Reshape"]);
}

#[test]
fn scales_of_channels_go_into_the_weights_before_them() {
    let three: &[f32] = &[0.5, -1.5, 2.0];
    let positive: &[f32] = &[0.5, 1.5, 2.0];
    let before = model(
        17,
        &Parts {
            inputs: &["x batch 2 4 4"],
            outputs: &["y *"],
            floats: &[
                ("w 3 2 1 1", &[0.5, 1.0, -1.0, 0.25, 2.0, -0.5]),
                ("s", three),
                ("m", three),
                ("v", positive),
                ("scale 3 1 1", three),
                ("shift 1 3 1 1", positive),
                ("all scalar", &[0.5]),
                ("t 3 1 2 2", &[0.5, 1.0, -1.0, 0.25, 2.0, -0.5, 0.125, 1.5, 1.0, 1.0, -2.0, 0.5]),
                ("g 12 3", &[three, positive, three, positive].concat().repeat(3)),
            ],
            nodes: &[
                ("c = Conv(x, w)", &[]),
                ("n = BatchNormalization(c, s, s, m, v)", &[("epsilon", Float(0.01))]),
                ("k = Mul(n, scale)", &[]),
                ("a = Add(shift, k)", &[]),
                ("r = Relu(a)", &[]),
                ("n2 = BatchNormalization(r, s, s, m, v)", &[]),
                ("k2 = Mul(scale, n2)", &[]),
                ("a2 = Sub(k2, shift)", &[]),
                ("t1 = ConvTranspose(a2, t)", &[("group", Int(3)), ("strides", Ints(&[2, 2]))]),
                ("n3 = BatchNormalization(t1, s, s, m, v)", &[]),
                ("k3 = Mul(n3, all)", &[]),
                (
                    "p = AveragePool(k3)",
                    &[("kernel_shape", Ints(&[4, 4])), ("strides", Ints(&[4, 4]))],
                ),
                ("f = Flatten(p)", &[]),
                ("q = Gemm(f, g)", &[]),
                ("y = BatchNormalization(q, s, s, m, v)", &[]),
            ],
            ..Parts::default()
        },
    );
    let after = only(&[PassName::FoldScaling], &before, 1e-4);
    assert_eq!(
        ops(&after),
        ["Conv", "Relu", "BatchNormalization", "ConvTranspose", "AveragePool", "Flatten", "Gemm"]
    );
}

#[test]
fn what_is_not_one_number_per_channel_is_not_folded() {
    for (name, node) in [
        ("row 4", "y = Mul(c, row)"),
        ("row 3 1 1 1", "y = Mul(c, row)"),
        ("row 3 1 1", "y = Sub(row, c)"),
        ("row 3 1 1", "y = Div(c, row)"),
    ] {
        let count = if name == "row 4" { 4 } else { 3 };
        let before = model(
            17,
            &Parts {
                inputs: &["x 1 2 4 4"],
                outputs: &["y *"],
                floats: &[("w 3 2 1 1", &[0.5; 6]), (name, &[1.5; 4][..count])],
                nodes: &[("c = Conv(x, w)", &[]), (node, &[])],
                ..Parts::default()
            },
        );
        assert_eq!(exact(&[PassName::FoldScaling], &before).len(), 2, "{name} {node}");
    }
}

#[test]
fn equal_weights_stay_equal_when_they_are_scaled() {
    let before = model(
        17,
        &Parts {
            inputs: &["x 1 2 4 4"],
            outputs: &["y *"],
            floats: &[("w 2 2 1 1", &[0.5; 4]), ("k 2 1 1", &[2.0, 3.0])],
            nodes: &[
                ("a = Conv(x, w)", &[]),
                ("b = Mul(a, k)", &[]),
                ("c = Conv(b, w)", &[]),
                ("y = Mul(c, k)", &[]),
            ],
            ..Parts::default()
        },
    );
    let after = only(&[PassName::FoldScaling, PassName::RemoveDeadNodes], &before, 1e-6);
    assert_eq!(ops(&after), ["Conv", "Conv"]);
    assert_eq!(after.graph.initializer.len(), 2);
}

#[test]
fn a_product_of_matrices_and_its_sum_become_a_gemm() {
    let product = |input: &str, bias: &str, count: usize| {
        model(
            17,
            &Parts {
                inputs: &[input],
                outputs: &["y *"],
                floats: &[
                    ("w 3 2", &[0.5, 1.0, -1.0, 0.25, 2.0, -0.5]),
                    (bias, &[0.5, 1.5][..count]),
                ],
                nodes: &[("p = MatMul(x, w)", &[]), ("y = Add(b, p)", &[])],
                ..Parts::default()
            },
        )
    };
    for (bias, count) in [("b", 2), ("b 1 2", 2), ("b", 1)] {
        let before = product("x batch 3", bias, count);
        assert_eq!(ops(&only(&[PassName::FuseGemm], &before, 1e-6)), ["Gemm"], "{bias}");
    }
    for (input, bias, count) in [("x batch 4 3", "b", 2), ("x batch 3", "b 2 1 1", 2)] {
        let before = product(input, bias, count);
        assert_eq!(exact(&[PassName::FuseGemm], &before), ["MatMul", "Add"], "{input} {bias}");
    }
}

#[test]
fn generated_weights_become_constants_and_other_large_constants_do_not() {
    let generated = |reader: &str| {
        model(
            17,
            &Parts {
                inputs: &["x 1 1024"],
                outputs: &["y *"],
                integers: &[("shape", &[1024, 512])],
                nodes: &[("w = ConstantOfShape(shape)", &[]), (reader, &[])],
                ..Parts::default()
            },
        )
    };
    // The backend takes the default element type for another one, so that only the result is run.
    let fold = |mut model: Model| {
        let cancel = CancelToken::default();
        crate::onnx::passes::run(&mut model, &evaluate::CpuEvaluator { cancel: &cancel }).unwrap();
        model
    };
    let weights = fold(generated("y = MatMul(x, w)"));
    assert_eq!(ops(&weights), ["MatMul"]);
    let weight = weights.values(&weights.graph.initializer[0]).unwrap();
    assert_eq!((weight.dtype(), weight.shape()), (DType::Float32, &Shape(vec![1024, 512])));
    assert!(weight.bytes().iter().all(|byte| *byte == 0));
    assert_same(&weights, &weights, 0.0);
    let mask = fold(generated("y = Sub(w, w)"));
    assert_eq!(ops(&mask), ["ConstantOfShape", "Sub"]);
}

#[test]
fn what_would_be_computed_wrongly_ahead_is_left_to_the_runtime() {
    let left = |call: &str, attributes: &[(&str, Value<'_>)]| {
        let before = model(
            17,
            &Parts {
                inputs: &["x 1"],
                outputs: &["y *"],
                floats: &[("one", &[1.0]), ("endless", &[f32::INFINITY])],
                integers: &[
                    ("small", &[3, 4]),
                    ("large", &[1 << 33, 1 << 32]),
                    ("minus", &[-3]),
                    ("zero", &[0]),
                    ("last", &[1]),
                    ("back", &[-2]),
                    ("far", &[9]),
                ],
                nodes: &[
                    (call, attributes),
                    ("f = Cast(c)", &[("to", Int(1))]),
                    ("y = Add(x, f)", &[]),
                ],
            },
        );
        let skip = PASSES.iter().map(|pass| pass.name());
        let skip = skip.filter(|name| *name != PassName::FoldConstants).collect();
        let mut after = before.clone();
        let evaluator = evaluate::CpuEvaluator { cancel: &CancelToken::default() };
        crate::onnx::passes::run_without(&mut after, &evaluator, &skip).unwrap();
        ops(&after).len() == 3
    };
    let keep = &[("keepdims", Int(0))];
    assert!(!left("c = ReduceSum(small)", keep));
    assert!(left("c = ReduceSum(large)", keep));
    assert!(left("c = ReduceL1(large)", keep));
    assert!(left("c = ReduceProd(large)", keep));
    assert!(!left("c = Pow(small, last)", &[]));
    assert!(left("c = Pow(small, minus)", &[]));
    assert!(!left("c = Max(one, one)", &[]));
    assert!(left("c = Min(endless, one)", &[]));
    assert!(!left("c = Slice(small, zero, last)", &[]));
    assert!(left("c = Slice(small, far, zero, zero, back)", &[]));
}

#[test]
fn a_small_model_does_not_become_a_large_one() {
    let calls: Vec<String> =
        (0..34).map(|at| format!("t{} = Concat(t{at}, t{at})", at + 1)).collect();
    let mut nodes: Vec<(&str, &[(&str, Value<'_>)])> =
        calls.iter().map(|call| (call.as_str(), &[("axis", Int(0))] as _)).collect();
    nodes.push(("s = ReduceMax(t34)", &[("keepdims", Int(0))]));
    nodes.push(("y = Add(x, s)", &[]));
    let floats: &[(&str, &[f32])] = &[("t0", &[1.0, 2.0, 3.0, 4.0])];
    let mut bomb = model(
        17,
        &Parts { inputs: &["x 1"], outputs: &["y *"], floats, nodes: &nodes, ..Parts::default() },
    );
    let evaluator = evaluate::CpuEvaluator { cancel: &CancelToken::default() };
    crate::onnx::passes::run(&mut bomb, &evaluator).unwrap();
    let sizes = bomb.graph.initializer.iter().map(|tensor| tensor.raw_data().len());
    assert!(sizes.sum::<usize>() < 1 << 27, "the weights are small");
    assert!(ops(&bomb).contains(&"Concat"));
}
