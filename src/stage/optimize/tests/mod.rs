use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::artifact::Digest;
use crate::backend;
use crate::onnx::Summary;
use crate::process::CancelToken;
use crate::progress::{NoProgress, Progress};
use crate::stage::{Listing, ResolvedInput};
use crate::tensor::{DType, Dim, Shape, Tensor, TensorSpec};

mod batch;
mod extract;
mod models;
mod opset;
mod passes;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx").join(name)
}

/// The stage with these settings beside `from`.
fn settings(settings: Value) -> Optimize {
    let Value::Object(mut all) = settings else { panic!("{settings} is no map") };
    all.insert("from".into(), json!("onnx"));
    serde_json::from_value(all.into()).unwrap()
}

fn optimize(name: &str, cancel: &CancelToken) -> Result<tempfile::TempDir, StageError> {
    run(&settings(json!({ "from": "onnx" })), &fixture(name), cancel)
}

fn run(
    stage: &Optimize,
    model: &Path,
    cancel: &CancelToken,
) -> Result<tempfile::TempDir, StageError> {
    let (out, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = stage.data.as_ref().map(|data| match &data.value {
        FileRef::Path(path) => PathBuf::from(path),
        FileRef::StageFile { .. } => panic!("no stages here"),
    });
    let found = |path: PathBuf| ResolvedInput { path, digest: Digest::of(b""), kind: None };
    let data = data.map(|path| ("data".to_owned(), found(path)));
    let from = ("from".to_owned(), found(model.to_owned()));
    let inputs: BTreeMap<_, _> = [from].into_iter().chain(data).collect();
    stage.run(&StageContext {
        name: "slim",
        spec_dir: out.path(),
        inputs: &inputs,
        out: out.path(),
        scratch: scratch.path(),
        kept: scratch.path(),
        progress: &NoProgress,
        cancel,
    })?;
    Ok(out)
}

#[test]
fn the_report_tells_what_changed() {
    let out = optimize("conv_bn.onnx", &CancelToken::default()).unwrap();
    let text = std::fs::read_to_string(out.path().join("optimize.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["format"], 1);
    assert_eq!(report["nodes"], json!({ "before": 11, "after": 5 }));
    assert_eq!(
        report["operators"],
        json!({
            "BatchNormalization": { "before": 2, "after": 0 },
            "Dropout": { "before": 1, "after": 0 },
            "Identity": { "before": 2, "after": 0 },
            "Sqrt": { "before": 1, "after": 0 },
        })
    );
}

/// A change of this digest changes what users have in their lock files: bump `version()`.
#[test]
fn the_files_of_version_3_stay_as_they_are() {
    let mut all = Vec::new();
    for name in ["conv_bn.onnx", "constant_chain.onnx", "shape_math.onnx", "mlp.onnx"] {
        let out = optimize(name, &CancelToken::default()).unwrap();
        for file in ["model.onnx", "optimize.json"] {
            all.extend(std::fs::read(out.path().join(file)).unwrap());
        }
    }
    assert_eq!(Digest::of(&all).short(), "920121b14836");
}

#[test]
fn external_data_is_gathered_in_one_file() {
    let out = optimize("external.onnx", &CancelToken::default()).unwrap();
    let model = Model::load(&out.path().join("model.onnx")).unwrap();
    model.check().unwrap();
    let source = Model::load(&fixture("external.onnx")).unwrap();
    let values = |model: &Model| model.values(&model.graph.initializer[0]).unwrap().to_f64();
    assert_eq!(values(&model), values(&source));
}

#[test]
fn a_broken_model_and_a_cancelled_run_make_no_files() {
    let error = optimize("bad_unknown_op.onnx", &CancelToken::default()).unwrap_err();
    assert!(matches!(error, StageError::Onnx(_)));
    let cancel = CancelToken::default();
    cancel.cancel();
    assert!(matches!(optimize("mlp.onnx", &cancel), Err(StageError::Cancelled)));
}

/// Stops the run when a phase begins.
struct StopsAt<'a>(&'a str, &'a CancelToken);

impl Progress for StopsAt<'_> {
    fn report(&self, phase: &str, _done: u64, _total: Option<u64>) {
        if phase == self.0 {
            self.1.cancel();
        }
    }

    fn summary(&self, text: &str) {
        panic!("a run that was stopped tells: {text}");
    }
}

#[test]
fn a_run_that_is_stopped_while_it_rewrites_changes_nothing_and_makes_no_files() {
    let cancel = CancelToken::default();
    let (out, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let from =
        ResolvedInput { path: fixture("constant_chain.onnx"), digest: Digest::of(b""), kind: None };
    let ended = settings(json!({})).run(&StageContext {
        name: "slim",
        spec_dir: out.path(),
        inputs: &BTreeMap::from([("from".to_owned(), from)]),
        out: out.path(),
        scratch: scratch.path(),
        kept: scratch.path(),
        progress: &StopsAt("rewriting", &cancel),
        cancel: &cancel,
    });
    assert!(matches!(ended, Err(StageError::Cancelled)), "{ended:?}");
    for folder in [out, scratch] {
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}

/// The model's outputs on inputs that look random, by the CPU backend's reference execution.
fn outputs(model: &Path, seed: u64) -> Vec<(Shape, Vec<f64>)> {
    let engine = backend::by_name("cpu").unwrap().reference(model, &[]).unwrap();
    let mut context = engine.clone().new_context().unwrap();
    for (index, input) in engine.inputs().iter().enumerate() {
        let tensor = sample(input, seed + index as u64);
        context.input_mut(index, tensor.shape()).unwrap().copy_from_slice(tensor.bytes());
    }
    context.run().unwrap();
    let read = |(index, spec): (usize, &TensorSpec)| {
        let (shape, bytes) = context.output(index).unwrap();
        (shape.clone(), crate::tensor::to_f64(spec.dtype, bytes))
    };
    engine.outputs().iter().enumerate().map(read).collect()
}

/// A tensor that fits an input, with three for every free extent.
fn sample(spec: &TensorSpec, seed: u64) -> Tensor {
    let extent = |dim: &Dim| if let Dim::Fixed(extent) = dim { *extent } else { 3 };
    let shape = Shape(spec.dims.as_ref().unwrap().iter().map(extent).collect());
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0
    };
    let count = shape.checked_elements().unwrap();
    match spec.dtype {
        DType::Bool => {
            let flags: Vec<u8> = (0..count).map(|_| u8::from(next() > 0.0)).collect();
            Tensor::from_bytes(DType::Bool, shape, &flags).unwrap()
        }
        DType::Float32 => {
            let values: Vec<f32> = (0..count).map(|_| next()).collect();
            Tensor::from_f32(shape, &values).unwrap()
        }
        other => panic!("no sample of {other}"),
    }
}

fn summary(folder: &Path) -> Summary {
    Model::load(&folder.join("model.onnx")).unwrap().summary().unwrap()
}

#[test]
fn optimized_models_give_the_same_results() {
    let names = [
        "mlp",
        "fixed_batch",
        "conv_bn",
        "conv_shared_by_two",
        "conv_transpose_bn",
        "shape_math",
        "shared_initializers",
        "if_capture",
        "log",
        "no_batch",
        "two_inputs",
        "external",
    ];
    for name in names {
        let file = format!("{name}.onnx");
        let out = optimize(&file, &CancelToken::default()).unwrap();
        for seed in 1..9 {
            let before = outputs(&fixture(&file), seed);
            let after = outputs(&out.path().join("model.onnx"), seed);
            assert_eq!(before.len(), after.len());
            for ((shape, expected), (found_shape, found)) in before.iter().zip(&after) {
                assert_eq!(shape, found_shape, "{name}");
                for (expected, found) in expected.iter().zip(found) {
                    let limit = 1e-5 * expected.abs().max(1.0);
                    let same = expected.is_nan() && found.is_nan();
                    assert!(
                        same || (expected - found).abs() <= limit,
                        "{name}: {expected} {found}"
                    );
                }
            }
        }
    }
}

#[test]
fn arithmetic_on_shapes_and_constants_is_done_ahead() {
    let out = optimize("shape_math.onnx", &CancelToken::default()).unwrap();
    let operators = summary(out.path()).operators;
    // The factor turns out to be one.
    assert_eq!(operators.into_iter().collect::<Vec<_>>(), [("Reshape".into(), 1)]);
    let out = optimize("constant_chain.onnx", &CancelToken::default()).unwrap();
    assert_eq!(summary(out.path()).nodes, 2);
}

#[test]
fn shapes_of_intermediates_are_written_down_with_their_symbols() {
    let out = optimize("mlp.onnx", &CancelToken::default()).unwrap();
    let model = Model::load(&out.path().join("model.onnx")).unwrap();
    let described: Vec<String> = model
        .graph
        .value_info
        .iter()
        .map(|value| crate::onnx::tensor_spec(value).unwrap().to_string())
        .collect();
    assert_eq!(
        described,
        ["h float32 [batch,8]", "a float32 [batch,8]", "logits float32 [batch,3]"]
    );
}

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/digits/model/digits_cnn.onnx")
}

fn report(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("precision.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The largest difference of the first output, relative to its largest value.
fn largest_difference(expected: &Path, found: &Path) -> f64 {
    let (expected, found) = (outputs(expected, 3), outputs(found, 3));
    let largest = expected[0].1.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let pairs = expected[0].1.iter().zip(&found[0].1);
    pairs.fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn a_model_of_16_bits_differs_by_the_digits_that_it_lacks() {
    for (precision, name, limit) in [("fp16", "float16", 2e-3), ("bf16", "bfloat16", 2e-2)] {
        let stage = settings(json!({ "from": "onnx", "precision": precision }));
        let out = run(&stage, &digits(), &CancelToken::default()).unwrap();
        let report = report(out.path());
        assert_eq!((&report["format"], &report["precision"]), (&json!(1), &json!(name)));
        let count = |what: &str| report["counts"][what].as_u64().unwrap();
        assert!(count("low") > count("float32"), "{report}");
        let bytes = |when: &str| report["parameter_bytes"][when].as_u64().unwrap();
        assert!(bytes("after") < bytes("before") * 6 / 10, "{report}");
        let difference = largest_difference(&digits(), &out.path().join("model.onnx"));
        assert!(difference > 0.0 && difference < limit, "{precision}: {difference}");
    }
}

#[test]
fn converted_inputs_and_outputs_are_another_signature() {
    let value = json!({ "from": "onnx", "precision": "fp16", "io": "convert" });
    let stage = settings(value);
    assert_eq!(stage.keeps_signature_of(), None);
    let out = run(&stage, &fixture("mlp.onnx"), &CancelToken::default()).unwrap();
    let model = Model::load(&out.path().join("model.onnx")).unwrap();
    assert_eq!(model.signature().unwrap().inputs[0].dtype, DType::Float16);
    assert_eq!(settings(json!({ "from": "onnx" })).keeps_signature_of(), Some("from"));
}

#[test]
fn settings_at_their_default_are_not_in_the_key() {
    let plain = json!({ "from": "onnx", "precision": "fp32", "io": "keep", "keep_fp32": [] });
    assert_eq!(settings(plain).settings(), json!({}));
    let all = json!({ "from": "onnx", "precision": "bf16", "io": "convert", "keep_fp32": ["a/*"] });
    let expected = json!({ "precision": "bf16", "io": "convert", "keep_fp32": ["a/*"] });
    assert_eq!(settings(all).settings(), expected);
}

#[test]
fn settings_of_a_precision_that_is_not_asked_for_are_problems() {
    let value = json!({ "from": "onnx", "io": "convert", "keep_fp32": ["Conv"], "data": "x.npz" });
    let found = settings(value).check(&CheckContext::default());
    let messages: Vec<&str> = found.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(found.len(), 3);
    assert_eq!(messages[0], "`io` says how to lower the precision, which is not asked for");
}

#[test]
fn a_pattern_without_a_node_is_an_error() {
    let value = json!({ "from": "onnx", "precision": "fp16", "keep_fp32": ["Gem"] });
    let error = run(&settings(value), &fixture("mlp.onnx"), &CancelToken::default()).unwrap_err();
    assert!(error.to_string().starts_with("`Gem` is no operator and no node"), "{error}");
    assert_eq!(error.help().unwrap(), "did you mean `Gemm`?");
}

#[test]
fn the_table_names_what_changed() {
    let mut model = Model::load(&fixture("conv_bn.onnx")).unwrap();
    let stage = settings(json!({ "opset": 19 }));
    let table = stage.rewrite(&mut model, &CancelToken::default()).unwrap().to_string();
    insta::assert_snapshot!(table);
}

#[test]
fn changes_of_batch_inputs_and_outputs_are_told_and_written() {
    let mut model = Model::load(&fixture("mlp.onnx")).unwrap();
    let stage = settings(json!({ "batch": 4, "inputs": ["x"], "outputs": ["logits"] }));
    let changes = stage.rewrite(&mut model, &CancelToken::default()).unwrap();
    let table = changes.to_string();
    assert!(table.contains("\nbatch batch -> 4\noutputs y -> logits\npasses:"), "{table}");
    let written = serde_json::to_value(&changes).unwrap();
    assert_eq!(written["batch"], json!({ "before": "batch", "after": "4" }));
    assert_eq!(written["outputs"], json!({ "before": ["y"], "after": ["logits"] }));
    assert_eq!(written.get("inputs"), None);
}

#[test]
fn another_input_is_told_without_a_batch_that_nobody_asked_for() {
    let mut model = Model::load(&fixture("mlp.onnx")).unwrap();
    let stage = settings(json!({ "inputs": ["a"] }));
    let table = stage.rewrite(&mut model, &CancelToken::default()).unwrap().to_string();
    assert!(table.contains("\ninputs x -> a\npasses:") && !table.contains("batch"), "{table}");
}

#[test]
fn the_changes_are_those_of_the_model_that_is_written() {
    let stage = settings(json!({ "precision": "bf16", "batch": 4 }));
    let out = run(&stage, &digits(), &CancelToken::default()).unwrap();
    let text = std::fs::read_to_string(out.path().join(Changes::FILE)).unwrap();
    let changes: Value = serde_json::from_str(&text).unwrap();
    let written = summary(out.path());
    assert_eq!(changes["opset"]["after"], json!(written.opsets["ai.onnx"]));
    assert_eq!(changes["nodes"]["after"], json!(written.nodes));
    assert_eq!(changes["parameter_bytes"]["after"], json!(written.parameter_bytes));
    assert_eq!(changes["operators"]["Cast"]["after"], json!(written.operators["Cast"]));
}

#[test]
fn people_are_told_who_computes_in_what_and_why() {
    let stage = settings(json!({ "precision": "fp16", "keep_fp32": ["Conv"] }));
    let out = run(&stage, &digits(), &CancelToken::default()).unwrap();
    let report = report(out.path());
    insta::assert_snapshot!(Told::deserialize(&report).unwrap().text(Listing::Short));
    let all = Told::deserialize(&report).unwrap().text(Listing::Whole);
    assert!(all.lines().count() == 10 && !all.contains("more"), "{all}");
}

#[test]
fn skipped_passes_do_nothing_and_are_not_reported() {
    let mut model = Model::load(&fixture("conv_bn.onnx")).unwrap();
    let stage = settings(json!({ "skip": ["fold-scaling", "infer-shapes"] }));
    let changes = stage.rewrite(&mut model, &CancelToken::default()).unwrap();
    assert_eq!(model.operators()["BatchNormalization"], 2);
    assert!(model.graph.value_info.is_empty());
    let names: Vec<String> = changes.passes.iter().map(|pass| pass.name.to_string()).collect();
    assert!(!names.iter().any(|name| name == "fold-scaling" || name == "infer-shapes"));
}

#[test]
fn only_settings_that_are_given_are_in_the_key() {
    assert_eq!(settings(json!({})).settings(), json!({}));
    let all = json!({
        "inputs": ["a"], "outputs": ["b"], "batch": "dynamic", "opset": 21, "skip": ["fuse-gemm"],
    });
    let stage = settings(all.clone());
    assert_eq!(stage.settings(), all);
    assert_eq!(stage.keeps_signature_of(), None);
    assert_eq!(settings(json!({ "opset": 21 })).keeps_signature_of(), Some("from"));
    let wrong: Result<Optimize, _> = serde_json::from_value(json!({ "from": "a", "batch": 0 }));
    assert!(wrong.unwrap_err().to_string().contains("`dynamic` or a number of samples"));
}

#[test]
fn what_samples_show_to_be_too_large_stays_float32() {
    let folder = tempfile::tempdir().unwrap();
    let samples = folder.path().join("x.npz");
    // The weights are below 2: sums of four products reach 1e6.
    let values: Vec<f32> = (0..12_u8).map(|value| 1e6 + f32::from(value)).collect();
    let x = Tensor::from_f32(Shape(vec![3, 4]), &values).unwrap();
    crate::data::write_npz(&samples, [("x", &x)]).unwrap();
    for (precision, reason) in [("fp16", "activation_overflow"), ("bf16", "default")] {
        let value = json!({ "from": "onnx", "precision": precision, "data": samples });
        let stage = settings(value);
        assert!(!stage.deterministic(&BTreeMap::new()));
        assert_eq!(stage.inputs().len(), 2);
        let out = run(&stage, &fixture("mlp.onnx"), &CancelToken::default()).unwrap();
        assert_eq!(report(out.path())["nodes"][0]["reason"], reason);
    }
}
