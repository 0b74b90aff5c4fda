//! `bench`: how fast an engine runs in this process, or how fast it is served.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressStyle};

use crate::backend::BackendError;
use crate::bench::endpoint::{Address, EndpointError};
use crate::bench::traffic::Gaps;
use crate::bench::{BenchError, Schedule, Warmup};
use crate::data::Dataset;
use crate::deployment::MOST_INSTANCES;
use crate::process::{self, CancelToken};
use crate::progress::Progress;
use crate::tensor::Shape;

use super::ExitStatus;
use super::console::Console;
use super::diagnostic::with_causes;
use super::quantity::duration;
use super::signals;

mod compare;
mod device_text;
mod engine;
mod engine_args;
mod engine_text;
mod served;
mod served_args;
mod served_text;
mod table;

/// How long to measure where nothing says how long.
const DEFAULT_DURATION: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// An engine or a deployment: the folder that a `build` or `serve` stage made, such as
    /// build/NAME/STAGE; or a served model: http://HOST:PORT/MODEL, grpc://HOST:PORT/MODEL
    #[arg(required_unless_present = "url", conflicts_with = "url")]
    target: Option<PathBuf>,
    /// Shapes of inputs, such as `image=16x3x224x224`; several with commas, or by repeating this
    /// [default: those the profile is fastest at; without profiles, 1 for every open axis]
    #[arg(long, value_name = "INPUT=AxBxC", value_delimiter = ',', value_parser = shape)]
    shapes: Vec<(String, Shape)>,
    /// Samples of each run or request: axis 0 of every input whose shape is not given
    #[arg(long, value_name = "N")]
    batch: Option<NonZeroUsize>,
    /// Run samples of this data: .npz, .npy, or a folder of .npy files
    /// [default: random numbers, always the same]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// What runs before that which counts: so many runs of each context, or requests of each in a
    /// closed loop, or altogether in an open one; or for a time such as `2s`
    #[arg(long, value_name = "N|TIME", default_value = "10", value_parser = warmup)]
    warmup: Warmup,
    /// Start nothing after so much time, such as `10s` or `500ms` [default: 5s unless --runs or
    /// --requests]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// How many contexts of an engine run at the same time on each device, each in a thread of its
    /// own, on a GPU with a stream of its own; at most 1024
    #[arg(long, value_name = "N", default_value = "1", visible_alias = "contexts",
          value_parser = streams)]
    streams: NonZeroUsize,
    /// An open loop of so many requests, or runs of an engine, a second, whether those before them
    /// have ended or not: latency counts from when each was due. Of requests several rates with
    /// commas, one after the other
    #[arg(long, value_name = "R", value_delimiter = ',', value_parser = rate)]
    rate: Vec<f64>,
    /// How far apart those of an open loop are [default: poisson]
    #[arg(long, value_enum, requires = "rate")]
    arrivals: Option<ArrivalsArg>,
    /// What the arrivals of a Poisson process are drawn from [default: 1]
    #[arg(long, value_name = "N", requires = "rate")]
    seed: Option<u64>,
    /// How often an engine and --compare, or a served model and --engine, take turns
    /// [default: 10 of 500ms each, or 5 of 2s each]
    #[arg(long, value_name = "N", requires = "turns")]
    rounds: Option<NonZeroUsize>,
    /// Write the nanoseconds of everything that counts to this file, as CSV
    #[arg(long, value_name = "FILE")]
    dump_latencies: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Engines")]
    engine: engine_args::EngineArgs,
    #[command(flatten, next_help_heading = "Served models")]
    served: served_args::ServedArgs,
}

fn shape(text: &str) -> Result<(String, Shape), String> {
    let (name, extents) = text.rsplit_once('=').ok_or("write INPUT=AxBxC")?;
    let extent = |extent: &str| {
        extent.parse().map_err(|_| format!("`{extent}` is no extent; write {name}=1x3x224x224"))
    };
    let extents = extents.split('x').map(extent).collect::<Result<Vec<usize>, String>>()?;
    Ok((name.to_owned(), Shape(extents)))
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ArrivalsArg {
    /// As those of many callers who know nothing of each other
    Poisson,
    /// All the same
    Constant,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| *rate > 0.0 && *rate <= 1e9);
    rate.ok_or_else(|| "write how many a second, such as `200` or `0.5`, 1e9 at most".to_owned())
}

