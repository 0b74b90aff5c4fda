//! The plan: a spec's stages as an acyclic graph whose references are resolved.
//!
//! [`Plan::from_spec`] is the only constructor: a `Plan` that exists is acyclic, every reference
//! in it points at a stage or at a root file that is there, and kinds fit. Knows nothing of what
//! is inside files, of caches or of how stages run.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use petgraph::graph::DiGraph;

use crate::artifact::ArtifactKind;
use crate::source::{SourceFile, Span, Spanned};
use crate::spec::{InvalidSpec, Overrides, PipelineSpec, SpecError};
use crate::stage::{Accepts, CheckContext, ModelSignature, Stage};

mod order;
mod references;
mod render;
#[cfg(test)]
mod tests;

pub use render::GraphFormat;

use order::order;
use references::Resolver;

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

/// A root file or folder with the model that a stage works on.
#[derive(Debug, Clone, Copy)]
pub struct RootModel<'a> {
    /// The file or folder.
    pub path: &'a Path,
    /// Where the spec names it.
    pub span: Span,
    /// The stage that takes it in, where it may be a model of any framework.
    pub converted_by: Option<StageIndex>,
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
    pub fn root_model(&self, stage: StageIndex) -> Option<RootModel<'_>> {
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
                    let is_source = role.accepts == Accepts::SourceModel;
                    let converted_by = is_source.then_some(at);
                    return Some(RootModel { path, span: role.span, converted_by });
                }
                InputSource::File { .. } | InputSource::StageFile { .. } => return None,
            }
        }
        None
    }

    /// What [`Stage::check`] finds once the signature of a stage's model is known.
    pub fn check(&self, stage: StageIndex, model: Option<&ModelSignature>) -> Vec<SpecError> {
        self.check_with(stage, &CheckContext { model, ..CheckContext::default() })
    }

    /// What [`Stage::check`] finds once it may look at the file that a stage converts.
    pub fn check_source(&self, stage: StageIndex, source: &Path) -> Vec<SpecError> {
        self.check_with(stage, &CheckContext { source: Some(source), ..CheckContext::default() })
    }

    fn check_with(&self, stage: StageIndex, known: &CheckContext<'_>) -> Vec<SpecError> {
        let planned = &self.stages[stage];
        let engine = planned.inputs.iter().find(|input| input.accepts == Accepts::Engine);
        let profiles = match engine.map(|input| &input.from) {
            Some(InputSource::Stage(maker)) => self.stages[*maker].stage.profiles(),
            _ => Vec::new(),
        };
        let problems = planned.stage.check(&CheckContext { profiles: &profiles, ..*known });
        problems.into_iter().map(SpecError::from).collect()
    }
}

fn takes_model(accepts: Accepts) -> bool {
    matches!(
        accepts,
        Accepts::Model | Accepts::SourceModel | Accepts::ModelOrEngine | Accepts::Engine
    )
}
