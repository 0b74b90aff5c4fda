//! The plan: a spec's stages as an acyclic graph whose references are resolved.
//!
//! [`Plan::from_spec`] is the only constructor: a `Plan` that exists is acyclic, every reference
//! in it points at a stage or at a root file that is there, and kinds fit. Knows nothing of what
//! is inside files, of caches or of how stages run.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::artifact::ArtifactKind;
use crate::source::{SourceFile, Span, Spanned};
use crate::spec::{InvalidSpec, Overrides, PipelineSpec, SpecError};
use crate::stage::{Accepts, CheckContext, Input, ModelSignature, Reference, Stage};

mod render;
#[cfg(test)]
mod tests;

pub use render::GraphFormat;

/// Index of a stage in [`Plan::stages`].
pub type StageIndex = usize;

/// A pipeline, ready to run.
#[derive(Debug)]
pub struct Plan {
    spec: PipelineSpec,
    stages: Vec<PlannedStage>,
    graph: DiGraph<StageIndex, ()>,
    order: Vec<StageIndex>,
}

/// A stage with its references resolved.
#[derive(Debug)]
pub struct PlannedStage {
    /// Its name.
    pub name: Spanned<String>,
    /// What it does.
    pub stage: Arc<dyn Stage>,
    /// Its inputs.
    pub inputs: Vec<PlannedInput>,
    /// The stages that must end before it starts, each once, in index order.
    pub after: Vec<StageIndex>,
}

/// One input of a planned stage.
#[derive(Debug)]
pub struct PlannedInput {
    /// Its role in the stage.
    pub role: String,
    /// What may stand there.
    pub accepts: Accepts,
    /// Where it comes from.
    pub from: InputSource,
    /// Where the spec names it.
    pub span: Span,
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputSource {
    /// The whole artifact of a stage.
    Stage(StageIndex),
    /// A file or folder in the artifact of a stage.
    StageFile {
        /// The stage.
        stage: StageIndex,
        /// The path in its artifact.
        path: String,
        /// What the user says it is.
        kind: Option<ArtifactKind>,
    },
    /// A root file or folder.
    File {
        /// Its path, joined to the spec's folder.
        path: PathBuf,
        /// What the user says it is.
        kind: Option<ArtifactKind>,
    },
}

impl InputSource {
    /// The stage that makes it, if one does.
    pub fn stage(&self) -> Option<StageIndex> {
        match self {
            Self::Stage(stage) | Self::StageFile { stage, .. } => Some(*stage),
            Self::File { .. } => None,
        }
    }
}

impl Plan {
    /// Resolves a spec; the error has everything that is wrong.
    pub fn from_spec(spec: PipelineSpec) -> Result<Self, InvalidSpec> {
        let mut errors = Vec::new();
        let index: HashMap<&str, StageIndex> =
            spec.stages.iter().enumerate().map(|(at, stage)| (stage.name.as_str(), at)).collect();
        let resolver = Resolver { spec: &spec, index: &index, suggestions: Cell::new(0) };
        let mut stages = Vec::with_capacity(spec.stages.len());
        let mut references: HashMap<(StageIndex, StageIndex), Span> = HashMap::new();
        for (at, named) in spec.stages.iter().enumerate() {
            let mut after = Vec::new();
            for need in &named.needs {
                if resolver.spec.is_unread(need) {
                    continue;
                }
                match resolver.stage(need) {
                    Ok(stage) => {
                        references.entry((at, stage)).or_insert(need.span);
                        after.push(stage);
                    }
                    Err(error) => errors.push(error),
                }
            }
            let mut inputs = Vec::new();
            for input in named.stage.inputs() {
                if input.reference.stage().is_some_and(|stage| resolver.spec.is_unread(stage)) {
                    continue;
                }
                // A stage that makes the wrong thing is waited for all the same.
                let used = input.reference.stage().and_then(|name| index.get(name.as_str()));
                if let Some(&stage) = used {
                    references.entry((at, stage)).or_insert(input.reference.span());
                    after.push(stage);
                }
                match resolver.input(&input) {
                    Ok(planned) => inputs.push(planned),
                    Err(error) => errors.push(error),
                }
            }
            let problems = named.stage.check(&CheckContext::default());
            errors.extend(problems.into_iter().map(SpecError::from));
            after.sort_unstable();
            after.dedup();
            stages.push(PlannedStage {
                name: named.name.clone(),
                stage: Arc::clone(&named.stage),
                inputs,
                after,
            });
        }
        let (graph, order) = order(&stages, &references, &mut errors);
        if errors.is_empty() {
            return Ok(Self { spec, stages, graph, order });
        }
        let file = Arc::clone(&spec.source);
        Err(InvalidSpec::new(file, errors))
    }

