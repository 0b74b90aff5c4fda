//! Stage kinds: what each takes, makes and does.
//!
//! One file here plus one line in `stage_types!` is a stage kind: its settings (which are the
//! schema and the documentation), its inputs and its work. A stage knows nothing of graphs,
//! caches or terminals: it reads resolved inputs and fills an empty folder.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::artifact::{ArtifactKind, Digest};
use crate::backend::Profile;
use crate::process::CancelToken;
use crate::progress::Progress;
use crate::source::{Span, Spanned};

mod assess;
pub mod build;
pub mod calibrate;
pub mod command;
pub mod convert;
mod engine;
mod error;
mod kept;
mod observe;
pub mod optimize;
mod problems;
mod reference;
pub mod search;
pub mod serve;
pub mod validate;

pub use crate::onnx::ModelSignature;
pub use error::{FailureClass, StageError};
pub use kept::Listing;
pub use reference::{FileKind, FileRef, FromRef, Reference};

/// What stage and pipeline names, and variables, look like.
pub const NAME_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_-]{0,63}$";

/// Whether a text matches [`NAME_PATTERN`].
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Declares the stage kinds: key in the spec => settings type.
macro_rules! stage_types {
    ($($(#[$doc:meta])* $key:ident => $settings:ty),+ $(,)?) => {
        /// One stage: exactly one kind, and what it waits for.
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[schemars(rename = "Stage", transform = exactly_one_kind)]
        pub struct StageSpec {
            $($(#[$doc])* #[serde(default)] pub $key: Option<Spanned<$settings>>,)+
            /// Stages that must have ended before this one starts, though nothing of them is
            /// used. References such as `from` order stages by themselves.
            #[serde(default)]
            pub needs: Spanned<Vec<Spanned<String>>>,
        }

        /// The kinds' keys.
        pub const KINDS: &[&str] = &[$(stringify!($key)),+];

        impl StageSpec {
            /// Every kind that was given, with the place of its settings.
            pub fn into_stages(self) -> Vec<(Span, Box<dyn Stage>)> {
                let mut stages: Vec<(Span, Box<dyn Stage>)> = Vec::new();
                $(if let Some(settings) = self.$key {
                    stages.push((settings.span, Box::new(settings.value)));
                })+
                stages
            }
        }
    };
}

stage_types! {
    /// Takes a model into the pipeline, checked.
    convert => convert::Convert,
    /// Rewrites a model into an equal one with less to do.
    optimize => optimize::Optimize,
    /// Quantizes a model by the ranges that real samples have.
    calibrate => calibrate::Calibrate,
    /// Compiles a model into an engine.
    build => build::Build,
    /// Runs an engine and a reference over data and holds the difference to limits.
    validate => validate::Validate,
    /// Writes down what to serve and how, once its gates have passed.
    serve => serve::Serve,
    /// Runs any program on declared files.
    command => command::Command,
}

/// The kind whose texts may hold `${inputs.x}` and `${outputs.y}`.
pub const COMMAND: &str = "command";

/// Says in the schema that a stage has exactly one kind.
fn exactly_one_kind(schema: &mut schemars::Schema) {
    let kinds = KINDS.iter().map(|kind| json!({ "required": [kind] }));
    schema.insert("oneOf".into(), kinds.collect());
}

/// What an input role accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// A file or folder of any content.
    Data,
    /// An ONNX model: a model artifact, or a root `.onnx` file with its external data (or a
    /// folder that holds one).
    Model,
    /// A file or folder with a model of any framework.
    SourceModel,
    /// An engine artifact or engine file.
    Engine,
    /// A model or an engine.
    ModelOrEngine,
    /// A model, an engine, or recorded outputs in a data file.
    ModelEngineOrData,
    /// The report of a validation that passed; only that fact counts.
    PassedReport,
}

/// One input of a stage, as its settings name it.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The role: the setting's name, such as `model`, `data` or `inputs.x`.
    pub role: String,
    /// What the user wrote there.
    pub reference: Reference,
    /// What may stand there.
    pub accepts: Accepts,
}

impl Input {
    /// What the user wrote in place of `role`.
    pub fn new(role: impl Into<String>, reference: Reference, accepts: Accepts) -> Self {
        Self { role: role.into(), reference, accepts }
    }

    /// A file, or one that a stage made.
    pub fn data(role: impl Into<String>, file: &Spanned<FileRef>) -> Self {
        Self::new(role, FileRef::reference(file), Accepts::Data)
    }
}

/// An input, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedInput {
    /// The file, or the folder of a stage's artifact.
    pub path: PathBuf,
    /// Digest of the content.
    pub digest: Digest,
    /// What it is: an artifact's kind, or `None` for a root file given as data.
    pub kind: Option<ArtifactKind>,
}

impl ResolvedInput {
    /// The ONNX file of an input that accepts a model.
    pub fn model_file(&self) -> PathBuf {
        if self.path.is_dir() { self.path.join("model.onnx") } else { self.path.clone() }
    }
}

/// Something wrong with a stage's settings, found without running anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable identifier, such as `build::profile_input`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
    /// The words under the marked text.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
}

