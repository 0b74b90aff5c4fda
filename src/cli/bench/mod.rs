//! `bench`: how fast an engine runs in this process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressStyle};

use crate::backend::{BackendError, EngineManifest};
use crate::bench::{self, BenchError, Cycle, InputChoice, Load, Measurement, Report, Request, Run};
use crate::data::{self, Dataset};
use crate::process::CancelToken;
use crate::progress::Progress;
use crate::tensor::Shape;

use super::ExitStatus;
use super::console::Console;
use super::diagnostic::with_causes;
use super::project;
use super::signals;

mod text;

/// How long to measure where nothing says how long.
const DEFAULT_DURATION: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// An engine: the folder that a `build` stage made, such as build/NAME/STAGE
    engine: PathBuf,
    /// Shapes of inputs, such as `image=16x3x224x224`; several with commas, or by repeating this
    /// [default: those the profile is fastest at; without profiles, 1 for every open axis]
    #[arg(long, value_name = "INPUT=AxBxC", value_delimiter = ',', value_parser = shape)]
    shapes: Vec<(String, Shape)>,
    /// Take the shapes that this profile (from 0) is fastest at, and allow only shapes it takes
    /// [default: 0, but all shapes that some profile takes]
    #[arg(long, value_name = "N")]
    profile: Option<usize>,
    /// Run the first samples of this data: .npz, .npy, or a folder of .npy files
    /// [default: random numbers, always the same]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Runs of each context before those that count
    #[arg(long, value_name = "N", default_value_t = 10)]
    warmup: usize,
    /// Stop each context after so many runs that count
    #[arg(long, value_name = "N")]
    runs: Option<NonZeroUsize>,
    /// Start no run after so much time, such as `10s` or `500ms` [default: 5s unless --runs]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// How many contexts run at the same time, each in a thread of its own
    #[arg(long, value_name = "N", default_value = "1")]
    contexts: NonZeroUsize,
    /// The device to run on, where the backend has several
    #[arg(long, value_name = "N")]
    device: Option<usize>,
    /// Instead of measuring: load, run and unload so many times, and show what memory is left
    #[arg(long, value_name = "N", conflicts_with_all = ["runs", "duration", "contexts", "dump_latencies", "output_npz"])]
    reload: Option<NonZeroUsize>,
    /// Write the nanoseconds of every run that counts to this file, as CSV
    #[arg(long, value_name = "FILE")]
    dump_latencies: Option<PathBuf>,
    /// Write the outputs of the first run to this file; what NumPy lacks (bfloat16, float8) as
    /// float32
    #[arg(long, value_name = "FILE")]
    output_npz: Option<PathBuf>,
}

fn shape(text: &str) -> Result<(String, Shape), String> {
    let (name, extents) = text.rsplit_once('=').ok_or("write INPUT=AxBxC")?;
    let extent = |extent: &str| {
        extent.parse().map_err(|_| format!("`{extent}` is no extent; write {name}=1x3x224x224"))
    };
    let extents = extents.split('x').map(extent).collect::<Result<Vec<usize>, String>>()?;
    Ok((name.to_owned(), Shape(extents)))
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write a number with its unit, such as `10s` or `500ms`".to_owned()),
    }
}

pub(super) fn bench(args: &BenchArgs, console: &Console) -> ExitStatus {
    let cancel = CancelToken::default();
    signals::cancel_on_signal(cancel.clone());
    if let Some(cycles) = args.reload {
        let reloaded = reload(args, cycles, console, &cancel);
        return reloaded.map_or_else(|failure| failure.end(console), |()| ExitStatus::OK);
    }
    let watch = Watch::new(console);
    let measured = measure(args, &watch, &cancel);
    watch.bar.finish_and_clear();
    let shown = measured.and_then(|measurement| {
        show(args, &measurement.report, console);
        write_files(args, &measurement)?;
        Ok(if measurement.report.interrupted { ExitStatus::INTERRUPTED } else { ExitStatus::OK })
    });
    shown.unwrap_or_else(|failure| failure.end(console))
}