    /// Reads and resolves a spec; the error has everything that is wrong with either.
    pub fn parse(
        path: &Path,
        source: Arc<SourceFile>,
        overrides: &Overrides,
    ) -> Result<Self, InvalidSpec> {
        let mut invalid = match PipelineSpec::parse(path, source, overrides) {
            Ok(spec) => return Self::from_spec(spec),
            Err(invalid) => invalid,
        };
        if let Some(Err(more)) = invalid.rest.take().map(|rest| Self::from_spec(*rest)) {
            invalid.errors.extend(more.errors);
            invalid.errors = crate::spec::error::sorted(invalid.errors);
        }
        Err(invalid)
    }

    /// The spec this came from.
    pub fn spec(&self) -> &PipelineSpec {
        &self.spec
    }

    /// The stages, in the order written.
    pub fn stages(&self) -> &[PlannedStage] {
        &self.stages
    }

    /// The stages in an order in which each comes after everything it uses; of those that are
    /// free, the one written first comes first.
    pub fn order(&self) -> &[StageIndex] {
        &self.order
    }

    /// The graph; edges point from a stage to those that use it.
    pub fn graph(&self) -> &DiGraph<StageIndex, ()> {
        &self.graph
    }

    /// Finds a stage by name.
    pub fn find(&self, name: &str) -> Option<StageIndex> {
        self.stages.iter().position(|stage| stage.name.value == name)
    }

    /// The given stages and everything they use.
    pub fn with_ancestors(&self, stages: &[StageIndex]) -> Vec<bool> {
        let mut wanted = vec![false; self.stages.len()];
        let mut stack = stages.to_vec();
        while let Some(stage) = stack.pop() {
            if !std::mem::replace(&mut wanted[stage], true) {
                stack.extend(&self.stages[stage].after);
            }
        }
        wanted
    }

    /// The root model whose inputs and outputs the stage's model has, where nothing that is still
    /// to be built decides about them.
    pub fn root_model(&self, stage: StageIndex) -> Option<(&Path, Span)> {
        let mut at = stage;
        for _ in 0..=self.stages.len() {
            let planned = &self.stages[at];
            let role = if at == stage {
                planned.inputs.iter().find(|input| takes_model(input.accepts))?
            } else {
                let role = planned.stage.keeps_signature_of()?;
                planned.inputs.iter().find(|input| input.role == role)?
            };
            match &role.from {
                InputSource::Stage(next) => at = *next,
                InputSource::File { path, kind } if *kind != Some(ArtifactKind::Engine) => {
                    return Some((path, role.span));
                }
                InputSource::File { .. } | InputSource::StageFile { .. } => return None,
            }
        }
        None
    }

    /// What [`Stage::check`] finds once the signature of a stage's model is known.
    pub fn check(&self, stage: StageIndex, model: Option<&ModelSignature>) -> Vec<SpecError> {
        let problems = self.stages[stage].stage.check(&CheckContext { model });
        problems.into_iter().map(SpecError::from).collect()
    }
}

fn takes_model(accepts: Accepts) -> bool {
    matches!(accepts, Accepts::Model | Accepts::ModelOrEngine | Accepts::Engine)
}

/// Unknown stages beyond this many are told without a suggestion.
const MOST_SUGGESTIONS: usize = 20;

struct Resolver<'a> {
    spec: &'a PipelineSpec,
    index: &'a HashMap<&'a str, StageIndex>,
    suggestions: Cell<usize>,
}

