//! Parts that are cut out compute what they computed in the whole.

use super::models::ops;
use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn cut(name: &str, inputs: &[&str], outputs: &[&str]) -> Result<Model, String> {
    let mut model = Model::load(&fixture(name)).unwrap();
    let before = model.encode();
    match model.extract(&names(inputs), &names(outputs)) {
        Ok(()) => {
            model.check().unwrap();
            Ok(model)
        }
        Err(error) => {
            assert_eq!(model.encode(), before);
            Err(error.to_string())
        }
    }
}

#[test]
fn a_part_has_the_tensors_that_were_named() {
    let model = cut("mlp.onnx", &["h"], &["logits"]).unwrap();
    assert_eq!(ops(&model), ["Relu", "Gemm"]);
    let signature = model.signature().unwrap();
    assert_eq!(signature.inputs[0].to_string(), "h float32 [batch,8]");
    assert_eq!(signature.outputs[0].to_string(), "logits float32 [batch,3]");
    assert_eq!(model.graph.initializer.len(), 2, "only the weights that it needs");
}

#[test]
fn two_parts_in_a_row_give_what_the_whole_gives() {
    let (whole, folder) = (fixture("mlp.onnx"), tempfile::tempdir().unwrap());
    let first = cut("mlp.onnx", &[], &["a"]).unwrap();
    first.save(folder.path()).unwrap();
    let (shape, middle) = outputs(&folder.path().join("model.onnx"), 1).remove(0);

    let folder = tempfile::tempdir().unwrap();
    let second = cut("mlp.onnx", &["a"], &[]).unwrap();
    second.save(folder.path()).unwrap();
    let file = folder.path().join("model.onnx");
    let engine = backend::by_name("cpu").unwrap().reference(&file, &[]).unwrap();
    let mut context = engine.new_context().unwrap();
    #[expect(clippy::cast_possible_truncation, reason = "they were float32")]
    let bytes: Vec<u8> = middle.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
    context.input_mut(0, &shape).unwrap().copy_from_slice(&bytes);
    context.run().unwrap();
    let (_, found) = context.output(0).unwrap();
    let expected = outputs(&whole, 1).remove(0).1;
    assert_eq!(crate::tensor::to_f64(DType::Float32, found), expected);
}

#[test]
fn names_that_do_not_fit_are_explained() {
    let whole = fixture("mlp.onnx").display().to_string();
    let error = |inputs: &[&str], outputs: &[&str]| {
        cut("mlp.onnx", inputs, outputs).unwrap_err().replace(&whole, "mlp.onnx")
    };
    assert_eq!(
        error(&[], &["logit"]),
        "`mlp.onnx`: it has no tensor `logit`; did you mean `logits`?"
    );
    assert_eq!(error(&["h", "h"], &[]), "`mlp.onnx`: `h` is named twice");
    assert_eq!(
        error(&["logits"], &["a"]),
        "`mlp.onnx`: output `a` needs `x`, which no named input gives"
    );
}

#[test]
fn what_a_branch_captures_comes_along() {
    let model = cut("if_capture.onnx", &[], &[]).unwrap();
    let whole = Model::load(&fixture("if_capture.onnx")).unwrap();
    assert_eq!(ops(&model), ops(&whole));
    assert_eq!(model.graph.initializer, whole.graph.initializer);
}