/// Shows a line for each cycle.
fn reload(
    args: &BenchArgs,
    cycles: NonZeroUsize,
    console: &Console,
    cancel: &CancelToken,
) -> Result<(), Failure> {
    let (folder, manifest) = find(args)?;
    let data = data(args)?;
    let shapes: BTreeMap<String, Shape> = args.shapes.iter().cloned().collect();
    let inputs = InputChoice { shapes: &shapes, profile: args.profile, data: data.as_ref() };
    let mut on_cycle = |cycle: Cycle| {
        if console.is_json() {
            console.record("reload_cycle", serde_json::to_value(cycle).unwrap_or_default());
        } else {
            console.text(&text::cycle(&cycle));
        }
    };
    Ok(bench::reload(&folder, &manifest, inputs, args.device, cycles, cancel, &mut on_cycle)?)
}

fn find(args: &BenchArgs) -> Result<(PathBuf, EngineManifest), Failure> {
    let (folder, manifest) = bench::find(&args.engine)?;
    project::check_stored(&folder).map_err(|error| Failure {
        message: with_causes(&error),
        help: error.help(),
        status: ExitStatus::FAILED,
    })?;
    Ok((folder, manifest))
}

fn data(args: &BenchArgs) -> Result<Option<Dataset>, Failure> {
    let open = |path: &PathBuf| Dataset::open(path, &IndexMap::new());
    Ok(args.data.as_ref().map(open).transpose().map_err(BenchError::from)?)
}

/// What went wrong, and how the command ends.
struct Failure {
    message: String,
    help: Option<String>,
    status: ExitStatus,
}

impl Failure {
    fn end(&self, console: &Console) -> ExitStatus {
        console.error("bench", &self.message, self.help.as_deref());
        self.status
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        let status = match &error {
            BenchError::Backend(BackendError::Unavailable { .. }) => ExitStatus::UNAVAILABLE,
            BenchError::Interrupted => ExitStatus::INTERRUPTED,
            error if error.is_usage() => ExitStatus::USAGE,
            _ => ExitStatus::FAILED,
        };
        Self { message: with_causes(&error), help: error.help(), status }
    }
}

fn measure(
    args: &BenchArgs,
    progress: &dyn Progress,
    cancel: &CancelToken,
) -> Result<Measurement, Failure> {
    let (folder, manifest) = find(args)?;
    let data = data(args)?;
    let shapes: BTreeMap<String, Shape> = args.shapes.iter().cloned().collect();
    let unlimited = if args.runs.is_some() { Duration::MAX } else { DEFAULT_DURATION };
    let request = Request {
        inputs: InputChoice { shapes: &shapes, profile: args.profile, data: data.as_ref() },
        contexts: args.contexts,
        load: Load {
            warmup: args.warmup,
            runs: args.runs.map_or(usize::MAX, NonZeroUsize::get),
            duration: args.duration.unwrap_or(unlimited),
        },
        device: args.device,
    };
    Ok(bench::measure(&folder, &manifest, &request, progress, cancel)?)
}

fn show(args: &BenchArgs, report: &Report, console: &Console) {
    let engine = args.engine.display();
    if !console.is_json() {
        console.text(&format!("{engine}\n\n{}", text::text(report)));
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
        write_runs(path, &measurement.runs).map_err(|error| Failure {
            message: format!("failed to write `{}`: {error}", path.display()),
            help: None,
            status: ExitStatus::FAILED,
        })?;
    }
    if let Some(path) = &args.output_npz {
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

/// Says what is going on, where a person watches.
struct Watch {
    bar: ProgressBar,
}

impl Watch {
    fn new(console: &Console) -> Self {
        if !console.is_interactive() {
            return Self { bar: ProgressBar::hidden() };
        }
        let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style);
        // Seldom: drawing takes time from what is measured.
        bar.enable_steady_tick(Duration::from_secs(1));
        Self { bar }
    }
}

impl Progress for Watch {
    fn report(&self, phase: &str, _done: u64, _total: Option<u64>) {
        tracing::debug!("{phase}");
        self.bar.set_message(phase.to_owned());
    }
}
