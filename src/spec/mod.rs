//! The spec: YAML text to [`PipelineSpec`], with every error at once and every value's place.
//!
//! Owns the spec language (version 1): parsing, variables, types, stage names. Knows the stage
//! kinds only through `stage::StageSpec`; knows nothing of files on disk, graphs or caches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source::{SourceFile, Span, Spanned};
use crate::stage::{self, Stage, StageSpec};

pub mod error;
mod interpolate;
mod scalar;
pub mod schema;
pub mod tree;
mod typed;

pub use error::SpecError;

use interpolate::{Later, Scope};
use tree::{Entry, Node, Value};

/// A pipeline as its file describes it, variables filled in.
#[derive(Debug, Clone)]
pub struct PipelineSpec {
    /// The text, for diagnostics.
    pub source: Arc<SourceFile>,
    /// The file.
    pub path: PathBuf,
    /// The pipeline's name.
    pub name: Spanned<String>,
    /// The stages, in the order written.
    pub stages: Vec<NamedStage>,
    /// Names of stages that could not be read; empty in a spec without errors.
    unread: Vec<String>,
}

/// One stage of a spec.
#[derive(Debug, Clone)]
pub struct NamedStage {
    /// Its name.
    pub name: Spanned<String>,
    /// Stages that must have ended before, though nothing of them is used.
    pub needs: Vec<Spanned<String>>,
    /// What it does.
    pub stage: Arc<dyn Stage>,
}

/// What the command line adds to a spec.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--set name=value`, in order.
    pub set: Vec<(String, String)>,
}

/// All that is wrong with a spec, in file order.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{}` is not a valid pipeline", file.name)]
pub struct InvalidSpec {
    /// The text the places refer to.
    pub file: Arc<SourceFile>,
    /// The errors; at least one.
    pub errors: Vec<SpecError>,
    /// The stages that could be read, so that what else is wrong can be told as well.
    pub(crate) rest: Option<Box<PipelineSpec>>,
}

impl InvalidSpec {
    /// All that is wrong with a spec; brought into file order.
    pub fn new(file: Arc<SourceFile>, errors: Vec<SpecError>) -> Self {
        Self { file, errors: error::sorted(errors), rest: None }
    }
}

/// The keys of a spec file.
const TOP_KEYS: [&str; 4] = ["version", "name", "vars", "stages"];
/// Names that `${..}` gives another meaning.
const RESERVED_VARS: [&str; 3] = ["env", "inputs", "outputs"];

impl PipelineSpec {
    /// Reads a spec from its text.
    pub fn parse(
        path: &Path,
        source: Arc<SourceFile>,
        overrides: &Overrides,
    ) -> Result<Self, InvalidSpec> {
        let env = |name: &str| std::env::var(name).ok();
        let mut reader =
            Reader { text: &source.text, errors: Vec::new(), unread: Vec::new(), env: &env };
        let read = reader.spec(overrides);
        let Reader { errors, unread, .. } = reader;
        let spec = read.map(|(name, stages)| {
            let name = name.unwrap_or_else(|| Spanned::unplaced(default_name(path)));
            let stages = stages.into_iter().map(|read| read.of_pipeline(&name)).collect();
            let (source, path) = (Arc::clone(&source), path.to_owned());
            Self { source, path, name, stages, unread }
        });
        match spec {
            Some(spec) if errors.is_empty() => Ok(spec),
            rest => {
                Err(InvalidSpec { rest: rest.map(Box::new), ..InvalidSpec::new(source, errors) })
            }
        }
    }

    /// The names of all stages, those that could not be read last.
    pub(crate) fn stage_names(&self) -> impl Iterator<Item = &str> {
        let read = self.stages.iter().map(|stage| stage.name.as_str());
        read.chain(self.unread.iter().map(String::as_str))
    }

    /// Whether the spec has a stage of this name that could not be read, about which all is said.
    pub(crate) fn is_unread(&self, name: &str) -> bool {
        self.unread.iter().any(|unread| unread == name)
    }

