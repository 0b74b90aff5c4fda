use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::artifact::Digest;
use crate::source::Spanned;
use crate::stage::{CancelToken, NoProgress, ResolvedInput};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx").join(name)
}

fn optimize(name: &str, cancel: &CancelToken) -> Result<tempfile::TempDir, StageError> {
    let (out, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let input = ResolvedInput { path: fixture(name), digest: Digest::of(b""), kind: None };
    let inputs = BTreeMap::from([("from".to_owned(), input)]);
    let stage = Optimize { from: Spanned::unplaced(FromRef::Stage("onnx".into())) };
    stage.run(&StageContext {
        name: "slim",
        inputs: &inputs,
        spec_dir: out.path(),
        out: out.path(),
        scratch: scratch.path(),
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
fn the_bytes_of_version_1_stay_as_they_are() {
    let out = optimize("conv_bn.onnx", &CancelToken::default()).unwrap();
    let bytes = std::fs::read(out.path().join("model.onnx")).unwrap();
    assert_eq!(Digest::of(&bytes).short(), "99bcf497c7e3",);
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

#[test]
fn the_settings_have_no_precision_yet() {
    let parsed: Result<Optimize, _> = serde_json::from_value(json!({ "precision": "fp16" }));
    assert!(parsed.is_err());
}
