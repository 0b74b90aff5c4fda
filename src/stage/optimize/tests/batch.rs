//! Models take another batch size where nothing in them depends on the old one.

use super::models::Value::Int;
use super::models::{Parts, assert_same, model};
use super::*;
use crate::onnx::BatchSize;

const EIGHTS: &[f32] = &[0.5, -1.0, 0.25, 2.0, 1.0, -0.5, 0.125, 3.0];

fn axes(model: &Model) -> Vec<String> {
    let signature = model.signature().unwrap();
    signature.inputs.iter().chain(&signature.outputs).map(ToString::to_string).collect()
}

/// A model for 4 samples that says so in its reshapings.
fn built_in() -> Model {
    model(
        17,
        &Parts {
            inputs: &["x 4 2 4"],
            outputs: &["y 4 8"],
            floats: &[("w 8 8", &[EIGHTS; 8].concat())],
            integers: &[("flat", &[4, 8]), ("back", &[4, 2, -1]), ("rows", &[8, 4])],
            nodes: &[
                ("f = Reshape(x, flat)", &[]),
                ("p = MatMul(f, w)", &[]),
                ("b = Reshape(p, back)", &[]),
                ("r = Relu(b)", &[]),
                ("y = Flatten(r)", &[("axis", Int(1))]),
            ],
        },
    )
}

#[test]
fn a_built_in_batch_size_becomes_free() {
    let before = built_in();
    let mut free = before.clone();
    free.set_batch(BatchSize::Dynamic).unwrap();
    assert_eq!(axes(&free), ["x float32 [batch,2,4]", "y float32 [batch,8]"]);
    // Bound to the old size again, it is the old model.
    let mut bound = free.clone();
    bound.set_batch(BatchSize::Fixed(4)).unwrap();
    assert_same(&before, &bound, 0.0);
    let mut three = before.clone();
    three.set_batch(BatchSize::Fixed(3)).unwrap();
    assert_eq!(axes(&three), ["x float32 [3,2,4]", "y float32 [3,8]"]);
    // The backend takes three samples where any number is allowed.
    assert_same(&free, &three, 0.0);
}

#[test]
fn a_free_batch_axis_is_set_wherever_it_is_named() {
    let mut mlp = Model::load(&fixture("mlp.onnx")).unwrap();
    mlp.set_batch(BatchSize::Dynamic).unwrap();
    let free = mlp.clone();
    mlp.set_batch(BatchSize::Fixed(3)).unwrap();
    assert!(axes(&mlp).iter().all(|text| text.contains("[3,")));
    assert_same(&free, &mlp, 0.0);
}

#[test]
fn what_depends_on_the_batch_size_is_named() {
    let refused = |nodes: &[(&str, &[(&str, models::Value<'_>)])], outputs: &[&str]| {
        let parts = Parts {
            inputs: &["x 4 2 4"],
            outputs,
            floats: &[
                ("c 4 1 1", &[1.0, 2.0, 3.0, 4.0]),
                ("w 8 1", EIGHTS),
                ("b 4 1", &[1.0, 2.0, 3.0, 4.0]),
            ],
            integers: &[("rows", &[8, 4]), ("four", &[4, 8]), ("zero scalar", &[0])],
            nodes,
        };
        let before = model(17, &parts);
        let mut model = before.clone();
        let error = model.set_batch(BatchSize::Dynamic).unwrap_err();
        assert_eq!(model.encode(), before.encode());
        assert!(error.help().is_some());
        error.to_string()
    };
    assert_eq!(
        refused(&[("y = Add(x, c)", &[])], &["y *"]),
        "`test.onnx` cannot take another batch size: node `Add_y` (Add) computes across samples"
    );
    assert_eq!(
        refused(&[("y = ReduceSum(x)", &[("keepdims", Int(0))])], &["y *"]),
        "`test.onnx` cannot take another batch size: node `ReduceSum_y` (ReduceSum) computes across \
         samples"
    );
    for across in [
        "y = CumSum(x, zero)",
        "y = PRelu(x, c)",
        "y = Min(x, c)",
        "y = Softmax(x)",
        "y = LogSoftmax(x)",
        "y = Hardmax(x)",
    ] {
        let axis: &[(&str, models::Value<'_>)] =
            if across.contains("max(") { &[("axis", Int(0))] } else { &[] };
        let text = refused(&[(across, axis)], &["y *"]);
        assert!(text.ends_with("computes across samples"), "{text}");
    }
    let first = refused(&[("f = Gather(x, zero)", &[]), ("y = Add(x, f)", &[])], &["y *"]);
    assert!(first.ends_with("node `Gather_f` (Gather) computes across samples"), "{first}");
    let gemm = refused(&[("f = Flatten(x)", &[]), ("y = Gemm(f, w, b)", &[])], &["y *"]);
    assert!(gemm.ends_with("node `Gemm_y` (Gemm) computes across samples"), "{gemm}");
    let rows = refused(&[("y = Reshape(x, rows)", &[])], &["y *"]);
    assert!(rows.ends_with("node `Reshape_y` (Reshape) is made for batches of 4"), "{rows}");
}