impl Resolver<'_> {
    fn stage(&self, name: &Spanned<String>) -> Result<StageIndex, SpecError> {
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

    fn input(&self, input: &Input) -> Result<PlannedInput, SpecError> {
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
                    .and_at(named.name.span, format!("a `{}` stage", named.stage.kind()))
                    .with_help(kind_help(input.accepts, made)));
                }
                InputSource::Stage(stage)
            }
            Reference::StageFile { stage, path, kind } => {
                let stage = self.stage(stage)?;
                refuse_escape(path)?;
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
            crate::suggest::closest(&name, siblings.iter().map(String::as_str)).map(str::to_owned)
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
        Accepts::Model => kind == ArtifactKind::Model,
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
        Accepts::Model => "a model",
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
        (Accepts::Model, ArtifactKind::Engine) => "an engine cannot be turned back into a model",
        _ => "refer to a stage of a fitting kind",
    }
}

/// The graph and a topological order; cycles become errors that draw themselves.
fn order(
    stages: &[PlannedStage],
    references: &HashMap<(StageIndex, StageIndex), Span>,
    errors: &mut Vec<SpecError>,
) -> (DiGraph<StageIndex, ()>, Vec<StageIndex>) {
    let mut graph = DiGraph::with_capacity(stages.len(), stages.len() * 2);
    for at in 0..stages.len() {
        graph.add_node(at);
    }
    for (at, stage) in stages.iter().enumerate() {
        for &before in &stage.after {
            graph.add_edge(NodeIndex::new(before), NodeIndex::new(at), ());
        }
    }
    for component in tarjan_scc(&graph) {
        let members: Vec<StageIndex> = component.iter().map(|node| node.index()).collect();
        let cyclic = members.len() > 1 || stages[members[0]].after.contains(&members[0]);
        if cyclic {
            errors.push(cycle_error(stages, &members, references));
        }
    }
    let mut waiting: Vec<usize> = stages.iter().map(|stage| stage.after.len()).collect();
    let mut free: std::collections::BinaryHeap<std::cmp::Reverse<StageIndex>> = waiting
        .iter()
        .enumerate()
        .filter(|(_, count)| **count == 0)
        .map(|(at, _)| std::cmp::Reverse(at))
        .collect();
    let mut order = Vec::with_capacity(stages.len());
    while let Some(std::cmp::Reverse(at)) = free.pop() {
        order.push(at);
        for next in graph.neighbors(NodeIndex::new(at)) {
            waiting[next.index()] -= 1;
            if waiting[next.index()] == 0 {
                free.push(std::cmp::Reverse(next.index()));
            }
        }
    }
    (graph, order)
}

/// Stages that are drawn at each end of a long cycle.
const DRAWN_ENDS: usize = 8;

/// Walks inside a strongly connected component until a stage comes up again.
fn cycle_error(
    stages: &[PlannedStage],
    members: &[StageIndex],
    references: &HashMap<(StageIndex, StageIndex), Span>,
) -> SpecError {
    let start = members.iter().copied().min().unwrap_or(0);
    let mut path = vec![start];
    loop {
        let at = path[path.len() - 1];
        let next = stages[at].after.iter().copied().find(|next| members.contains(next));
        let Some(next) = next else { break };
        if let Some(again) = path.iter().position(|seen| *seen == next) {
            path.drain(..again);
            break;
        }
        path.push(next);
    }
    let name = |at: StageIndex| stages[at].name.as_str();
    let mut drawn: Vec<&str> = path.iter().map(|at| name(*at)).collect();
    drawn.push(name(path[0]));
    if drawn.len() > 2 * DRAWN_ENDS + 1 {
        drawn.splice(DRAWN_ENDS..drawn.len() - DRAWN_ENDS, [".."]);
    }
    let mut uses = path.iter().zip(path.iter().skip(1).chain(&path[..1])).map(|(at, next)| {
        let span = references.get(&(*at, *next)).copied().unwrap_or(stages[*at].name.span);
        (span, format!("`{}` uses `{}`", name(*at), name(*next)))
    });
    let first = uses.next().unwrap_or_default();
    let mut error = SpecError::new(
        "plan::cycle",
        first.0,
        format!("stages use each other in a cycle: {}", drawn.join(" -> ")),
        first.1,
    )
    .with_help("remove one of these references");
    for (span, label) in uses.take(2 * DRAWN_ENDS) {
        error = error.and_at(span, label);
    }
    error
}
