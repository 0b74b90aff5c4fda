//! [`Execution`]: one run of a planned pipeline, from its options to what is shown of it; what
//! `run`, `serve` and `watch` have in common.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::artifact::Store;
use crate::execute::{Executor, Expected, Force, RunEvent, RunOptions, RunReport};
use crate::plan::{Plan, StageIndex};
use crate::spec::SpecError;
use crate::stage::FailureClass;
use crate::suggest::did_you_mean;

use super::ExitStatus;
use super::check::check_models;
use super::console::Console;
use super::diagnostic::{Shown, with_causes};
use super::project::{self, CacheDir, Refusal};
use super::reporter::Reporter;

/// How to run a pipeline.
#[derive(Debug, Args)]
pub(super) struct ExecutionArgs {
    #[command(flatten)]
    pub(super) cache: CacheDir,
    /// Run stages again though their result is in the cache; all of them, or those named
    #[arg(long, value_name = "STAGE", num_args = 0..=1, require_equals = true, value_delimiter = ',', default_missing_value = "")]
    pub(super) force: Vec<String>,
    /// Stages that may run at the same time [default: one per core]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Go on with what does not depend on a failed stage; this is the default
    #[arg(long, overrides_with = "fail_fast")]
    keep_going: bool,
    /// Start nothing new after the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Refuse what differs from the lock file, and leave that file as it is
    #[arg(long)]
    pub(super) locked: bool,
}

impl ExecutionArgs {
    /// The options as the executor wants them; `stages` are those to run, all if there are none.
    pub(super) fn options(&self, plan: &Plan, stages: &[String]) -> Result<RunOptions, Refusal> {
        let force = if self.force.iter().any(String::is_empty) {
            Force::All
        } else if self.force.is_empty() {
            Force::None
        } else {
            Force::Stages(find_all(plan, &self.force)?.into_iter().collect::<BTreeSet<_>>())
        };
        Ok(RunOptions {
            jobs: self.jobs,
            fail_fast: self.fail_fast,
            force,
            locked: self.locked,
            only: find_all(plan, stages)?,
            links: links_of(plan),
        })
    }

    /// The store that belongs to a plan.
    pub(super) fn store(&self, plan: &Plan) -> Store {
        project::store_of(&project::root_of(plan.spec().folder()), &self.cache)
    }
}

/// The folder that gets a link to what each stage made.
fn links_of(plan: &Plan) -> PathBuf {
    project::root_of(plan.spec().folder()).join("build").join(&plan.spec().name.value)
}

fn find_all(plan: &Plan, names: &[String]) -> Result<Vec<StageIndex>, Refusal> {
    let is_spec = |name: &str| {
        let path = Path::new(name);
        path.extension().is_some_and(|it| it == "yaml" || it == "yml") || path.is_file()
    };
    let find = |name: &String| {
        plan.find(name).ok_or_else(|| {
            let known = plan.stages().iter().map(|stage| stage.name.as_str());
            let help = if is_spec(name) {
                "`run` takes one spec, `serve` and `watch` take several".to_owned()
            } else {
                did_you_mean(name, known, "stages")
            };
            Refusal::Told {
                code: "run::unknown_stage",
                message: format!("there is no stage `{name}`"),
                help: Some(help),
            }
        })
    };
    names.iter().map(find).collect()
}

/// One run of a plan, of which is known what it will find in the cache.
pub(super) struct Execution<'a> {
    plan: &'a Plan,
    executor: Executor<'a>,
    expected: Vec<Option<Expected>>,
    to_run: Vec<StageIndex>,
}

impl<'a> Execution<'a> {
    /// Looks every stage up, for which programs may be asked.
    pub(super) fn new(plan: &'a Plan, executor: Executor<'a>) -> Self {
        let expected = executor.expect();
        let is_miss = |at: &StageIndex| !matches!(expected[*at], Some(Expected::Hit(..)));
        let to_run = executor.order().into_iter().filter(is_miss).collect();
        Self { plan, executor, expected, to_run }
    }

    /// What will run.
    pub(super) fn executor(&self) -> &Executor<'a> {
        &self.executor
    }

    /// Whether nothing has to run.
    pub(super) fn is_cached(&self) -> bool {
        self.to_run.is_empty()
    }

    /// Refuses, under `--locked`, what differs from the lock file; what differs has been shown.
    pub(super) fn hold_to_lock(&self, console: &Console) -> Result<(), ExitStatus> {
        let help = "if the change is meant, run without --locked and commit the lock file";
        let mismatches = self.executor.lock_mismatches(&self.expected).map_err(|error| {
            console.error("run::lock_file", &with_causes(&error), Some(help));
            ExitStatus::USAGE
        })?;
        if mismatches.is_empty() {
            return Ok(());
        }
        for mismatch in &mismatches {
            let Some(at) = mismatch.stage else {
                console.error("run::locked", &mismatch.message, Some(help));
                continue;
            };
            let span = self.plan.stages()[at].name.span;
            let message = mismatch.message.clone();
            let error = SpecError::new("run::locked", span, message, "differs from the lock file");
            Shown::spec(&error.with_help(help), &self.plan.spec().source).show(console);
        }
        Err(ExitStatus::USAGE)
    }

    /// What can be told to be wrong before anything runs.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.is_cached() {
            return Ok(());
        }
        self.executor.check_lock().map_err(|error| Refusal::Told {
            code: "run::lock_file",
            message: with_causes(&error),
            help: error.help(),
        })?;
        check_models(self.plan, &self.to_run, false).map_err(Refusal::Invalid)
    }

    /// Runs, and shows it; `on_event` is told every event as well.
    pub(super) fn run(
        &mut self,
        console: &Console,
        on_event: &mut dyn FnMut(&RunEvent),
    ) -> RunReport {
        let mut reporter = if self.is_cached() {
            Reporter::idle(self.plan, console)
        } else {
            Reporter::busy(self.plan, console, || self.executor.earlier_seconds())
        };
        let expected = std::mem::take(&mut self.expected);
        let report = self.executor.run(expected, &mut |event| {
            on_event(event);
            reporter.event(event);
        });
        let finished = report.finished();
        on_event(&finished);
        if console.is_json() {
            // For programs, the end of the run is the last line.
            show_failures(self.plan, &report, console);
            reporter.event(&finished);
        } else {
            reporter.event(&finished);
            reporter.finish();
            show_failures(self.plan, &report, console);
        }
        report
    }
}

fn show_failures(plan: &Plan, report: &RunReport, console: &Console) {
    for (at, outcome) in report.outcomes.iter().enumerate() {
        let Some(error) = outcome.as_ref().and_then(|outcome| outcome.error.as_ref()) else {
            continue;
        };
        if error.class() == FailureClass::Cancelled {
            continue;
        }
        let name = &plan.stages()[at].name;
        Shown::stage(error, name, name.span, &plan.spec().source).show(console);
    }
    if let Some(error) = &report.lock_error {
        console.error("run::lock_file", &with_causes(error), error.help().as_deref());
    }
}
