//! Resolving what stages refer to: other stages, their files, root files.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::artifact::ArtifactKind;
use crate::source::Spanned;
use crate::spec::{PipelineSpec, SpecError};
use crate::stage::{Accepts, Input, Reference};

use super::{InputSource, PlannedInput, StageIndex};

/// Unknown stages beyond this many are told without a suggestion.
const MOST_SUGGESTIONS: usize = 20;

pub(super) struct Resolver<'a> {
    pub(super) spec: &'a PipelineSpec,
    pub(super) index: &'a HashMap<&'a str, StageIndex>,
    pub(super) suggestions: Cell<usize>,
}

impl Resolver<'_> {
    pub(super) fn stage(&self, name: &Spanned<String>) -> Result<StageIndex, SpecError> {
        self.index.get(name.as_str()).copied().ok_or_else(|| {
            let error = SpecError::new(
                "plan::unknown_stage",
                name.span,
                format!("unknown stage `{}`", name.value),
                "no stage of this name",
            );
            // Each compares the name with those of all stages.
            self.suggestions.set(self.suggestions.get() + 1);
            if self.suggestions.get() > MOST_SUGGESTIONS {
                return error;
            }
            let names: Vec<&str> = self.spec.stage_names().collect();
            error.suggesting(name, names.iter().copied(), "stages")
        })
    }

    pub(super) fn input(&self, input: &Input) -> Result<PlannedInput, SpecError> {
        let from = match &input.reference {
            Reference::Stage(name) => {
                let stage = self.stage(name)?;
                let named = &self.spec.stages[stage];
                if !accepts_kind(input.accepts, named.stage.makes()) {
                    let made = named.stage.makes();
                    return Err(SpecError::new(
                        "plan::kind",
                        name.span,
                        format!(
                            "`{}` takes {}, but the stage `{}` makes {}",
                            input.role,
                            in_words(input.accepts),
                            name.value,
                            with_article(made),
                        ),
                        format!("makes {}", with_article(made)),
                    )
                    .and_at(named.name.span, format!("a stage of kind `{}`", named.stage.kind()))
                    .with_help(kind_help(input.accepts, made)));
                }
                InputSource::Stage(stage)
            }
            Reference::StageFile { stage, path, kind } => {
                let stage = self.stage(stage)?;
                refuse_escape(path)?;
                self.refuse_undeclared(stage, path)?;
                InputSource::StageFile { stage, path: path.value.clone(), kind: *kind }
            }
            Reference::File { path, kind } => {
                if let Some(kind) = kind.filter(|kind| !accepts_kind(input.accepts, *kind)) {
                    return Err(SpecError::new(
                        "plan::kind",
                        path.span,
                        format!(
                            "`{}` takes {}, but this file is declared to be {}",
                            input.role,
                            in_words(input.accepts),
                            with_article(kind),
                        ),
                        format!("declared to be {}", with_article(kind)),
                    )
                    .with_help(kind_help(input.accepts, kind)));
                }
                InputSource::File { path: self.root_file(path)?, kind: *kind }
            }
        };
        let span = input.reference.span();
        Ok(PlannedInput { role: input.role.clone(), accepts: input.accepts, from, span })
    }

    /// A file of a command must be one that it declares.
    fn refuse_undeclared(
        &self,
        stage: StageIndex,
        path: &Spanned<String>,
    ) -> Result<(), SpecError> {
        let named = &self.spec.stages[stage];
        let Some(files) = named.stage.declared_files() else { return Ok(()) };
        if files.iter().any(|declared| covers(declared, path)) {
            return Ok(());
        }
        let name = named.name.as_str();
        let message = format!("the stage `{name}` declares no output `{}`", path.value);
        let label = format!("not an output of `{name}`");
        Err(SpecError::new("plan::artifact_file", path.span, message, label)
            .suggesting(path, files, "outputs"))
    }

    fn root_file(&self, path: &Spanned<String>) -> Result<PathBuf, SpecError> {
        let full = self.spec.folder().join(&path.value);
        let problem = match std::fs::metadata(&full) {
            Ok(found) if found.is_file() || found.is_dir() => return Ok(full),
            Ok(_) => "it is neither a file nor a folder".to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "no such file".to_owned(),
            Err(error) => error.to_string(),
        };
        let is_special = full.exists();
        let mut error = SpecError::new(
            "plan::missing_file",
            path.span,
            format!("cannot use `{}`: {problem}", path.value),
            problem,
        );
        let siblings = neighbours(&full);
        let name = full.file_name().map(|name| name.to_string_lossy().into_owned());
        let near = name.and_then(|name| {
            let others = siblings.iter().map(String::as_str).filter(|other| *other != name);
            crate::suggest::closest(&name, others).map(str::to_owned)
        });
        error.help = Some(match (near, self.index.contains_key(path.as_str())) {
            (_, true) => format!(
                "a path is wanted here; a file that a stage makes is written \
                 `{{ from: {}, path: .. }}`",
                path.value
            ),
            (Some(near), _) if !is_special => {
                format!("did you mean `{near}` in the same folder?")
            }
            _ if is_special => "a regular file or a folder is wanted here".to_owned(),
            _ => format!("paths start at the spec's folder, `{}`", self.spec.folder().display()),
        });
        Err(error)
    }
}

