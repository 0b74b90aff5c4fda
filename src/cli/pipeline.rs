//! [`Pipeline`]: a pipeline that is run again whenever what it reads has changed.
//!
//! Owns what was read last and what was wrong last. Does not know who serves what comes out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::artifact::Store;
use crate::execute::event::Trigger;
use crate::execute::{Executor, Force, RunEvent, RunReport};
use crate::plan::Plan;
use crate::process::CancelToken;
use crate::spec::{Overrides, PipelineSpec};
use crate::stage::Reference;

use super::ExitStatus;
use super::console::Console;
use super::execution::{Execution, ExecutionArgs};
use super::inputs::{self, Inputs};
use super::project::{self, Refusal, SpecArgs};

/// Which pipelines, and how to run them.
#[derive(Debug, Args)]
pub(super) struct PipelinesArgs {
    /// The pipelines' YAML files
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Give a variable another value, in every spec; the value is a YAML scalar
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = project::assignment)]
    set: Vec<(String, String)>,
    /// Run only these stages, with everything they use; several with commas, or by repeating this
    /// [default: all]
    #[arg(long = "stage", value_name = "STAGE", value_delimiter = ',')]
    stages: Vec<String>,
    #[command(flatten)]
    pub(super) how: ExecutionArgs,
}

impl PipelinesArgs {
    /// The pipelines, none of them read yet.
    pub(super) fn pipelines(&self) -> Vec<Pipeline<'_>> {
        let pipeline = |spec: &PathBuf| Pipeline {
            spec: SpecArgs { spec: spec.clone(), set: self.set.clone() },
            args: self,
            name: None,
            last: None,
            refused: None,
            awaited: BTreeSet::new(),
        };
        self.specs.iter().map(pipeline).collect()
    }
}

/// A pipeline that is run again and again.
pub(super) struct Pipeline<'a> {
    spec: SpecArgs,
    args: &'a PipelinesArgs,
    /// The pipeline's name, once the spec could be read.
    name: Option<String>,
    /// What the last run read.
    last: Option<Inputs>,
    /// What is wrong with the spec as it is now.
    refused: Option<String>,
    /// Files that would be read if nothing were wrong.
    awaited: BTreeSet<PathBuf>,
}

/// What every run of a session shares.
#[derive(Clone, Copy)]
pub(super) struct Session<'a> {
    pub(super) console: &'a Console,
    /// Cancelled when the program is to end.
    pub(super) stop: &'a CancelToken,
    /// What can be told to be wrong with a plan among others.
    pub(super) accept: &'a dyn Fn(&Plan) -> Result<(), Refusal>,
}

/// What came of looking at a pipeline again.
pub(super) enum Refreshed {
    /// Everything it reads is as it was.
    Unchanged,
    /// It cannot be run as it is; why has been shown.
    Refused,
    /// It was run.
    Ran(Box<Ran>),
}

/// A run, and what it ran on. The store is still open: nobody can remove what was made.
pub(super) struct Ran {
    pub(super) plan: Plan,
    pub(super) store: Store,
    pub(super) report: RunReport,
}

