use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::artifact::Digest;
use crate::process::CancelToken;
use crate::progress::NoProgress;
use crate::stage::{CheckContext, ResolvedInput, Stage};
use crate::tensor::{DType, TensorSpec};

use super::*;

/// A build with these settings beside `from`, as specs write them.
fn build(settings: Value) -> Build {
    let mut settings = settings;
    settings["from"] = "onnx".into();
    serde_json::from_value(settings).unwrap()
}

fn for_tensorrt(settings: Value) -> Build {
    let mut settings = settings;
    settings["backend"] = "tensorrt".into();
    build(settings)
}

fn model(dims: Option<Vec<Dim>>) -> ModelSignature {
    let input = |name: &str, dims| TensorSpec { name: name.into(), dtype: DType::Float32, dims };
    ModelSignature {
        inputs: vec![input("image", dims), input("scale", Some(vec![Dim::Fixed(1)]))],
        outputs: vec![],
    }
}

/// What is wrong with a build, a line each.
fn wrong(build: &Build, model: Option<&ModelSignature>) -> String {
    let problems = build.check(&CheckContext { model, ..CheckContext::default() });
    let lines = problems.iter().map(|problem| {
        format!("{}: {} | {}\n", problem.code, problem.message, problem.help.as_deref().unwrap())
    });
    lines.collect()
}

/// Every setting that only TensorRT has.
fn everything() -> Value {
    json!({
        "compute_capabilities": ["8.9"],
        "precision": ["int8"],
        "int8": {
            "calibrator": "minmax",
            "data": "calibration.npz",
            "raw": { "image": { "dtype": "float32", "shape": [1, 8, 8] } },
            "batch": 8,
            "cache": { "from": "other", "path": "calibration.cache" },
        },
        "plugins": ["a.so", "b.so"],
        "builds": 3,
        "timeout_seconds": 1800,
        "tensorrt": { "tf32": false, "library": "lib", "timing_cache": "/t/timing.cache" },
    })
}

#[test]
fn a_spec_without_these_settings_keeps_its_key() {
    assert_eq!(build(json!({})).settings(), json!({}));
    let range = json!({ "min": [1], "opt": [2], "max": [3] });
    let profiles = json!([{ "x": range }]);
    let as_before = json!({ "profiles": profiles });
    assert_eq!(build(as_before.clone()).settings(), as_before);
    let at_their_defaults = json!({
        "backend": "cpu",
        "compute_capabilities": [],
        "precision": [],
        "plugins": [],
        "builds": 1,
        "tensorrt": {},
    });
    assert_eq!(build(at_their_defaults.clone()).settings(), json!({}));
    assert_eq!(wrong(&build(at_their_defaults), None), "");
}

#[test]
fn the_key_holds_what_can_change_the_engine() {
    assert_eq!(
        for_tensorrt(everything()).settings(),
        json!({
            "backend": "tensorrt",
            "compute_capabilities": ["8.9"],
            "precision": ["int8"],
            "int8": {
                "calibrator": "minmax",
                "raw": { "image": { "dtype": "float32", "shape": [1, 8, 8] } },
                "batch": 8,
            },
            "builds": 3,
            "tensorrt": { "tf32": false },
        })
    );
    let unhurried = for_tensorrt(json!({
        "timeout_seconds": 5,
        "tensorrt": { "message_level": "verbose", "timing_cache": "t", "flavor": "rtx" },
    }));
    assert_eq!(unhurried.settings(), json!({ "backend": "tensorrt" }));
}

#[test]
fn files_are_inputs_and_the_timing_cache_is_none() {
    let inputs = for_tensorrt(everything()).inputs();
    let roles: Vec<&str> = inputs.iter().map(|input| input.role.as_str()).collect();
    assert_eq!(roles, ["from", "int8.data", "int8.cache", "plugins.0", "plugins.1"]);
    assert_eq!(inputs[2].reference.stage().unwrap().value, "other");
    assert_eq!(build(json!({})).inputs().len(), 1);
}