fn streams(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= MOST_INSTANCES);
    number.ok_or_else(|| format!("expected 1 to {MOST_INSTANCES}"))
}

fn warmup(text: &str) -> Result<Warmup, String> {
    match text.parse() {
        Ok(runs) => Ok(Warmup::Runs(runs)),
        Err(_) => duration(text).map(Warmup::Time).map_err(|error| format!("a number, or {error}")),
    }
}

impl BenchArgs {
    fn shapes(&self) -> BTreeMap<String, Shape> {
        self.shapes.iter().cloned().collect()
    }

    /// The open loops that are asked for, one after the other.
    fn schedules(&self) -> impl Iterator<Item = Schedule> {
        let gaps = match self.arrivals {
            None | Some(ArrivalsArg::Poisson) => Gaps::Poisson,
            Some(ArrivalsArg::Constant) => Gaps::Constant,
        };
        let seed = self.seed.unwrap_or(1);
        self.rate.iter().map(move |&rate| Schedule { rate, gaps, seed })
    }

    fn data(&self) -> Result<Option<Dataset>, Failure> {
        let open = |path: &PathBuf| Dataset::open(path, &IndexMap::new());
        Ok(self.data.as_ref().map(open).transpose().map_err(BenchError::from)?)
    }
}

/// What is measured.
enum Subject {
    Engine(PathBuf),
    Deployment(PathBuf),
    Endpoint(Address),
}

impl Subject {
    fn of(args: &BenchArgs) -> Result<Self, Failure> {
        let text = match (&args.target, &args.served.url) {
            (_, Some(url)) => url.clone(),
            (Some(path), None) => match path.to_str().filter(|text| Address::is_meant(text)) {
                Some(url) => url.to_owned(),
                None if path.join(crate::deployment::FILE_NAME).exists() => {
                    return Ok(Self::Deployment(path.clone()));
                }
                None if !path.exists()
                    && path.to_str().and_then(Address::with_scheme).is_some() =>
                {
                    return Err(BenchError::Missing { path: path.clone() }.into());
                }
                None => return Ok(Self::Engine(path.clone())),
            },
            (None, None) => String::new(),
        };
        let mut address: Address = text.parse().map_err(BenchError::Endpoint)?;
        if let Some(model) = &args.served.model {
            address.model = Some(model.clone());
        }
        Ok(Self::Endpoint(address))
    }
}

pub(super) fn bench(args: &BenchArgs, console: &Console) -> ExitStatus {
    // As `serve` does.
    process::keep_freed();
    let cancel = CancelToken::default();
    signals::cancel_on_signal(cancel.clone());
    let ended = Subject::of(args).and_then(|subject| {
        let (stray, belongs) = match &subject {
            Subject::Engine(_) => (args.served.given(), "a served model"),
            Subject::Deployment(_) | Subject::Endpoint(_) => (args.engine.given(), "an engine"),
        };
        if let Some(option) = stray {
            return Err(Failure {
                message: format!("`--{option}` is for {belongs}, which this is not"),
                help: Some("`trt-pipeline bench --help` says which options are for what".into()),
                status: ExitStatus::USAGE,
            });
        }
        match subject {
            Subject::Engine(path) => engine::bench(&path, args, console, &cancel),
            Subject::Deployment(path) => served::deployment(&path, args, console, &cancel),
            Subject::Endpoint(address) => served::endpoint(address, args, console, &cancel),
        }
    });
    ended.unwrap_or_else(|failure| failure.end(console))
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
            BenchError::Endpoint(error) if error.is_absent() => ExitStatus::UNAVAILABLE,
            BenchError::Interrupted => ExitStatus::INTERRUPTED,
            error if error.is_usage() => ExitStatus::USAGE,
            _ => ExitStatus::FAILED,
        };
        Self { message: with_causes(&error), help: error.help(), status }
    }
}

impl From<EndpointError> for Failure {
    fn from(error: EndpointError) -> Self {
        BenchError::from(error).into()
    }
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
        let bar = console.progress().add(ProgressBar::new_spinner().with_style(style));
        // Seldom: drawing takes time from what is measured.
        bar.enable_steady_tick(Duration::from_secs(1));
        Self { bar }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Watch {
    fn report(&self, phase: &str, _done: u64, _total: Option<u64>) {
        tracing::debug!("{phase}");
        self.bar.set_message(phase.to_owned());
    }
}
