//! [`Subject`]: what is inspected, found by a path or by the start of a key.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::artifact::{Digest, Fingerprint, StageResult};
use crate::backend::EngineManifest;
use crate::cli::diagnostic::with_causes;
use crate::cli::project::{self, CacheDir};
use crate::cli::quantity::size;
use crate::source_model::{self, SourceKind, SourceModel};

use super::diff::{Diff, Entries, Section, compare};
use super::engine::EngineFolder;
use super::folder::Folder;
use super::model::ModelFile;
use super::source::{self, SourceFile};
use super::{Failure, View};

/// What is inspected.
#[derive(Debug)]
pub(super) struct Subject {
    /// The file or folder.
    pub(super) path: PathBuf,
    pub(super) content: Content,
    /// The result it was found by.
    result: Option<StageResult>,
}

/// What there is.
#[derive(Debug)]
pub(super) enum Content {
    Model(ModelFile),
    Engine(Box<EngineFolder>),
    /// An engine's file of so many bytes, without its `engine.json`, and what `convert` says of it.
    BareEngine {
        bytes: u64,
        needs: String,
    },
    Source(Box<SourceFile>),
    Folder(Folder),
}

impl Subject {
    pub(super) fn find(what: &Path, cache: &CacheDir) -> Result<Self, Failure> {
        if what.is_file() || what.is_dir() {
            return Ok(Self { path: what.to_owned(), content: Content::at(what)?, result: None });
        }
        let text = what.to_string_lossy();
        if text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Self::stored(&text.to_lowercase(), cache);
        }
        let message = format!("there is no file or folder `{}`", what.display());
        Err((message, Some("name a file, a folder, or at least 4 digits of a key".to_owned())))
    }

    /// A stored result, by the start of its key or of its artifact's digest.
    fn stored(prefix: &str, cache: &CacheDir) -> Result<Self, Failure> {
        let store = project::store_of(&project::root_of(Path::new(".")), cache);
        let inventory = store.ls().map_err(|error| (with_causes(&error), error.help()))?;
        let starts = |digest: &Digest| digest.to_string().starts_with(prefix);
        let fits = |result: &StageResult| starts(&result.key) || starts(&result.artifact.digest);
        let mut found = inventory.results.into_iter().filter(fits);
        let Some(result) = found.next() else {
            let message = format!("nothing in `{}` starts with {prefix}", store.root().display());
            return Err((message, Some("`trt-pipeline cache ls` lists the results".to_owned())));
        };
        if found.any(|other| other.key != result.key && starts(&other.key)) {
            let message = format!("{prefix} is the start of several keys");
            return Err((message, Some("give more digits".into())));
        }
        let path = store.object_path(&result.artifact.digest);
        Ok(Self { content: Content::at(&path)?, path, result: Some(result) })
    }

    /// What differs to another.
    pub(super) fn diff(&self, other: &Self) -> Result<Diff, Failure> {
        let [mut a, mut b] = [self.content.entries(), other.content.entries()];
        let [first, second] = [self.hash(&mut a)?, other.hash(&mut b)?];
        let mut diff = compare(a, b);
        diff.identical = first == second;
        if let (Some(a), Some(b)) = (self.fingerprint(), other.fingerprint())
            && a.kind == b.kind
        {
            diff.key_fields = b.changes_since(&a);
        }
        Ok(diff)
    }

    /// Adds the files by content; gives the digest of all.
    fn hash(&self, entries: &mut Entries) -> Result<Digest, Failure> {
        let stamp =
            project::hash(&self.path).map_err(|error| (with_causes(&error), error.help()))?;
        for (name, file) in stamp.files() {
            let name = if name.is_empty() { "the file" } else { name };
            let value = json!({ "bytes": file.size, "digest": file.digest });
            entries.add(Section::Files, name, value, size(file.size));
        }
        Ok(stamp.digest)
    }

    /// Everything that could have changed it, where it is the result of a stage.
    fn fingerprint(&self) -> Option<Fingerprint> {
        if let Some(result) = &self.result {
            return Some(result.fingerprint.clone());
        }
        let (store, digest) = project::stored_at(&self.path)?;
        let results = store.ls().ok()?.results;
        let made_it = results.into_iter().find(|result| result.artifact.digest == digest);
        made_it.map(|result| result.fingerprint)
    }

    /// The name of its JSON line, and the fields of that.
    pub(super) fn record(&self) -> (&'static str, Value) {
        let (event, mut value) = self.content.record();
        value["path"] = self.path.display().to_string().into();
        match &self.result {
            Some(result) => ("result", json!({ "result": result, "content": value })),
            None => (event, value),
        }
    }

    /// The same for people.
    pub(super) fn text(&self, view: View) -> String {
        let content = format!("{}\n\n{}", self.path.display(), self.content.text(view));
        let Some(result) = &self.result else { return content };
        let fingerprint = serde_json::to_string_pretty(&result.fingerprint).unwrap_or_default();
        format!(
            "key       {}\nartifact  {}\nmade for  {} / {}, {}\n\nkey fields\n{fingerprint}\n\n{content}",
            result.key, result.artifact.digest, result.pipeline, result.stage, result.created
        )
    }
}

