//! An engine in this process.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::backend::EngineManifest;
use crate::bench::{self, BenchError, Cycle, InputChoice, Load, Measurement, Report, Request, Run};
use crate::cli::ExitStatus;
use crate::cli::console::Console;
use crate::cli::diagnostic::with_causes;
use crate::cli::project;
use crate::data;
use crate::process::CancelToken;
use crate::progress::Progress;

use super::{BenchArgs, DEFAULT_DURATION, Failure, Watch, engine_text};

/// Options for engines only.
#[derive(Debug, Args)]
pub(super) struct EngineArgs {
    /// Take the shapes that this profile (from 0) is fastest at, and allow only shapes it takes
    /// [default: 0, but all shapes that some profile takes]
    #[arg(long, value_name = "N")]
    profile: Option<usize>,
    /// Stop each context after so many runs that count
    #[arg(long, value_name = "N")]
    runs: Option<NonZeroUsize>,
    /// The device to run on, where the backend has several
    #[arg(long, value_name = "N")]
    device: Option<usize>,
    /// Instead of measuring: load, run and unload so many times, and show what memory is left
    #[arg(long, value_name = "N", conflicts_with_all = ["runs", "duration", "contexts", "dump_latencies", "output_npz"])]
    reload: Option<NonZeroUsize>,
    /// Write the outputs of the first run to this file; what NumPy lacks (bfloat16, float8) as
    /// float32
    #[arg(long, value_name = "FILE")]
    output_npz: Option<PathBuf>,
}

impl EngineArgs {
    /// The first option that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let options = [
            ("profile", self.profile.is_some()),
            ("runs", self.runs.is_some()),
            ("device", self.device.is_some()),
            ("reload", self.reload.is_some()),
            ("output-npz", self.output_npz.is_some()),
        ];
        options.into_iter().find_map(|(name, given)| given.then_some(name))
    }
}

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
    let watch = Watch::new(console);
    let measurement = measure(path, args, &watch, cancel)?;
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
    let (data, shapes) = (args.data()?, args.shapes());
    let inputs = InputChoice {
        shapes: &shapes,
        profile: args.engine.profile,
        batch: args.batch.map(NonZeroUsize::get),
        data: data.as_ref(),
    };
    let mut on_cycle = |cycle: Cycle| {
        if console.is_json() {
            console.record("reload_cycle", serde_json::to_value(cycle).unwrap_or_default());
        } else {
            console.text(&engine_text::cycle(&cycle));
        }
    };
    let device = args.engine.device;
    Ok(bench::reload(&folder, &manifest, inputs, device, cycles, cancel, &mut on_cycle)?)
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

fn measure(
    path: &Path,
    args: &BenchArgs,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Measurement, Failure> {
    let (folder, manifest) = find(path)?;
    let (data, shapes) = (args.data()?, args.shapes());
    let runs = args.engine.runs;
    let unlimited = if runs.is_some() { Duration::MAX } else { DEFAULT_DURATION };
    let request = Request {
        inputs: InputChoice {
            shapes: &shapes,
            profile: args.engine.profile,
            batch: args.batch.map(NonZeroUsize::get),
            data: data.as_ref(),
        },
        contexts: args.contexts,
        load: Load {
            warmup: args.warmup,
            runs: runs.map_or(usize::MAX, NonZeroUsize::get),
            duration: args.duration.unwrap_or(unlimited),
        },
        device: args.engine.device,
    };
    Ok(bench::measure(&folder, &manifest, &request, progress, cancel)?)
}

fn show(path: &Path, report: &Report, console: &Console) {
    let engine = path.display();
    if !console.is_json() {
        console.text(&format!("{engine}\n\n{}", engine_text::text(report)));
        return;
    }
    let mut fields = serde_json::to_value(report).unwrap_or_default();
    fields["engine"] = engine.to_string().into();
    fields["loop"] = "closed".into();
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
    writeln!(file, "context,started_ns,run_ns,upload_ns,compute_ns,download_ns")?;
    for (context, runs) in runs.iter().enumerate() {
        for Run { started, took, upload, compute, download } in runs {
            writeln!(file, "{context},{started},{took},{upload},{compute},{download}")?;
        }
    }
    file.flush()
}