/// What [`Stage::check`] may look at.
#[derive(Debug, Default)]
pub struct CheckContext<'a> {
    /// Inputs and outputs of the model the stage takes, where that model comes unchanged from a
    /// root file; `None` where it is not known before something was built.
    pub model: Option<&'a ModelSignature>,
    /// The root file or folder with the model that the stage converts.
    pub source: Option<&'a Path>,
    /// The shapes that the engine the stage takes is built for, where a stage of the same spec
    /// builds it and says so.
    pub profiles: &'a [Profile],
}

/// What [`Stage::tools`] may ask about this machine.
pub trait ToolProbe {
    /// Digest of a file's content; a file whose stat did not change is not read again.
    fn file_digest(&self, path: &Path) -> io::Result<Digest>;
    /// An input that the settings name, by role.
    fn input(&self, role: &str) -> Option<&ResolvedInput> {
        let _ = role;
        None
    }
    /// What was kept under a name for the digest of all that it depends on.
    fn remembered(&self, name: &str, key: &Digest) -> Option<serde_json::Value> {
        let _ = (name, key);
        None
    }
    /// Keeps a fact for [`Self::remembered`]; it may be lost.
    fn remember(&self, name: &str, key: &Digest, fact: &serde_json::Value) {
        let _ = (name, key, fact);
    }
    /// Where the program `name` is, by `search` if that is not known yet.
    fn program(&self, name: &str, search: &dyn Fn() -> Option<PathBuf>) -> Option<PathBuf> {
        let _ = name;
        search()
    }
    /// The spec's folder, as an absolute path.
    fn spec_dir(&self) -> &Path;
    /// Tells when to stop asking.
    fn cancel(&self) -> &CancelToken;
}

/// What a stage works with while it runs.
pub struct StageContext<'a> {
    /// The stage's name in the spec.
    pub name: &'a str,
    /// The spec's folder, as an absolute path.
    pub spec_dir: &'a Path,
    /// The resolved inputs by role.
    pub inputs: &'a BTreeMap<String, ResolvedInput>,
    /// An empty folder; what is in it at the end becomes the artifact.
    pub out: &'a Path,
    /// Another empty folder, deleted afterwards.
    pub scratch: &'a Path,
    /// A folder that outlives the run and may not be there yet, for what makes the next run faster
    /// and changes no result.
    pub kept: &'a Path,
    /// Where to tell progress.
    pub progress: &'a dyn Progress,
    /// Tells when to stop early.
    pub cancel: &'a CancelToken,
}

impl StageContext<'_> {
    /// The input of a role that the settings named. Absent means the stage's `inputs()` did not
    /// list it, which is a fault of that stage.
    pub fn input(&self, role: &str) -> Result<&ResolvedInput, StageError> {
        self.inputs.get(role).ok_or_else(|| StageError::NoSuchInput { role: role.to_owned() })
    }
}

impl fmt::Debug for StageContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageContext")
            .field("name", &self.name)
            .field("inputs", &self.inputs)
            .field("out", &self.out)
            .finish_non_exhaustive()
    }
}

/// One stage of a pipeline: settings that know how to become an artifact.
pub trait Stage: fmt::Debug + Send + Sync {
    /// The kind's key in specs.
    fn kind(&self) -> &'static str;

    /// Version of the implementation. Bumped, with a comment, whenever the same inputs and
    /// settings may give another result.
    fn version(&self) -> u32;

    /// What the stage makes.
    fn makes(&self) -> ArtifactKind;

    /// Fills in what defaults to the pipeline's name; called once, before anything else.
    fn set_pipeline(&mut self, _name: &str) {}

    /// The inputs the settings name. Roles are unique.
    fn inputs(&self) -> Vec<Input>;

    /// The settings that can change the result, without references and without fields at their
    /// default.
    fn settings(&self) -> serde_json::Value;

    /// Facts about this machine that can change the result.
    fn tools(&self, _probe: &dyn ToolProbe) -> Result<BTreeMap<String, String>, StageError> {
        Ok(BTreeMap::new())
    }

    /// Whether the artifact's bytes are the same on every machine, where these tools took part.
    fn deterministic(&self, tools: &BTreeMap<String, String>) -> bool;

    /// The files and folders its artifact will have, where the settings tell them all.
    fn declared_files(&self) -> Option<Vec<&str>> {
        None
    }

    /// The name of the model that it describes for a server.
    fn serves(&self) -> Option<&str> {
        None
    }

    /// The shapes that the engine it makes takes, by input; none where it takes any.
    fn profiles(&self) -> Vec<Profile> {
        Vec::new()
    }

    /// The role whose model keeps its inputs and outputs in what this stage makes.
    fn keeps_signature_of(&self) -> Option<&'static str> {
        None
    }

    /// Whether what it takes from this file or folder is the ONNX model there, if one is.
    fn takes_as_is(&self, _source: &Path) -> bool {
        true
    }

    /// Problems that show without running anything.
    fn check(&self, _cx: &CheckContext<'_>) -> Vec<Problem> {
        Vec::new()
    }

    /// Does the work.
    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError>;
}
