//! `build`: compiles a model into an engine.
//!
//! Owns the settings and their agreement with the model's inputs. What compiling means is the
//! backend's business.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{ArtifactKind, Digest};
use crate::backend::tensorrt::{ComputeCapability, Precision, Settings};
use crate::backend::{self, CompileRequest, EngineManifest, Profile, ShapeRange};
use crate::onnx::{self, Model, ModelSignature};
use crate::source::{Placed, Spanned};
use crate::tensor::Shape;

use super::convert::write_json;
use super::{
    Accepts, CheckContext, FileRef, FromRef, Input, Problem, Stage, StageContext, StageError,
    ToolProbe,
};

mod profiles;
mod settings;
mod tensorrt;
#[cfg(test)]
mod tests;

pub use settings::{BackendName, Int8, ShapeRangeSetting};

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
    /// the backend can do that. TensorRT also needs the range of the values of an input that holds
    /// a shape.
    #[serde(default)]
    pub profiles: Vec<Spanned<IndexMap<Spanned<String>, ShapeRangeSetting>>>,
    /// The GPU architectures to build for, such as `["8.9", "12.0"]`; by default that of this
    /// machine's GPU. Where they are given, no GPU is needed. Available in TensorRT-RTX.
    #[serde(default)]
    pub compute_capabilities: Spanned<BTreeSet<ComputeCapability>>,
    /// The precisions that TensorRT may lower layers to, beside float32. Newer libraries keep the
    /// precision that is in the model instead. Available in TensorRT 8.6 and 10.
    #[serde(default)]
    pub precision: Spanned<BTreeSet<Precision>>,
    /// Finds INT8 ranges from samples while building; needs `int8` in `precision`. Newer libraries
    /// take them from Q/DQ nodes in the model instead. Available in TensorRT 8.6 and 10.
    #[serde(default)]
    pub int8: Option<Spanned<Int8>>,
    /// Libraries of TensorRT plug-ins (`.so`) that the model needs, in the order in which to load
    /// them.
    #[serde(default)]
    pub plugins: Vec<Spanned<FileRef>>,
    /// How often TensorRT builds the engine; the fastest by measurement is kept. More than 1 needs
    /// the GPU that the engine is for.
    #[serde(default = "once")]
    #[schemars(range(min = 1))]
    pub builds: Spanned<u32>,
    /// Ends TensorRT after this many seconds, all `builds` together; no limit by default. Not part
    /// of the cache key.
    #[serde(default)]
    pub timeout_seconds: Option<Spanned<f64>>,
    /// Settings that only TensorRT has.
    #[serde(default)]
    pub tensorrt: Spanned<Placed<Settings>>,
}

fn once() -> Spanned<u32> {
    Spanned::unplaced(1)
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
        let from = Input::new("from", FromRef::reference(&self.from), Accepts::Model);
        std::iter::once(from).chain(self.files()).collect()
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
        if self.builds != once() {
            settings.insert("builds".into(), self.builds.value.into());
        }
        // Their paths are not in the key, so it does not matter where they start.
        settings.extend(self.options(Path::new("")).key_settings());
        settings.into()
    }

    fn tools(&self, probe: &dyn ToolProbe) -> Result<BTreeMap<String, String>, StageError> {
        let backend = backend::by_name(self.backend.as_str())?;
        backend.tools(&self.options(probe.spec_dir())).map_err(|error| self.placed(error))
    }

    fn deterministic(&self, _tools: &BTreeMap<String, String>) -> bool {
        false
    }

    fn profiles(&self) -> Vec<Profile> {
        self.shape_profiles()
    }

    fn keeps_signature_of(&self) -> Option<&'static str> {
        Some("from")
    }

    fn check(&self, cx: &CheckContext<'_>) -> Vec<Problem> {
        self.problems(cx.model)
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
            tensorrt: &self.options(cx.spec_dir),
            files: &self.resolved_files(cx)?,
            builds: self.builds.value,
            timeout: self.timeout(),
            out: cx.out,
            scratch: cx.scratch,
            kept: cx.kept,
            progress: cx.progress,
            cancel: cx.cancel,
        };
        let backend = backend::by_name(self.backend.as_str())?;
        let manifest = backend.compile(&request).map_err(|error| self.placed(error))?;
        let model = CompiledFrom { digest: source.digest, opset };
        write_json(&cx.out.join(EngineManifest::FILE), &EngineFile { manifest: &manifest, model })
    }
}

impl Build {
    /// Everything wrong with the settings; `model` is looked at where it is known.
    fn problems(&self, model: Option<&ModelSignature>) -> Vec<Problem> {
        let mut problems = profiles::problems(&self.profiles, model, self.is_for_tensorrt());
        problems.extend(self.tensorrt_problems(model));
        problems
    }

    /// Checks the settings against the model that is really there; gives its file and opset.
    fn check_against(&self, path: &Path) -> Result<(std::path::PathBuf, Option<i64>), StageError> {
        let path = onnx::locate(path)?;
        let model = Model::load(&path)?;
        // A file that no stage made was not checked before.
        model.check()?;
        let signature = model.signature()?;
        match self.problems(Some(&signature)).into_iter().next() {
            Some(problem) => Err(StageError::Setting {
                message: problem.message,
                span: problem.span,
                help: problem.help,
            }),
            None => Ok((path, model.opset())),
        }
    }
}
