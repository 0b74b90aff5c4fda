//! `run`: runs a pipeline.

use clap::Args;

use crate::execute::Executor;
use crate::process::CancelToken;

use super::ExitStatus;
use super::console::Console;
use super::execution::{Execution, ExecutionArgs};
use super::project::{self, Refusal, SpecArgs};
use super::signals;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) spec: SpecArgs,
    #[command(flatten)]
    pub(super) how: ExecutionArgs,
    /// The stages to run, with everything they use [default: all]
    #[arg(value_name = "STAGE")]
    pub(super) stages: Vec<String>,
}

pub(super) fn run(args: &RunArgs, console: &Console) -> ExitStatus {
    match try_run(args, console) {
        Ok(status) | Err(status) => status,
    }
}

fn try_run(args: &RunArgs, console: &Console) -> Result<ExitStatus, ExitStatus> {
    let refused = |refusal: Refusal| {
        refusal.show(console);
        ExitStatus::USAGE
    };
    let plan = project::load(&args.spec, console)?;
    let store = args.how.store(&plan);
    let options = args.how.options(&plan, &args.stages).map_err(refused)?;
    let cancel = CancelToken::default();
    // A signal ends this process while it only reads files, and then what it has started.
    let executor = Executor::new(&plan, &store, options, cancel.clone());
    signals::cancel_on_signal(cancel.clone());
    let mut execution = Execution::new(&plan, executor);
    if !cancel.is_cancelled() {
        if args.how.locked {
            execution.hold_to_lock(console)?;
        }
        execution.check().map_err(refused)?;
    }
    let report = execution.run(console, &mut |_| {});
    let status = ExitStatus(report.exit());
    // The process ends here; taking thousands of small values apart first is time lost.
    std::mem::forget((execution, report));
    std::mem::forget(plan);
    Ok(status)
}