impl Content {
    fn at(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            return if path.join(EngineManifest::FILE).exists() {
                EngineFolder::read(path).map(|engine| Self::Engine(Box::new(engine)))
            } else if SourceModel::is_saved_model(path) {
                Self::source(path)
            } else {
                Folder::read(path).map(Self::Folder)
            };
        }
        Self::source(path)
    }

    /// A model of some framework.
    fn source(path: &Path) -> Result<Self, Failure> {
        let model = source_model::detect(path).map_err(|error| source::failure(&error))?;
        match model.kind {
            SourceKind::Onnx => ModelFile::read(path).map(Self::Model),
            SourceKind::Engine => Ok(Self::BareEngine {
                bytes: std::fs::metadata(path).map_or(0, |found| found.len()),
                needs: model.needs(&path.display().to_string()),
            }),
            _ => SourceFile::read(model, path).map(|file| Self::Source(Box::new(file))),
        }
    }

    /// All that is said of it, but for its files.
    fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        let kind = match self {
            Self::Engine(_) | Self::BareEngine { .. } => "engine",
            Self::Model(_) => "model",
            Self::Folder(folder) if folder.model().is_some() => "model",
            Self::Folder(_) => "artifact",
            Self::Source(file) => &file.kind().to_string(),
        };
        entries.add(Section::Facts, "kind", kind, kind);
        match self {
            Self::Model(model) => model.add_to(&mut entries),
            Self::Engine(engine) => engine.add_to(&mut entries),
            Self::Folder(folder) => {
                if let Some(model) = folder.model() {
                    model.add_to(&mut entries);
                }
            }
            Self::Source(file) => file.add_to(&mut entries),
            Self::BareEngine { .. } => {}
        }
        entries
    }

    fn record(&self) -> (&'static str, Value) {
        match self {
            Self::Model(model) => ("model", model.record()),
            Self::Engine(engine) => ("engine", engine.record()),
            Self::BareEngine { bytes, needs } => {
                ("engine_file", json!({ "bytes": bytes, "needs": needs }))
            }
            Self::Source(file) => ("source_model", file.record()),
            Self::Folder(folder) => ("artifact", folder.record()),
        }
    }

    fn text(&self, view: View) -> String {
        match self {
            Self::Model(model) => model.text(view),
            Self::Engine(engine) => engine.text(view),
            Self::Folder(folder) => folder.text(view),
            Self::Source(file) => file.text(view),
            Self::BareEngine { bytes, needs } => format!(
                "the file of a TensorRT engine, {}\n\nonly TensorRT can tell what is in it; `build` \
                 stages write an `{}` beside\ntheir engines that does: name the folder of both\n\n{}\n",
                size(*bytes),
                EngineManifest::FILE,
                view.wrapped(&format!("to convert: {needs}"))
            ),
        }
    }
}