impl Pipeline<'_> {
    /// The spec's file.
    pub(super) fn spec(&self) -> &Path {
        &self.spec.spec
    }

    /// The words that say of which pipeline a line tells, where there are several.
    pub(super) fn said_of(&self) -> String {
        match &self.name {
            _ if self.args.specs.len() < 2 => String::new(),
            Some(name) => format!("{name}: "),
            None => format!("{}: ", self.spec().display()),
        }
    }

    /// The plan of the spec as it is now.
    pub(super) fn plan(&self) -> Result<Plan, Refusal> {
        project::read_plan(&self.spec)
    }

    /// What is wrong with the spec as it is now, in plain words.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The stages to run, of those the plan has; none means all.
    pub(super) fn stages(&self) -> &[String] {
        &self.args.stages
    }

    /// Every file and folder whose content decides what comes out, as absolute paths.
    pub(super) fn reads(&self) -> BTreeSet<PathBuf> {
        let read = self.last.iter().flat_map(Inputs::named).chain(&self.awaited);
        read.chain([&self.spec.spec])
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            .collect()
    }

    /// Runs for the first time.
    pub(super) fn start(
        &mut self,
        session: Session<'_>,
        on_event: &mut dyn FnMut(&Plan, &RunEvent),
    ) -> Result<Refreshed, ExitStatus> {
        self.refresh_unless(None, session, on_event)
    }

    /// Runs again if something it reads has changed, or if somebody asked for it.
    pub(super) fn refresh(
        &mut self,
        trigger: Trigger,
        session: Session<'_>,
        on_event: &mut dyn FnMut(&Plan, &RunEvent),
    ) -> Refreshed {
        // Only the first run is held to a lock file, and ends the program.
        self.refresh_unless(Some(trigger), session, on_event).unwrap_or(Refreshed::Refused)
    }

    fn refresh_unless(
        &mut self,
        trigger: Option<Trigger>,
        session: Session<'_>,
        on_event: &mut dyn FnMut(&Plan, &RunEvent),
    ) -> Result<Refreshed, ExitStatus> {
        let console = session.console;
        let planned = self.plan().and_then(|plan| {
            self.name = Some(plan.spec().name.value.clone());
            (session.accept)(&plan)?;
            let options = self.args.how.options(&plan, &self.args.stages)?;
            Ok((plan, options))
        });
        let (plan, mut options) = match planned {
            Ok(planned) => planned,
            Err(refusal) => return Ok(self.refuse(refusal, trigger, console)),
        };
        if trigger.is_some() {
            options.force = Force::None;
        }
        let store = self.args.how.store(&plan);
        let executor = Executor::new(&plan, &store, options, session.stop.clone());
        let mut execution = Execution::new(&plan, executor);
        let Some(read) = Inputs::of(&plan, execution.executor()) else {
            // Whoever writes is going to end, which is a change as well.
            return Ok(Refreshed::Unchanged);
        };
        let changes = self.last.as_ref().map(|last| read.changes_since(last));
        let is_same = changes.as_ref().is_some_and(Vec::is_empty);
        if trigger == Some(Trigger::Changed) && is_same {
            if self.refused.take().is_some() {
                console.line("");
                let of = self.said_of();
                console
                    .news(&format!("{of}the spec is valid again, and what it reads is as before"));
            }
            flush(&store);
            return Ok(Refreshed::Unchanged);
        }
        if self.args.how.locked
            && !session.stop.is_cancelled()
            && let Err(status) = execution.hold_to_lock(console)
        {
            self.refused = Some("it differs from its lock file".to_owned());
            return if trigger.is_some() { Ok(Refreshed::Refused) } else { Err(status) };
        }
        if let Err(refusal) = execution.check() {
            return Ok(self.refuse(refusal, trigger, console));
        }
        match trigger {
            Some(trigger) => self.tell(&plan, trigger, &changes.unwrap_or_default(), console),
            None if self.args.specs.len() > 1 => {
                console.text(&format!(
                    "\n{} ({})\n",
                    plan.spec().name.value,
                    self.spec().display()
                ));
            }
            None => {}
        }
        self.refused = None;
        self.awaited.clear();
        self.last = Some(read);
        let report = execution.run(console, &mut |event| on_event(&plan, event));
        drop(execution);
        Ok(Refreshed::Ran(Box::new(Ran { plan, store, report })))
    }

    /// Says why it is run again.
    fn tell(&self, plan: &Plan, because: Trigger, changes: &[inputs::Change], console: &Console) {
        const MOST_SHOWN: usize = 8;
        console.event(&inputs::triggered(plan, because, changes));
        let (name, of) = (&plan.spec().name, self.said_of());
        console.line("");
        match because {
            Trigger::Asked => console.news(&format!("{name}: asked to run again")),
            Trigger::Changed if changes.is_empty() => console.news(&format!("{name}: valid now")),
            Trigger::Changed => {}
        }
        for change in changes.iter().take(MOST_SHOWN) {
            console.news(&format!("{of}{}", change.words()));
        }
        if let Some(more @ 1..) = changes.len().checked_sub(MOST_SHOWN) {
            console.news(&format!("{of}and {more} more"));
        }
        console.flush();
    }

    fn refuse(
        &mut self,
        refusal: Refusal,
        trigger: Option<Trigger>,
        console: &Console,
    ) -> Refreshed {
        let refusal = match refusal {
            // Whoever removes a spec that is watched needs no other to start from.
            Refusal::Told { code, message, .. } if trigger.is_some() && !self.spec().exists() => {
                Refusal::Told { code, message, help: None }
            }
            refusal => refusal,
        };
        let words = refusal.words();
        self.awaited = self.named_by_the_spec();
        // Said once, however often the files are saved like this.
        if trigger == Some(Trigger::Changed) && self.refused.as_ref() == Some(&words) {
            return Refreshed::Unchanged;
        }
        if trigger.is_some() {
            console.line("");
        }
        refusal.show(console);
        self.refused = Some(words);
        Refreshed::Refused
    }

    /// The files that the spec names, where it can be read that far.
    fn named_by_the_spec(&self) -> BTreeSet<PathBuf> {
        let overrides = Overrides { set: self.spec.set.clone() };
        let parsed = project::read_spec(self.spec())
            .ok()
            .and_then(|source| PipelineSpec::parse(self.spec(), source, &overrides).ok());
        let Some(spec) = parsed else { return BTreeSet::new() };
        let inputs = spec.stages.iter().flat_map(|stage| stage.stage.inputs());
        let file = |reference| match reference {
            Reference::File { path, .. } => Some(spec.folder().join(&path.value)),
            Reference::Stage(_) | Reference::StageFile { .. } => None,
        };
        inputs.filter_map(|input| file(input.reference)).collect()
    }
}

/// What was hashed now need not be hashed by the next run.
fn flush(store: &Store) {
    if let Err(error) = store.flush() {
        tracing::debug!("{error}");
    }
}
