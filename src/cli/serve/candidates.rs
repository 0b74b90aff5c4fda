//! From what a run made to [`Candidate`]s: deployments and engines, found, checked and kept.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::artifact::{Artifact, Digest, StoreError};
use crate::cli::diagnostic::with_causes;
use crate::cli::pipeline::Ran;
use crate::cli::project::Refusal;
use crate::deployment::{self, Deployment};
use crate::execute::OutcomeKind;
use crate::plan::{InputSource, Plan, StageIndex};
use crate::runtime::Candidate;
use crate::spec::{InvalidSpec, SpecError};

/// The serve stages that a run makes, with the model of each; all where `only` names none.
fn serve_stages<'a>(plan: &'a Plan, only: &[String]) -> Vec<(StageIndex, &'a str)> {
    let named: Vec<StageIndex> = only.iter().filter_map(|name| plan.find(name)).collect();
    let wanted = plan.with_ancestors(&named);
    let stages = plan.stages().iter().enumerate();
    let stages = stages.filter(|(at, _)| only.is_empty() || wanted[*at]);
    stages.filter_map(|(at, stage)| Some((at, stage.stage.serves()?))).collect()
}

/// The models that each pipeline serves; no two serve one of the same name.
#[derive(Debug, Default)]
pub(super) struct Models(Vec<BTreeMap<String, PathBuf>>);

impl Models {
    /// For so many pipelines.
    pub(super) fn of(pipelines: usize) -> Self {
        Self(vec![BTreeMap::new(); pipelines])
    }

    /// Takes the models of a pipeline in the place of those it had, if no other has one of them.
    pub(super) fn take(
        &mut self,
        pipeline: usize,
        plan: &Plan,
        only: &[String],
    ) -> Result<(), Refusal> {
        let mut models = BTreeMap::new();
        let mut errors = Vec::new();
        for (at, model) in serve_stages(plan, only) {
            let mut others = self.0.iter().enumerate().filter(|(other, _)| *other != pipeline);
            let elsewhere = others.find_map(|(_, models)| models.get(model));
            let message = match (elsewhere, models.contains_key(model)) {
                (Some(spec), _) => {
                    format!("`{}` serves a model named `{model}` as well", spec.display())
                }
                (None, true) => format!("another stage serves a model named `{model}` as well"),
                (None, false) => {
                    models.insert(model.to_owned(), plan.spec().path.clone());
                    continue;
                }
            };
            let span = plan.stages()[at].name.span;
            let error = SpecError::new("serve::same_model", span, message, "this stage");
            errors.push(error.with_help("give one of them another `name`"));
        }
        if !errors.is_empty() {
            let file = std::sync::Arc::clone(&plan.spec().source);
            return Err(Refusal::Invalid(InvalidSpec::new(file, errors)));
        }
        if models.is_empty() {
            let spec = plan.spec().path.display();
            let which = if only.is_empty() { "no stage" } else { "none of the stages chosen" };
            return Err(Refusal::Told {
                code: "serve::nothing",
                message: format!("{which} of `{spec}` describes a model to serve"),
                help: Some("add a stage such as `api: { serve: { from: engine } }`".to_owned()),
            });
        }
        self.0[pipeline] = models;
        Ok(())
    }

    /// The names of all models.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(BTreeMap::keys).map(String::as_str)
    }
}

/// The deployments that a run made; those of stages that failed or were skipped are not there.
pub(super) fn of(ran: &Ran, only: &[String]) -> Vec<Result<Candidate, Refusal>> {
    let made = serve_stages(&ran.plan, only).into_iter();
    made.filter_map(|(at, _)| Some(candidate(ran, at, made_by(ran, at)?))).collect()
}

/// What a stage made, if it succeeded.
fn made_by(ran: &Ran, at: StageIndex) -> Option<&Artifact> {
    let outcome = ran.report.outcomes[at].as_ref()?;
    match outcome.kind {
        OutcomeKind::Cached | OutcomeKind::Built => outcome.artifact.as_ref(),
        OutcomeKind::Failed | OutcomeKind::Skipped | OutcomeKind::Cancelled => None,
    }
}

fn candidate(ran: &Ran, at: StageIndex, artifact: &Artifact) -> Result<Candidate, Refusal> {
    let refused = |message: String, help: Option<String>| {
        let stage = &ran.plan.stages()[at].name;
        let message = format!("what stage `{stage}` made cannot be served: {message}");
        Refusal::Told { code: "serve::deployment", message, help }
    };
    let store_says = |error: StoreError| refused(with_causes(&error), error.help());
    ran.store.verify_bytes(artifact).map_err(store_says)?;
    let folder = ran.store.object_path(&artifact.digest);
    let path = folder.join(deployment::FILE_NAME);
    let text = std::fs::read(&path).map_err(|error| refused(error.to_string(), None))?;
    let deployment =
        Deployment::from_json(&text).map_err(|error| refused(with_causes(&error), None))?;
    let mut kept: Vec<Digest> = vec![artifact.digest];
    let inputs = &ran.plan.stages()[at].inputs;
    let from = inputs.iter().find(|input| input.role == "from").map(|input| &input.from);
    let stored = |stage: StageIndex| {
        let made = made_by(ran, stage);
        made.ok_or_else(|| refused("its engine was not made".to_owned(), None))
    };
    let engine = match from {
        Some(InputSource::File { path, .. }) => {
            let found = ran.store.hash_input(path).map_err(store_says)?;
            let shown = path.display();
            if found.digest != deployment.model.engine.digest {
                let help = "run again once nobody writes to it";
                let message = format!("the engine `{shown}` has changed meanwhile");
                return Err(refused(message, Some(help.to_owned())));
            }
            tracing::warn!(
                "model `{}` is served from `{shown}`, which is outside the cache: nobody checked \
                 where it came from, and nobody keeps it from changing",
                deployment.model.name
            );
            path.clone()
        }
        Some(InputSource::Stage(stage)) => {
            let made = stored(*stage)?;
            ran.store.verify_bytes(made).map_err(store_says)?;
            kept.push(made.digest);
            ran.store.object_path(&made.digest)
        }
        Some(InputSource::StageFile { stage, path, .. }) => {
            let made = stored(*stage)?;
            ran.store.verify_bytes(made).map_err(store_says)?;
            kept.push(made.digest);
            ran.store.object_path(&made.digest).join(path)
        }
        None => return Err(refused("it names no engine".to_owned(), None)),
    };
    let lease = ran.store.lease(&kept).map_err(store_says)?;
    Ok(Candidate { deployment, digest: artifact.digest, folder, engine, lease: Some(lease) })
}
