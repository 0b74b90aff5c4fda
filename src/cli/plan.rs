//! `plan`: what `run` would do, and with `--explain` why.

use clap::Args;
use comfy_table::{Table, presets};

use crate::execute::event::Will;
use crate::execute::{Executor, Expectation};
use crate::plan::Plan;
use crate::process::CancelToken;

use super::ExitStatus;
use super::console::Console;
use super::project;
use super::run::RunArgs;
use super::signals;

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Name the fields that changed since the last result of each stage
    #[arg(long)]
    explain: bool,
}

pub(super) fn plan(args: &PlanArgs, console: &Console) -> ExitStatus {
    let plan = match project::load(&args.run.spec, console) {
        Ok(plan) => plan,
        Err(status) => return status,
    };
    let store = args.run.how.store(&plan);
    let options = match args.run.how.options(&plan, &args.run.stages) {
        Ok(options) => options,
        Err(refusal) => {
            refusal.show(console);
            return ExitStatus::USAGE;
        }
    };
    let cancel = CancelToken::default();
    let executor = Executor::new(&plan, &store, options, cancel.clone());
    signals::cancel_on_signal(cancel.clone());
    let expected = executor.expect();
    if cancel.is_cancelled() {
        return ExitStatus::INTERRUPTED;
    }
    let told = executor.explain(&expected);
    for line in &told {
        console.event(&executor.plan_event(line));
    }
    if !console.is_json() {
        console.text(&table(&plan, &told, args.explain));
    }
    // What was hashed now need not be hashed by the run that follows.
    if let Err(error) = store.flush() {
        tracing::debug!("{error}");
    }
    ExitStatus::OK
}

fn table(plan: &Plan, told: &[Expectation], explain: bool) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    for line in told {
        let planned = &plan.stages()[line.stage];
        let will = match line.will {
            Will::Hit => "hit",
            Will::Build => "build",
            Will::Unknown => "unknown",
        };
        let key = line.key.map_or_else(|| "-".to_owned(), |key| key.short());
        let why = match (&line.reason, &line.because[..]) {
            (Some(reason), _) => reason.clone(),
            (None, []) => String::new(),
            (None, changes) => {
                let fields: Vec<&str> =
                    changes.iter().map(|change| change.field.as_str()).collect();
                format!("changed: {}", fields.join(", "))
            }
        };
        table.add_row([planned.name.as_str(), planned.stage.kind(), will, &key, &why]);
        if explain {
            for change in &line.because {
                table.add_row(["", "", "", "", &change.to_string()]);
            }
        }
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()));
        text.push('\n');
    }
    let count = |will| told.iter().filter(|line| line.will == will).count();
    text + &format!(
        "\n{} {}: {} hit, {} to build, {} unknown before others ran\n",
        told.len(),
        if told.len() == 1 { "stage" } else { "stages" },
        count(Will::Hit),
        count(Will::Build),
        count(Will::Unknown)
    )
}
