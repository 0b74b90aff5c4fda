//! `convert`: takes a model into the pipeline, checked.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::ArtifactKind;
use crate::onnx::{self, Model, Summary};
use crate::source::Spanned;

use super::{Accepts, FileRef, Input, Stage, StageContext, StageError};

/// Takes an ONNX model into the pipeline: checks it against the standard (operators, attributes,
/// names, tensor sizes, external data) and describes it. A model that passes is not changed.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Convert {
    /// The model: an `.onnx` file, or a folder that holds exactly one with its external data.
    pub model: Spanned<FileRef>,
}

/// What is written beside the model, as `convert.json`.
#[derive(Debug, Serialize)]
struct Description<'a> {
    format: u32,
    opset: Option<i64>,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl Stage for Convert {
    fn kind(&self) -> &'static str {
        "convert"
    }

    fn version(&self) -> u32 {
        1
    }

    fn makes(&self) -> ArtifactKind {
        ArtifactKind::Model
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input::new("model", FileRef::reference(&self.model), Accepts::Model)]
    }

    fn settings(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }

    fn deterministic(&self) -> bool {
        true
    }

    fn keeps_signature_of(&self) -> Option<&'static str> {
        Some("model")
    }

    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError> {
        let source = onnx::locate(&cx.input("model")?.path)?;
        cx.progress.report("checking", 0, None);
        let model = Model::load(&source)?;
        model.check()?;
        let summary = model.summary()?;
        if cx.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        cx.progress.report("copying", 0, None);
        copy_model(&model, cx.out)?;
        let description = Description { format: 1, opset: model.opset(), summary: &summary };
        write_json(&cx.out.join("convert.json"), &description)
    }
}

/// Names that the artifact gives to its own files.
const OWN_FILES: [&str; 2] = ["model.onnx", "convert.json"];

/// Copies a model byte for byte, or rewrites it where its external data bears one of our names.
fn copy_model(model: &Model, out: &Path) -> Result<(), StageError> {
    let locations = onnx::external_files(model.path())?;
    let is_ours = |location: &String| {
        let mut parts = location.split('/').filter(|part| *part != ".");
        parts.next().is_some_and(|first| OWN_FILES.contains(&first))
    };
    if locations.iter().any(is_ours) {
        return Ok(model.save(out)?);
    }
    copy_file(model.path(), &out.join("model.onnx"))?;
    for location in &locations {
        let target = out.join(location);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(StageError::io("create", folder))?;
        }
        copy_file(&model.folder().join(location), &target)?;
    }
    Ok(())
}

/// Copies the bytes only: permissions of the source are no part of a model.
fn copy_file(from: &Path, to: &Path) -> Result<(), StageError> {
    let mut source = File::open(from).map_err(StageError::io("read", from))?;
    let mut target = File::create_new(to).map_err(StageError::io("create", to))?;
    io::copy(&mut source, &mut target).map_err(StageError::io("write", to)).map(drop)
}

/// Writes a description as JSON for people and programs.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StageError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| StageError::io("write", path)(error.into()))?;
    text.push('\n');
    fs::write(path, text).map_err(StageError::io("write", path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
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
        let stage = Convert { model: Spanned::unplaced(FileRef::Path("model.onnx".into())) };
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
        let name =
            |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
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
        let help = error.help().unwrap();
        assert!(help.contains("`from: { file: x.plan, kind: engine }`"), "{help}");
    }
}
