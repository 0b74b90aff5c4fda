//! An engine in this process.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::backend::EngineManifest;
use crate::bench::{self, BenchError, Cycle, Measurement, Report, Run};
use crate::cli::ExitStatus;
use crate::cli::console::Console;
use crate::cli::diagnostic::with_causes;
use crate::cli::project;
use crate::data;
use crate::process::CancelToken;

use super::engine_args::{self, OwnedSetup};
use super::{BenchArgs, Failure, Watch, compare, engine_text};

pub(super) fn bench(
    path: &Path,
    args: &BenchArgs,
    console: &Console,
    cancel: &CancelToken,
) -> Result<ExitStatus, Failure> {
    if let Some(cycles) = args.engine.reload {
        reload(path, args, cycles, console, cancel)?;
        return Ok(ExitStatus::OK);
    }
    if let Some(other) = &args.engine.compare {
        return compare::bench([path, other], args, console, cancel);
    }
    let (folder, manifest) = find(path)?;
    let (setup, load) = (OwnedSetup::of(args)?, engine_args::load(args)?);
    let watch = Watch::new(console);
    let measurement = bench::measure(&folder, &manifest, setup.setup(), load, &watch, cancel)?;
    drop(watch);
    show(path, &measurement.report, console);
    write_files(args, &measurement)?;
    Ok(if measurement.report.interrupted { ExitStatus::INTERRUPTED } else { ExitStatus::OK })
}

/// Shows a line for each cycle.
fn reload(
    path: &Path,
    args: &BenchArgs,
    cycles: NonZeroUsize,
    console: &Console,
    cancel: &CancelToken,
) -> Result<(), Failure> {
    let (folder, manifest) = find(path)?;
    let (setup, options) = (OwnedSetup::of(args)?, args.engine.load_options()?);
    let mut on_cycle = |cycle: Cycle| {
        if console.is_json() {
            console.record("reload_cycle", serde_json::to_value(cycle).unwrap_or_default());
        } else {
            console.text(&engine_text::cycle(&cycle));
        }
    };
    let inputs = setup.inputs();
    Ok(bench::reload(&folder, &manifest, inputs, &options, cycles, cancel, &mut on_cycle)?)
}

/// An engine's folder, whose content is that which was stored.
pub(super) fn find(path: &Path) -> Result<(PathBuf, EngineManifest), Failure> {
    let (folder, manifest) = bench::find(path)?;
    project::check_stored(&folder).map_err(|error| Failure {
        message: with_causes(&error),
        help: error.help(),
        status: ExitStatus::FAILED,
    })?;
    Ok((folder, manifest))
}

fn show(path: &Path, report: &Report, console: &Console) {
    let engine = path.display();
    if !console.is_json() {
        console.text(&format!("{engine}\n\n{}", engine_text::text(report)));
        return;
    }
    let mut fields = serde_json::to_value(report).unwrap_or_default();
    fields["engine"] = engine.to_string().into();
    fields["loop"] = if report.rate.is_some() { "open" } else { "closed" }.into();
    fields["percentiles"] = "nearest_rank".into();
    console.record("bench", fields);
}

fn write_files(args: &BenchArgs, measurement: &Measurement) -> Result<(), Failure> {
    if let Some(path) = &args.dump_latencies {
        let written = write_runs(path, &measurement.runs);
        written.map_err(|source| BenchError::Write { path: path.clone(), source })?;
    }
    if let Some(path) = &args.engine.output_npz {
        let outputs = measurement.outputs.iter().map(|(name, tensor)| (name.as_str(), tensor));
        data::write_npz(path, outputs).map_err(BenchError::from)?;
    }
    Ok(())
}

fn write_runs(path: &Path, runs: &[Vec<Run>]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "context,started_ns,run_ns,upload_ns,compute_ns,download_ns,late_ns")?;
    for (context, runs) in runs.iter().enumerate() {
        for Run { started, took, upload, compute, download, late } in runs {
            writeln!(file, "{context},{started},{took},{upload},{compute},{download},{late}")?;
        }
    }
    file.flush()
}