    /// The folder that relative paths in the spec start from.
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

/// A pipeline without a name is called after its file, or after the folder of a `pipeline.yaml`.
fn default_name(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
    let name = match (stem.as_deref(), folder) {
        (Some("pipeline"), Some(folder)) => folder.into_owned(),
        (Some(stem), _) => stem.to_owned(),
        _ => "pipeline".to_owned(),
    };
    let clean: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if stage::is_name(&clean) { clean } else { format!("p{clean}") }
}

/// A stage before the pipeline's name is known.
struct ReadStage {
    name: Spanned<String>,
    needs: Vec<Spanned<String>>,
    stage: Box<dyn Stage>,
}

impl ReadStage {
    fn of_pipeline(mut self, name: &str) -> NamedStage {
        self.stage.set_pipeline(name);
        NamedStage { name: self.name, needs: self.needs, stage: Arc::from(self.stage) }
    }
}

struct Reader<'a> {
    text: &'a str,
    errors: Vec<SpecError>,
    unread: Vec<String>,
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn spec(&mut self, overrides: &Overrides) -> Option<(Option<Spanned<String>>, Vec<ReadStage>)> {
        let mut root = match tree::parse(self.text) {
            Ok(root) => root,
            Err(error) => {
                self.errors.push(error);
                return None;
            }
        };
        let Value::Map(entries) = &mut root.value else {
            self.errors.push(
                SpecError::new("spec::type", root.span, "a spec is a mapping", "not a mapping")
                    .with_help("start with `version: 1` and `stages:`"),
            );
            return None;
        };
        let mut top: BTreeMap<&str, Entry> = BTreeMap::new();
        for entry in entries.drain(..) {
            match TOP_KEYS.iter().find(|known| **known == entry.key.value) {
                Some(known) => {
                    top.insert(known, entry);
                }
                None => self.errors.push(
                    SpecError::new(
                        "spec::unknown_key",
                        entry.key.span,
                        format!("unknown key `{}`", entry.key.value),
                        "not a key of a spec",
                    )
                    .suggesting(&entry.key.value, TOP_KEYS, "keys"),
                ),
            }
        }
        self.version(top.get("version"));
        let vars = self.vars(top.remove("vars"), overrides);
        let name = top.remove("name").and_then(|entry| self.name(entry, &vars));
        let stages = self.stages(top.remove("stages"), &vars)?;
        Some((name, stages))
    }

    fn version(&mut self, entry: Option<&Entry>) {
        let Some(entry) = entry else {
            self.errors.push(
                SpecError::new(
                    "spec::version",
                    Span::default(),
                    "the key `version` is missing",
                    "the spec starts here",
                )
                .with_help("add `version: 1` as the first line"),
            );
            return;
        };
        match typed::from_node::<u32>(&entry.value, entry.key.span) {
            Ok(1) => {}
            Ok(other) => self.errors.push(
                SpecError::new(
                    "spec::version",
                    entry.value.span,
                    format!("version {other} of the spec language is unknown"),
                    "this build knows version 1",
                )
                .with_help("use a newer trt-pipeline, or write `version: 1`"),
            ),
            Err(error) => self.errors.push(error),
        }
    }

    fn vars(&mut self, entry: Option<Entry>, overrides: &Overrides) -> BTreeMap<String, Node> {
        let mut vars = BTreeMap::new();
        if let Some(entry) = entry {
            let span = entry.value.span;
            let Value::Map(entries) = entry.value.value else {
                self.errors.push(SpecError::new(
                    "spec::type",
                    span,
                    "`vars` is a mapping of names to values",
                    "not a mapping",
                ));
                return vars;
            };
            for Entry { key, value } in entries {
                if RESERVED_VARS.contains(&key.as_str()) || !stage::is_name(&key) {
                    self.errors.push(
                        SpecError::new(
                            "spec::variable_name",
                            key.span,
                            format!("a variable cannot be called `{}`", key.value),
                            "not a variable's name",
                        )
                        .with_help(format!(
                            "use letters, digits, `_` and `-`; {} are taken",
                            RESERVED_VARS.join(", ")
                        )),
                    );
                }
                interpolate::refuse_in_vars(&value, &mut self.errors);
                vars.insert(key.value, value);
            }
        }
        for (name, text) in &overrides.set {
            if vars.contains_key(name) {
                vars.insert(name.clone(), interpolate::set_value(text));
            } else {
                self.errors.push(
                    SpecError::new(
                        "spec::unknown_variable",
                        Span::default(),
                        format!("`--set {name}=..` names a variable that the spec does not have"),
                        "",
                    )
                    .suggesting(
                        name,
                        vars.keys().map(String::as_str),
                        "variables",
                    ),
                );
            }
        }
        vars
    }

