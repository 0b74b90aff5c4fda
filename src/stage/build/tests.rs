use std::path::PathBuf;

use serde_json::json;

use crate::artifact::ArtifactKind;
use crate::backend::{Backend, LoadOptions};
use crate::process::CancelToken;
use crate::progress::NoProgress;
use crate::source::Span;
use crate::stage::ResolvedInput;
use crate::tensor::{DType, Dim, TensorSpec};

use super::*;

/// Extents that stand one after the other from `start` in the spec.
fn extents(start: usize, values: &[usize]) -> Spanned<Vec<Spanned<usize>>> {
    let spanned = values.iter().enumerate().map(|(i, &v)| Spanned::new(v, Span::new(start + i, 1)));
    Spanned::new(spanned.collect(), Span::new(start, values.len()))
}

fn range(min: &[usize], opt: &[usize], max: &[usize]) -> ShapeRangeSetting {
    ShapeRangeSetting { min: extents(100, min), opt: extents(200, opt), max: extents(300, max) }
}

fn build(profiles: Vec<Vec<(&str, ShapeRangeSetting)>>) -> Build {
    let profile = |inputs: Vec<(&str, ShapeRangeSetting)>| {
        let named = inputs
            .into_iter()
            .enumerate()
            .map(|(i, (name, range))| (Spanned::new(name.to_owned(), Span::new(10 + i, 1)), range));
        Spanned::new(named.collect(), Span::new(1, 9))
    };
    let build: Build = serde_json::from_value(json!({ "from": "onnx" })).unwrap();
    Build { profiles: profiles.into_iter().map(profile).collect(), ..build }
}

fn model() -> crate::onnx::ModelSignature {
    let batch = || Dim::Symbol("batch".into());
    let input = |name: &str, dims| TensorSpec {
        name: name.into(),
        dtype: DType::Float32,
        dims: Some(dims),
    };
    crate::onnx::ModelSignature {
        inputs: vec![
            input("image", vec![batch(), Dim::Fixed(3), Dim::Any]),
            input("mask", vec![batch()]),
            input("scale", vec![Dim::Fixed(1)]),
        ],
        outputs: vec![],
    }
}

fn found(build: &Build, model: Option<&crate::onnx::ModelSignature>) -> Vec<(String, u32, String)> {
    let problems = build.check(&CheckContext { model, ..CheckContext::default() });
    problems.into_iter().map(|p| (p.code.to_owned(), p.span.start, p.message)).collect()
}

fn codes(build: &Build, model: Option<&crate::onnx::ModelSignature>) -> Vec<(String, u32)> {
    found(build, model).into_iter().map(|(code, at, _)| (code, at)).collect()
}

fn pair(code: &str, at: u32) -> (String, u32) {
    (format!("build::{code}"), at)
}

#[test]
fn good_profiles_have_no_problems() {
    let build = build(vec![vec![
        ("image", range(&[1, 3, 8], &[4, 3, 8], &[8, 3, 16])),
        ("mask", range(&[1], &[4], &[8])),
    ]]);
    assert_eq!(found(&build, None), []);
    assert_eq!(found(&build, Some(&model())), []);
}

#[test]
fn ranges_out_of_order_are_marked_at_the_larger_value() {
    let build = build(vec![vec![("image", range(&[1, 9], &[5, 3], &[4, 3]))]]);
    assert_eq!(codes(&build, None), [pair("profile_range", 101), pair("profile_range", 200)]);
    insta::assert_snapshot!(
        found(&build, None)[0].2,
        @"axis 1 of `image` has `min` 9 above `opt` 3"
    );
}

#[test]
fn ranks_that_differ_empty_profiles_and_zeros_are_problems_without_a_model() {
    let build = build(vec![vec![("image", range(&[0, 3], &[1], &[4, 3]))], vec![]]);
    assert_eq!(
        codes(&build, None),
        [pair("profile_rank", 200), pair("profile_range", 100), pair("profile_empty", 1)]
    );
}

#[test]
fn a_profile_for_something_that_is_no_input_suggests_one() {
    let build = build(vec![vec![
        ("imaeg", range(&[1, 3, 8], &[4, 3, 8], &[8, 3, 16])),
        ("mask", range(&[1], &[4], &[8])),
    ]]);
    let problems = build.check(&CheckContext { model: Some(&model()), ..CheckContext::default() });
    assert_eq!(problems[0].message, "the model has no input `imaeg`");
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `image`?"));
    assert_eq!(problems[0].span.start, 10);
    assert_eq!(problems[1].code, "build::profile_incomplete", "`image` itself is missing");
    assert_eq!(problems[1].span.start, 1);
}

#[test]
fn rank_fixed_axes_and_named_axes_are_held_to_the_model() {
    let build = build(vec![vec![
        ("image", range(&[1, 3, 8], &[4, 4, 8], &[8, 4, 16])),
        ("mask", range(&[1], &[5], &[8])),
        ("scale", range(&[1, 1], &[1, 1], &[1, 1])),
    ]]);
    assert_eq!(
        codes(&build, Some(&model())),
        [
            pair("profile_fixed_axis", 201),
            pair("profile_fixed_axis", 301),
            pair("profile_rank", 100),
            pair("profile_rank", 200),
            pair("profile_rank", 300),
            // `opt` alone makes `batch` 4 and 5.
            pair("profile_symbol", 200),
        ]
    );
}

