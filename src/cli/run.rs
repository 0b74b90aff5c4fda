//! `run`: runs a pipeline.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use clap::Args;

use crate::execute::{Executor, Expected, Force, RunOptions, RunReport};
use crate::plan::{Plan, StageIndex};
use crate::process::CancelToken;
use crate::suggest::did_you_mean;

use super::ExitStatus;
use super::check::check_models;
use super::console::Console;
use super::diagnostic::{Shown, show_invalid, with_causes};
use super::project::{self, CacheDir, SpecArgs};
use super::reporter::Reporter;
use super::signals;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) spec: SpecArgs,
    #[command(flatten)]
    pub(super) cache: CacheDir,
    /// The stages to run, with everything they use [default: all]
    #[arg(value_name = "STAGE")]
    pub(super) stages: Vec<String>,
    /// Run stages again though their result is in the cache; all of them, or those named
    #[arg(long, value_name = "STAGE", num_args = 0..=1, require_equals = true, value_delimiter = ',', default_missing_value = "")]
    pub(super) force: Vec<String>,
    /// Stages that may run at the same time [default: one per core]
    #[arg(long, short, value_name = "N")]
    pub(super) jobs: Option<NonZeroUsize>,
    /// Go on with what does not depend on a failed stage; this is the default
    #[arg(long, overrides_with = "fail_fast")]
    keep_going: bool,
    /// Start nothing new after the first failure
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Refuse what differs from the lock file, and leave that file as it is
    #[arg(long)]
    pub(super) locked: bool,
}

impl RunArgs {
    /// The options as the executor wants them; what is wrong has been shown.
    pub(super) fn options(
        &self,
        plan: &Plan,
        links: std::path::PathBuf,
        console: &Console,
    ) -> Result<RunOptions, ExitStatus> {
        let force = if self.force.iter().any(String::is_empty) {
            Force::All
        } else if self.force.is_empty() {
            Force::None
        } else {
            Force::Stages(
                find_all(plan, &self.force, console)?.into_iter().collect::<BTreeSet<_>>(),
            )
        };
        Ok(RunOptions {
            jobs: self.jobs,
            fail_fast: self.fail_fast,
            force,
            locked: self.locked,
            only: find_all(plan, &self.stages, console)?,
            links,
        })
    }
}

fn find_all(
    plan: &Plan,
    names: &[String],
    console: &Console,
) -> Result<Vec<StageIndex>, ExitStatus> {
    let find = |name: &String| {
        plan.find(name).ok_or_else(|| {
            let known = plan.stages().iter().map(|stage| stage.name.as_str());
            let help = did_you_mean(name, known, "stages");
            console.error(
                "run::unknown_stage",
                &format!("there is no stage `{name}`"),
                Some(&help),
            );
            ExitStatus::USAGE
        })
    };
    names.iter().map(find).collect()
}

pub(super) fn run(args: &RunArgs, console: &Console) -> ExitStatus {
    match try_run(args, console) {
        Ok(status) | Err(status) => status,
    }
}

fn try_run(args: &RunArgs, console: &Console) -> Result<ExitStatus, ExitStatus> {
    let plan = project::load(&args.spec, console)?;
    let root = project::root_of(plan.spec().folder());
    let store = project::store_of(&root, &args.cache);
    let links = root.join("build").join(&plan.spec().name.value);
    let options = args.options(&plan, links, console)?;
    let cancel = CancelToken::default();
    let executor = Executor::new(&plan, &store, options, cancel.clone());
    let expected = executor.expect();
    if args.locked {
        refuse_unlocked(&executor, &expected, &plan, console)?;
    }
    let to_run: Vec<StageIndex> = executor
        .order()
        .into_iter()
        .filter(|at| !matches!(expected[*at], Some(Expected::Hit(..))))
        .collect();
    if !to_run.is_empty() {
        executor.check_lock().map_err(|error| {
            console.error("run::lock_file", &with_causes(&error), error.help().as_deref());
            ExitStatus::USAGE
        })?;
        check_models(&plan, &to_run, false).map_err(|invalid| {
            show_invalid(&invalid, console);
            ExitStatus::USAGE
        })?;
        signals::cancel_on_signal(cancel);
    }
    let mut reporter = if to_run.is_empty() {
        Reporter::idle(&plan, console)
    } else {
        Reporter::busy(&plan, console, || executor.earlier_seconds())
    };
    let report = executor.run(expected, &mut |event| reporter.event(event));
    if console.is_json() {
        // For programs, the end of the run is the last line.
        show_failures(&plan, &report, console);
        reporter.event(&report.finished());
    } else {
        reporter.event(&report.finished());
        reporter.finish();
        show_failures(&plan, &report, console);
    }
    let status = ExitStatus(report.exit());
    // The process ends here; taking thousands of small values apart first is time lost.
    std::mem::forget((executor, report));
    std::mem::forget(plan);
    Ok(status)
}

fn refuse_unlocked(
    executor: &Executor<'_>,
    expected: &[Option<Expected>],
    plan: &Plan,
    console: &Console,
) -> Result<(), ExitStatus> {
    let help = "if the change is meant, run without --locked and commit the lock file";
    let mismatches = executor.lock_mismatches(expected).map_err(|error| {
        console.error("run::lock_file", &with_causes(&error), Some(help));
        ExitStatus::USAGE
    })?;
    if mismatches.is_empty() {
        return Ok(());
    }
    for mismatch in &mismatches {
        match mismatch.stage {
            Some(at) => {
                let name = &plan.stages()[at].name;
                let error = crate::spec::SpecError::new(
                    "run::locked",
                    name.span,
                    mismatch.message.clone(),
                    "differs from the lock file",
                );
                Shown::spec(&error.with_help(help), &plan.spec().source).show(console);
            }
            None => console.error("run::locked", &mismatch.message, Some(help)),
        }
    }
    Err(ExitStatus::USAGE)
}

fn show_failures(plan: &Plan, report: &RunReport, console: &Console) {
    for (at, outcome) in report.outcomes.iter().enumerate() {
        let Some(error) = outcome.as_ref().and_then(|outcome| outcome.error.as_ref()) else {
            continue;
        };
        if error.class() == crate::stage::FailureClass::Cancelled {
            continue;
        }
        let name = &plan.stages()[at].name;
        Shown::stage(error, name, name.span, &plan.spec().source).show(console);
    }
    if let Some(error) = &report.lock_error {
        console.error("run::lock_file", &with_causes(error), error.help().as_deref());
    }
}