/// Whether a declared output is the file, is a folder it is in, or is in the folder it names.
fn covers(declared: &str, path: &str) -> bool {
    let (declared, path) = (Path::new(declared), Path::new(path));
    path.starts_with(declared) || declared.starts_with(path)
}

/// File names beside a path, for suggestions; none where the folder cannot be read.
fn neighbours(path: &Path) -> Vec<String> {
    let Some(folder) = path.parent() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.take(1000).filter_map(Result::ok);
    let mut names: Vec<String> =
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A path in an artifact stays in it.
fn refuse_escape(path: &Spanned<String>) -> Result<(), SpecError> {
    let inside = Path::new(&path.value)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
    if inside && !path.is_empty() {
        return Ok(());
    }
    Err(SpecError::new(
        "plan::artifact_path",
        path.span,
        format!("`{}` is not a path inside an artifact", path.value),
        "must be relative and without `..`",
    ))
}

fn accepts_kind(accepts: Accepts, kind: ArtifactKind) -> bool {
    match accepts {
        Accepts::Data => false,
        Accepts::Model | Accepts::SourceModel => kind == ArtifactKind::Model,
        Accepts::Engine => kind == ArtifactKind::Engine,
        Accepts::ModelOrEngine | Accepts::ModelEngineOrData => {
            matches!(kind, ArtifactKind::Model | ArtifactKind::Engine)
        }
        Accepts::PassedReport => kind == ArtifactKind::Report,
    }
}

fn in_words(accepts: Accepts) -> &'static str {
    match accepts {
        Accepts::Data => "a file",
        Accepts::Model | Accepts::SourceModel => "a model",
        Accepts::Engine => "an engine",
        Accepts::ModelOrEngine => "a model or an engine",
        Accepts::ModelEngineOrData => "a model, an engine or a file of recorded outputs",
        Accepts::PassedReport => "the report of a validate stage",
    }
}

fn with_article(kind: ArtifactKind) -> String {
    match kind {
        ArtifactKind::Engine => "an engine".to_owned(),
        ArtifactKind::Files => "files".to_owned(),
        other => format!("a {other}"),
    }
}

fn kind_help(accepts: Accepts, made: ArtifactKind) -> &'static str {
    match (accepts, made) {
        (Accepts::Engine, ArtifactKind::Model) => "put a `build` stage in between",
        (Accepts::PassedReport, _) => "name a `validate` stage",
        (_, ArtifactKind::Files) => "name one of its files: `{ from: stage, path: file }`",
        (Accepts::Model | Accepts::SourceModel, ArtifactKind::Engine) => {
            "an engine cannot be turned back into a model"
        }
        _ => "refer to a stage of a fitting kind",
    }
}