#[test]
fn found_files_reach_the_backend_in_order() {
    let roles = ["from", "int8.data", "int8.cache", "plugins.0", "plugins.1"];
    let found = |role: &str| ResolvedInput {
        path: PathBuf::from(format!("/found/{role}")),
        digest: Digest::of(role.as_bytes()),
        kind: None,
    };
    let inputs: BTreeMap<String, ResolvedInput> =
        roles.map(|role| (role.to_owned(), found(role))).into();
    let folder = Path::new("/spec");
    let cx = StageContext {
        name: "engine",
        spec_dir: folder,
        kept: folder,
        inputs: &inputs,
        out: folder,
        scratch: folder,
        progress: &NoProgress,
        cancel: &CancelToken::default(),
    };
    let files = for_tensorrt(everything()).resolved_files(&cx).unwrap();
    assert_eq!(files.calibration_data.unwrap(), Path::new("/found/int8.data"));
    assert_eq!(files.calibration_cache.unwrap(), Path::new("/found/int8.cache"));
    assert_eq!(files.plugins, ["/found/plugins.0", "/found/plugins.1"].map(PathBuf::from));
    assert_eq!(build(json!({})).resolved_files(&cx).unwrap(), Files::default());
}

#[test]
fn paths_in_the_options_start_at_the_specs_folder() {
    let options = for_tensorrt(everything()).options(Path::new("/spec"));
    assert_eq!(options.settings.library.unwrap(), Path::new("/spec/lib"));
    assert_eq!(options.settings.timing_cache.unwrap(), Path::new("/t/timing.cache"));
}

#[test]
fn settings_of_tensorrt_are_refused_with_another_backend() {
    insta::assert_snapshot!(wrong(&build(everything()), None));
}

#[test]
fn an_engine_for_other_gpus_is_built_once() {
    insta::assert_snapshot!(
        wrong(&for_tensorrt(everything()), None),
        @"build::builds: engines for `compute_capabilities` are built without their GPU, so the fastest of several cannot be told | remove `builds`"
    );
    let mut once = everything();
    once["builds"] = json!(1);
    assert_eq!(wrong(&for_tensorrt(once), None), "");
}

#[test]
fn every_mistake_in_the_settings_is_a_problem_of_its_own() {
    insta::assert_snapshot!(wrong(
        &for_tensorrt(json!({
            "int8": { "raw": { "image": { "dtype": "float32", "shape": [0] } }, "batch": 0 },
            "builds": 0,
            "timeout_seconds": 0,
            "tensorrt": { "gpu_fallback": true },
        })),
        None
    ));
    for seconds in [-1.0, f64::MAX] {
        let found = wrong(&for_tensorrt(json!({ "timeout_seconds": seconds })), None);
        assert!(found.starts_with("build::timeout: "), "{found}");
    }
}

#[test]
fn tensorrt_must_be_told_the_range_of_every_open_shape() {
    let batch = Dim::Symbol("batch".into());
    let open = model(Some(vec![batch, Dim::Fixed(3)]));
    let engine = for_tensorrt(json!({}));
    insta::assert_snapshot!(
        wrong(&engine, Some(&open)),
        @"build::profile_missing: the shape [batch,3] of input `image` is open, and TensorRT needs its range | add profiles, such as `profiles: [{ image: { min: [1, 3], opt: [8, 3], max: [32, 3] } }]`"
    );
    let unknown = wrong(&engine, Some(&model(None)));
    assert!(unknown.starts_with("build::profile_missing: "), "{unknown}");
    assert_eq!(wrong(&engine, Some(&model(Some(vec![Dim::Fixed(2), Dim::Fixed(3)])))), "");
    assert_eq!(wrong(&engine, None), "");
    assert_eq!(wrong(&build(json!({})), Some(&open)), "", "other backends take any shape");
}

#[test]
fn an_error_of_the_backend_about_a_setting_stands_where_the_setting_does() {
    let mut engine = for_tensorrt(json!({ "precision": ["fp16"] }));
    engine.backend.span = Span::new(1, 1);
    engine.precision.span = Span::new(7, 2);
    let placed = |setting: &str| {
        let error = BackendError::Setting {
            setting: setting.into(),
            reason: "no".into(),
            help: "change it".into(),
        };
        match engine.placed(error) {
            StageError::Setting { message, span, help } => (message, span, help.unwrap()),
            other => panic!("{other:?}"),
        }
    };
    let expected = ("`precision`: no".to_owned(), Span::new(7, 2), "change it".to_owned());
    assert_eq!(placed("precision"), expected);
    assert_eq!(placed("plugins").1, Span::new(1, 1), "what stands nowhere is shown at `backend`");
    let other = engine.placed(BackendError::Cancelled);
    assert!(matches!(other, StageError::Backend(BackendError::Cancelled)), "{other:?}");
}
