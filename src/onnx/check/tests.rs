use std::path::{Path, PathBuf};

use crate::onnx::{Model, OnnxError};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx")
}

/// The problem that loading or checking a fixture ends with, its folder left out.
fn problem(name: &str) -> Option<(String, Option<String>)> {
    let path = fixtures().join(format!("{name}.onnx"));
    let error = Model::load(&path).and_then(|model| model.check()).err()?;
    let folder = format!("{}/", fixtures().display());
    Some((error.to_string().replace(&folder, ""), error.help()))
}

#[test]
fn every_good_fixture_passes_and_every_bad_one_is_refused() {
    let mut seen = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "onnx") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert_eq!(problem(name).is_some(), name.starts_with("bad_"), "{:?}", problem(name));
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn each_defect_is_described_with_its_place() {
    let expected = [
        (
            "bad_attribute",
            "`bad_attribute.onnx` is not usable: node `the_softmax` (Softmax) has the unknown attribute `axes` (did you mean `axis`?)",
        ),
        (
            "bad_attribute_type",
            "`bad_attribute_type.onnx` is not usable: node `the_softmax` (Softmax): attribute `axis` is FLOAT, the operator takes INT",
        ),
        (
            "bad_custom_op",
            "`bad_custom_op.onnx` is not usable: node `the_frob` (com.example::Frob) is not an operator of the standard, nor a function of the model",
        ),
        (
            "bad_dangling_input",
            "`bad_dangling_input.onnx` is not usable: node `the_add` (Add) reads `nothing`, which nothing produces",
        ),
        (
            "bad_duplicate_output",
            "`bad_duplicate_output.onnx` is not usable: `y` is produced twice: by node `one` (Relu) and by node `two` (Neg)",
        ),
        ("bad_empty", "`bad_empty.onnx` is empty"),
        ("bad_engine", "`bad_engine.onnx` is not an ONNX model: it looks like a TensorRT engine"),
        (
            "bad_escaping_external",
            "`bad_escaping_external.onnx` is not usable: tensor `w`: external data `../outside.data` is outside the model's folder",
        ),
        ("bad_garbage", "`bad_garbage.onnx` is not an ONNX model: "),
        ("bad_html", "`bad_html.onnx` is not an ONNX model: it looks like an HTML page"),
        (
            "bad_initializer_size",
            "`bad_initializer_size.onnx` is not usable: tensor `w` of shape [4] needs 16 bytes, the model has 12",
        ),
        (
            "bad_input_count",
            "`bad_input_count.onnx` is not usable: node `the_add` (Add) has 1 inputs, the operator takes 2",
        ),
        (
            "bad_later_op",
            "`bad_later_op.onnx` is not usable: node `the_gelu` (Gelu) is not an operator of opset 17 (it came with opset 20)",
        ),
        (
            "bad_lfs_pointer",
            "`bad_lfs_pointer.onnx` is not an ONNX model: it looks like a git-lfs pointer",
        ),
        (
            "bad_missing_attribute",
            "`bad_missing_attribute.onnx` is not usable: node `the_concat` (Concat) lacks the attribute `axis`",
        ),
        (
            "bad_missing_external",
            "`bad_missing_external.onnx` is not usable: tensor `w`: external data file `nowhere.data` is missing",
        ),
        ("bad_no_graph", "`bad_no_graph.onnx` has no graph: nothing to run"),
        (
            "bad_opset_new",
            "`bad_opset_new.onnx` is not usable: opset 99 is not supported (7 to 26 are)",
        ),
        (
            "bad_opset_old",
            "`bad_opset_old.onnx` is not usable: opset 6 is not supported (7 to 26 are)",
        ),
        (
            "bad_order",
            "`bad_order.onnx` is not usable: node `second` (Relu) reads `h` before node `first` (Neg) produces it",
        ),
        (
            "bad_output_not_produced",
            "`bad_output_not_produced.onnx` is not usable: output `y` is not produced by any node",
        ),
        (
            "bad_short_external",
            "`bad_short_external.onnx` is not usable: tensor `w`: external data file `short.data` has 10 bytes, the tensor needs 128",
        ),
        (
            "bad_string_input",
            "`bad_string_input.onnx` is not usable: 2 problems\n  - `x` is a tensor of string, which is not supported as an input or output\n  - `y` is a tensor of string, which is not supported as an input or output",
        ),
        ("bad_truncated", "`bad_truncated.onnx` is truncated: it has "),
        (
            "bad_unknown_op",
            "`bad_unknown_op.onnx` is not usable: node `the_reluu` (Reluu) is not an operator of opset 17 (did you mean `Relu`?)",
        ),
        (
            "bad_withdrawn_op",
            "`bad_withdrawn_op.onnx` is not usable: node `the_upsample` (Upsample): the operator was withdrawn in opset 10; the model is of opset 17",
        ),
    ];
    for (name, expected) in expected {
        let (text, _) = problem(name).unwrap();
        assert!(text.starts_with(expected), "{name}:\n{text}\n{expected}");
    }
}

#[test]
fn a_truncated_file_is_refused_with_its_size() {
    let path = fixtures().join("bad_truncated.onnx");
    let size = std::fs::metadata(&path).unwrap().len();
    match Model::load(&path) {
        Err(OnnxError::Truncated { size: found, needed, .. }) => {
            assert_eq!(found, size);
            assert!(needed > size);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_engine_is_refused_with_the_way_to_use_it() {
    let (_, help) = problem("bad_engine").unwrap();
    assert!(help.unwrap().contains("kind: engine"));
}

#[test]
fn all_defects_are_reported_at_once() {
    let mut model = Model::load(&fixtures().join("mlp.onnx")).unwrap();
    model.graph.node[0].op_type = Some("Gem".into());
    model.graph.node[1].input[0] = "typo".into();
    model.graph.initializer[1].dims = vec![7];
    model.header.ir_version = Some(200);
    let error = model.check().unwrap_err();
    let OnnxError::Defects { defects, .. } = &error else { panic!("{error}") };
    assert_eq!(defects.len(), 4, "{error}");
}