/// A model whose input `shape` may hold a shape of two, and `x` not.
fn model_of_a_shape() -> crate::onnx::ModelSignature {
    let input = |name: &str, dtype, dims| TensorSpec { name: name.into(), dtype, dims: Some(dims) };
    let shape = input("shape", DType::Int64, vec![Dim::Fixed(2)]);
    let x = input("x", DType::Float32, vec![Dim::Fixed(2)]);
    crate::onnx::ModelSignature { inputs: vec![shape, x], outputs: vec![] }
}

#[test]
fn for_tensorrt_an_input_that_may_hold_a_shape_has_a_range_of_values() {
    let values = |input| build(vec![vec![(input, range(&[0, 1], &[4, 4], &[8, 8]))]]);
    let for_tensorrt = |input| Build { backend: backend_name("tensorrt"), ..values(input) };
    let model = model_of_a_shape();
    assert_eq!(codes(&for_tensorrt("shape"), Some(&model)), []);
    let zero = pair("profile_range", 100);
    let ranks = [100, 200, 300].map(|at| pair("profile_rank", at));
    let refused = [vec![zero], ranks.to_vec()].concat();
    assert_eq!(codes(&for_tensorrt("x"), Some(&model)), refused, "not an integer");
    assert_eq!(codes(&values("shape"), Some(&model)), refused, "not TensorRT");
    assert_eq!(codes(&for_tensorrt("shape"), None), [], "it is seen when the model is there");
    let three = build(vec![vec![("shape", range(&[1, 1, 1], &[1, 1, 1], &[1, 1, 1]))]]);
    let three = Build { backend: backend_name("tensorrt"), ..three };
    let problems = three.check(&CheckContext { model: Some(&model), ..CheckContext::default() });
    assert_eq!(
        problems[0].help.as_deref(),
        Some("if `shape` holds a shape, give the range of its 2 values")
    );
}

fn backend_name(name: &str) -> Spanned<BackendName> {
    Spanned::unplaced(serde_json::from_value(json!(name)).unwrap())
}

#[test]
fn settings_leave_defaults_out() {
    assert_eq!(build(vec![]).settings(), json!({}));
    let build = build(vec![vec![("x", range(&[1], &[2], &[3]))]]);
    assert_eq!(
        build.settings(),
        json!({ "profiles": [{ "x": { "min": [1], "opt": [2], "max": [3] } }] })
    );
}

#[test]
fn backend_names_are_those_of_this_build() {
    assert_eq!(serde_json::from_value::<BackendName>(json!("cpu")).unwrap().as_str(), "cpu");
    let error = serde_json::from_value::<BackendName>(json!("cpuu")).unwrap_err();
    assert_eq!(error.to_string(), "there is no backend `cpuu`; did you mean `cpu`?");
    let schema = schemars::schema_for!(Build).to_value();
    let backend = &schema["properties"]["backend"];
    assert_eq!(backend["enum"], json!(["cpu", "onnxruntime", "tensorrt"]), "{backend}");
}

fn run(build: &Build, model: PathBuf) -> Result<tempfile::TempDir, StageError> {
    let out = tempfile::tempdir().unwrap();
    let digest = Digest::of(b"model");
    let inputs = BTreeMap::from([(
        "from".to_owned(),
        ResolvedInput { path: model, digest, kind: Some(ArtifactKind::Model) },
    )]);
    let cx = StageContext {
        name: "engine",
        spec_dir: out.path(),
        inputs: &inputs,
        out: out.path(),
        scratch: out.path(),
        kept: out.path(),
        progress: &NoProgress,
        cancel: &CancelToken::default(),
    };
    build.run(&cx).map(|()| out)
}

fn fixture(name: &str) -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cpu").join(name)
}

#[test]
fn a_run_writes_an_engine_that_its_manifest_describes_and_that_loads() {
    let build = build(vec![vec![("x", range(&[1, 6], &[2, 6], &[4, 6]))]]);
    let out = run(&build, fixture("mlp.onnx")).unwrap();
    let text = std::fs::read(out.path().join("engine.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(json["format"], 1);
    assert_eq!(json["backend"], "cpu");
    assert_eq!(json["model"], json!({ "digest": Digest::of(b"model"), "opset": 17 }));
    let manifest: EngineManifest = serde_json::from_slice(&text).unwrap();
    let engine =
        backend::cpu::CpuBackend.load(out.path(), &manifest, &LoadOptions::default()).unwrap();
    assert_eq!(engine.profiles().len(), 1);
    let mut context = engine.new_context().unwrap();
    assert!(context.input_mut(0, &vec![4, 6].into()).is_ok());
    let error = context.input_mut(0, &vec![5, 6].into()).unwrap_err();
    insta::assert_snapshot!(
        error,
        @"input `x` of shape [5,6] does not fit: the engine was built for [1,6] to [4,6]"
    );
}

#[test]
fn a_run_holds_profiles_to_the_model_that_is_there() {
    let build = build(vec![vec![("y", range(&[1, 6], &[2, 6], &[4, 6]))]]);
    match run(&build, fixture("mlp.onnx")) {
        Err(StageError::Setting { message, span, .. }) => {
            assert_eq!(message, "the model has no input `y`");
            assert_eq!(span.start, 10);
        }
        other => panic!("{other:?}"),
    }
}
