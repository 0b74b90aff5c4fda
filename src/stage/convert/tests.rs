//! The stage on ONNX models; those of other frameworks are in `tests/it/convert.rs`.

use std::io;
use std::path::PathBuf;

use super::*;
use crate::artifact::Digest;
use crate::process::CancelToken;
use crate::progress::NoProgress;
use crate::stage::ResolvedInput;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx").join(name)
}

fn convert(path: &Path) -> Result<tempfile::TempDir, StageError> {
    let (out, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let input = ResolvedInput { path: path.into(), digest: Digest::of(b""), kind: None };
    let stage: Convert =
        serde_json::from_value(serde_json::json!({ "model": "model.onnx" })).unwrap();
    stage.run(&StageContext {
        name: "onnx",
        spec_dir: out.path(),
        inputs: &BTreeMap::from([("model".to_owned(), input)]),
        out: out.path(),
        scratch: scratch.path(),
        kept: scratch.path(),
        progress: &NoProgress,
        cancel: &CancelToken::default(),
    })?;
    Ok(out)
}

fn files(folder: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_good_model_passes_unchanged_and_described() {
    let out = convert(&fixture("mlp.onnx")).unwrap();
    assert_eq!(files(out.path()), ["convert.json", "model.onnx"]);
    let bytes = |path: &Path| fs::read(path).unwrap();
    assert_eq!(bytes(&out.path().join("model.onnx")), bytes(&fixture("mlp.onnx")));
    let description: Value =
        serde_json::from_slice(&bytes(&out.path().join("convert.json"))).unwrap();
    assert_eq!(description["format"], 1);
    assert_eq!(description["opset"], 17);
    assert_eq!(description["nodes"], 4);
    assert_eq!(description["parameters"], 67);
    assert_eq!(description["inputs"][0]["dims"], serde_json::json!(["batch", 4]));
}

/// A change of this digest changes what users have in their lock files: bump `version()`.
#[test]
fn the_description_of_version_1_stays_as_it_is() {
    let out = convert(&fixture("if_capture.onnx")).unwrap();
    let bytes = fs::read(out.path().join("convert.json")).unwrap();
    assert_eq!(Digest::of(&bytes).short(), "24e42b729efb");
}

#[test]
fn external_data_comes_along_under_its_name() {
    let out = convert(&fixture("external.onnx")).unwrap();
    assert_eq!(files(out.path()), ["convert.json", "external.data", "model.onnx"]);
    Model::load(&out.path().join("model.onnx")).unwrap().check().unwrap();
}

#[test]
fn a_folder_with_one_model_will_do_and_one_with_several_will_not() {
    let folder = tempfile::tempdir().unwrap();
    assert!(convert(folder.path()).unwrap_err().to_string().contains("no .onnx file"));
    fs::copy(fixture("mlp.onnx"), folder.path().join("net.onnx")).unwrap();
    assert_eq!(files(convert(folder.path()).unwrap().path()), ["convert.json", "model.onnx"]);
    fs::copy(fixture("mlp.onnx"), folder.path().join("other.onnx")).unwrap();
    let text = convert(folder.path()).unwrap_err().to_string();
    assert!(text.ends_with("several .onnx files: net.onnx, other.onnx"), "{text}");
}

#[test]
fn external_data_with_one_of_our_names_is_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::load(&fixture("external.onnx")).unwrap();
    model.graph.initializer[0].external_data[0].value = Some("./convert.json".into());
    let path = folder.path().join("net.onnx");
    fs::write(&path, model.encode()).unwrap();
    fs::copy(fixture("external.data"), folder.path().join("convert.json")).unwrap();
    let out = convert(&path).unwrap();
    let converted = Model::load(&out.path().join("model.onnx")).unwrap();
    converted.check().unwrap();
    assert!(fs::read_to_string(out.path().join("convert.json")).unwrap().starts_with('{'));
}

#[test]
fn an_engine_is_refused() {
    let error = convert(&fixture("bad_engine.onnx")).unwrap_err();
    assert!(error.to_string().contains("is an engine"), "{error}");
    let help = error.help().unwrap();
    assert!(help.contains("`from: { file: model.onnx, kind: engine }`"), "{help}");
}

#[test]
fn arguments_that_python_tells_apart_make_different_keys() {
    let key = |arguments: &str| {
        let stage = format!("{{ \"model\": \"m\", \"arguments\": {arguments} }}");
        serde_json::from_str::<Convert>(&stage).unwrap().key_settings()
    };
    for (one, other) in [
        (r#"{ "n": 4 }"#, r#"{ "n": 4.0 }"#),
        (r#"{ "n": 0.0 }"#, r#"{ "n": -0.0 }"#),
        (r#"{ "n": [1, 2] }"#, r#"{ "n": [1.0, 2] }"#),
        (r#"{ "n": 9007199254740992 }"#, r#"{ "n": 9007199254740993 }"#),
    ] {
        assert_ne!(key(one), key(other), "{one}");
    }
    let (one, other) =
        (r#"{ "a": { "b": 1, "c": 2 }, "d": 3 }"#, r#"{ "d": 3, "a": { "c": 2, "b": 1 } }"#);
    assert_eq!(key(one), key(other));
}
