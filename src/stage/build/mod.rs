//! `build`: compiles a model into an engine.
//!
//! Owns the settings and their agreement with the model's inputs. What compiling means is the
//! backend's business.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::artifact::{ArtifactKind, Digest};
use crate::backend::{
    self, BACKENDS, Backend, CompileRequest, EngineManifest, Profile, ShapeRange, tensorrt,
};
use crate::onnx::{self, Model};
use crate::source::Spanned;
use crate::suggest::did_you_mean;
use crate::tensor::Shape;

use super::convert::write_json;
use super::{
    Accepts, CheckContext, FromRef, Input, Problem, Stage, StageContext, StageError, ToolProbe,
};

mod check;
#[cfg(test)]
mod tests;

/// Compiles a model into an engine: what validation runs and serving loads.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The model: the name of a stage that makes one, or `{ file: x.onnx, kind: model }`.
    pub from: Spanned<FromRef>,
    /// What compiles the model and runs it. `cpu` is built in and needs no GPU.
    #[serde(default)]
    pub backend: Spanned<BackendName>,
    /// The ranges of shapes the engine must take; each profile names every input whose shape the
    /// model leaves open. Without profiles the engine takes any shape the model allows, where
    /// the backend can do that.
    #[serde(default)]
    pub profiles: Vec<Spanned<IndexMap<Spanned<String>, ShapeRangeSetting>>>,
}

/// The shapes one profile allows one input.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ShapeRange")]
pub struct ShapeRangeSetting {
    /// The smallest extents, one per axis, such as `[1, 3, 224, 224]`.
    pub min: Spanned<Vec<Spanned<usize>>>,
    /// The extents to be fastest at.
    pub opt: Spanned<Vec<Spanned<usize>>>,
    /// The largest extents.
    pub max: Spanned<Vec<Spanned<usize>>>,
}

/// The name of a backend of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BackendName(&'static str);

impl BackendName {
    /// The name as specs write it.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl Default for BackendName {
    fn default() -> Self {
        Self(backend::cpu::CpuBackend.name())
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl<'de> Deserialize<'de> for BackendName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl de::Visitor<'_> for NameVisitor {
            type Value = BackendName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a backend")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<BackendName, E> {
                let names = BACKENDS.iter().map(|backend| backend.name());
                names.clone().find(|name| *name == text).map(BackendName).ok_or_else(|| {
                    let hint = did_you_mean(text, names, "backends");
                    E::custom(format!("there is no backend `{text}`; {hint}"))
                })
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

impl JsonSchema for BackendName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BackendName".into()
    }
    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = BACKENDS.iter().map(|backend| backend.name()).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

/// What `engine.json` holds: the manifest, and what the engine was compiled from.
#[derive(Debug, Serialize)]
struct EngineFile<'a> {
    #[serde(flatten)]
    manifest: &'a EngineManifest,
    model: CompiledFrom,
}

#[derive(Debug, Serialize)]
struct CompiledFrom {
    digest: Digest,
    opset: Option<i64>,
}

impl Build {
    fn shape_profiles(&self) -> Vec<Profile> {
        let shape = |extents: &Spanned<Vec<Spanned<usize>>>| {
            Shape(extents.iter().map(|extent| extent.value).collect())
        };
        let range = |range: &ShapeRangeSetting| ShapeRange {
            min: shape(&range.min),
            opt: shape(&range.opt),
            max: shape(&range.max),
        };
        let profiles = self.profiles.iter();
        profiles
            .map(|profile| {
                let ranges = profile.iter();
                ranges.map(|(input, setting)| (input.value.clone(), range(setting))).collect()
            })
            .collect()
    }
}

impl Stage for Build {
    fn kind(&self) -> &'static str {
        "build"
    }

    fn version(&self) -> u32 {
        1
    }

    fn makes(&self) -> ArtifactKind {
        ArtifactKind::Engine
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input {
            role: "from".to_owned(),
            reference: FromRef::reference(&self.from),
            accepts: Accepts::Model,
        }]
    }

    fn settings(&self) -> serde_json::Value {
        let mut settings = serde_json::Map::new();
        if !self.backend.is_default() {
            settings.insert("backend".into(), self.backend.as_str().into());
        }
        if !self.profiles.is_empty() {
            // Spelled as a map of sorted names: the order of inputs in a profile means nothing.
            settings.insert("profiles".into(), serde_json::json!(self.shape_profiles()));
        }
        settings.into()
    }

    fn tools(&self, _probe: &dyn ToolProbe) -> Result<BTreeMap<String, String>, StageError> {
        Ok(backend::by_name(self.backend.as_str())?.tools(&tensorrt::Options::default())?)
    }

    fn deterministic(&self) -> bool {
        false
    }

    fn keeps_signature_of(&self) -> Option<&'static str> {
        Some("from")
    }

    fn check(&self, cx: &CheckContext<'_>) -> Vec<Problem> {
        check::problems(&self.profiles, cx.model)
    }

    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError> {
        let source = cx.input("from")?;
        let (path, opset) = self.check_against(&source.path)?;
        if cx.cancel.is_cancelled() {
            return Err(StageError::Cancelled);
        }
        cx.progress.report("compiling", 0, None);
        let profiles = self.shape_profiles();
        let request = CompileRequest {
            model: &path,
            profiles: &profiles,
            tensorrt: &tensorrt::Options::default(),
            out: cx.out,
            scratch: cx.scratch,
            progress: cx.progress,
            cancel: cx.cancel,
        };
        let manifest = backend::by_name(self.backend.as_str())?.compile(&request)?;
        let model = CompiledFrom { digest: source.digest, opset };
        write_json(&cx.out.join(EngineManifest::FILE), &EngineFile { manifest: &manifest, model })
    }
}

impl Build {
    /// Checks the settings against the model that is really there; gives its file and opset.
    fn check_against(&self, path: &Path) -> Result<(std::path::PathBuf, Option<i64>), StageError> {
        let path = onnx::locate(path)?;
        let model = Model::load(&path)?;
        // A file that no stage made was not checked before.
        model.check()?;
        let signature = model.signature()?;
        match check::problems(&self.profiles, Some(&signature)).into_iter().next() {
            Some(problem) => Err(StageError::Setting {
                message: problem.message,
                span: problem.span,
                help: problem.help,
            }),
            None => Ok((path, model.opset())),
        }
    }
}