    fn name(&mut self, mut entry: Entry, vars: &BTreeMap<String, Node>) -> Option<Spanned<String>> {
        let scope = Scope { vars, env: self.env, text: self.text };
        interpolate::resolve(&mut entry.value, &scope, Later::Nothing, &mut self.errors);
        match typed::from_node::<String>(&entry.value, entry.key.span) {
            Ok(name) if stage::is_name(&name) => Some(Spanned::new(name, entry.value.span)),
            Ok(name) => {
                self.errors.push(bad_name("pipeline", &name, entry.value.span));
                None
            }
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }

    fn stages(
        &mut self,
        entry: Option<Entry>,
        vars: &BTreeMap<String, Node>,
    ) -> Option<Vec<ReadStage>> {
        let Some(entry) = entry else {
            self.errors.push(
                SpecError::new(
                    "spec::stages",
                    Span::default(),
                    "the key `stages` is missing",
                    "the spec starts here",
                )
                .with_help("add `stages:` with at least one stage"),
            );
            return None;
        };
        let Value::Map(entries) = entry.value.value else {
            self.errors.push(
                SpecError::new(
                    "spec::type",
                    entry.value.span,
                    "`stages` is a mapping of stage names to stages",
                    "not a mapping",
                )
                .with_help("write `name: { kind: { .. } }` under `stages:`"),
            );
            return None;
        };
        if entries.is_empty() {
            self.errors.push(SpecError::new(
                "spec::stages",
                entry.key.span,
                "the pipeline has no stages",
                "empty",
            ));
        }
        let mut stages = Vec::with_capacity(entries.len());
        for stage in entries {
            let name = stage.key.value.clone();
            match self.stage(stage, vars) {
                Ok(Some(stage)) => stages.push(stage),
                Ok(None) => self.unread.push(name),
                Err(error) => {
                    self.errors.push(error);
                    self.unread.push(name);
                }
            }
        }
        Some(stages)
    }

    fn stage(
        &mut self,
        mut entry: Entry,
        vars: &BTreeMap<String, Node>,
    ) -> Result<Option<ReadStage>, SpecError> {
        if !stage::is_name(&entry.key) {
            self.errors.push(bad_name("stage", &entry.key, entry.key.span));
        }
        let scope = Scope { vars, env: self.env, text: self.text };
        let before = self.errors.len();
        match &mut entry.value.value {
            Value::Map(parts) => {
                for part in parts {
                    interpolate::refuse_in_key(&part.key, &mut self.errors);
                    let later = if part.key.value == stage::COMMAND {
                        Later::CommandFiles
                    } else {
                        Later::Nothing
                    };
                    interpolate::resolve(&mut part.value, &scope, later, &mut self.errors);
                }
            }
            _ => interpolate::resolve(&mut entry.value, &scope, Later::Nothing, &mut self.errors),
        }
        if self.errors.len() > before {
            return Ok(None);
        }
        let spec: StageSpec = typed::from_node(&entry.value, entry.key.span)?;
        let needs = spec.needs.value.clone();
        let mut kinds = spec.into_stages();
        let kinds_text = stage::KINDS.join(", ");
        match kinds.len() {
            0 => Err(SpecError::new(
                "spec::no_kind",
                entry.key.span,
                format!("the stage `{}` has no kind", entry.key.value),
                "does nothing",
            )
            .with_help(format!("give it one of: {kinds_text}"))),
            1 => {
                let (_, stage) = kinds.swap_remove(0);
                Ok(Some(ReadStage { name: entry.key, needs, stage }))
            }
            _ => {
                let mut places =
                    kinds.iter().map(|(span, stage)| (*span, format!("`{}`", stage.kind())));
                let first = places.next().unwrap_or_default();
                let mut error = SpecError::new(
                    "spec::two_kinds",
                    first.0,
                    format!("the stage `{}` has {} kinds", entry.key.value, kinds.len()),
                    first.1,
                )
                .with_help("a stage has exactly one kind: make two stages of it");
                for (span, label) in places {
                    error = error.and_at(span, label);
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;

fn bad_name(what: &str, name: &str, span: Span) -> SpecError {
    SpecError::new("spec::name", span, format!("`{name}` cannot name a {what}"), "not a name")
        .with_help(
            "start with a letter or `_`, go on with letters, digits, `_` and `-` (64 at most)",
        )
}
