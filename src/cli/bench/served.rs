//! A served model: behind an endpoint, or in this process.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::backend;
use crate::bench::endpoint::{Address, EndpointOptions, Protocol};
use crate::bench::traffic::{
    Client, Dump, Gaps, Level, LevelReport, Limits, Oracle, Pace, SampleChoice, Samples, Session,
    Target,
};
use crate::bench::{BenchError, EngineLoop, InputChoice};
use crate::cli::ExitStatus;
use crate::cli::console::Console;
use crate::cli::diagnostic::with_causes;
use crate::cli::project;
use crate::deployment::{self, Deployment};
use crate::process::CancelToken;
use crate::runtime::Model;

use super::{BenchArgs, DEFAULT_DURATION, Failure, Watch, duration, engine, served_text};

/// Requests of an open loop without an answer, where nothing is said.
const OUTSTANDING: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// Rounds in which served and engine take turns, where nothing is said.
const ROUNDS: NonZeroUsize = NonZeroUsize::new(5).unwrap();
/// How long each of them is, where nothing is said.
const ROUND_DURATION: Duration = Duration::from_secs(2);

/// Options for served models only.
#[derive(Debug, Args)]
pub(super) struct ServedArgs {
    /// The server: http://HOST:PORT or grpc://HOST:PORT, https and grpcs for TLS
    #[arg(long)]
    pub(super) url: Option<String>,
    /// The model [default: that of the URL, else the server's only one]
    #[arg(long, value_name = "NAME")]
    pub(super) model: Option<String>,
    /// How requests are written [default: http-binary, or grpc for grpc://]
    #[arg(long, value_enum)]
    protocol: Option<ProtocolArg>,
    /// A closed loop of so many requests at a time; several with commas, one after the other. With
    /// --rate, most requests without an answer [default: 1, and 256]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    concurrency: Vec<NonZeroUsize>,
    /// An open loop of so many requests a second, whether answered or not; several with commas
    #[arg(long, value_name = "R", value_delimiter = ',', value_parser = rate)]
    rate: Vec<f64>,
    /// How far apart the requests of an open loop are [default: poisson]
    #[arg(long, value_enum, requires = "rate")]
    arrivals: Option<ArrivalsArg>,
    /// What the arrivals of a Poisson process are drawn from [default: 1]
    #[arg(long, value_name = "N", requires = "rate")]
    seed: Option<u64>,
    /// Stop after so many requests that count
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// gRPC connections that the requests share [default: one for every 8 at a time]; over HTTP
    /// each request at a time has its own
    #[arg(long, value_name = "N")]
    connections: Option<NonZeroUsize>,
    /// Threads that make requests [default: 1]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// No two requests with the same inputs; else up to 64 different ones take turns
    #[arg(long, conflicts_with = "data")]
    distinct: bool,
    /// An engine to compare with: measured in this process, in turns with the served model. With
    /// --check it says which answers are right, and there may be several, one for each version
    #[arg(long, value_name = "FOLDER")]
    engine: Vec<PathBuf>,
    /// Run --engine on the inputs of every request and compare; takes the client's time, so
    /// latencies are not those without it
    #[arg(long, requires = "engine")]
    check: bool,
    /// With --check, how far floats may differ, as a fraction of the largest of a sample; 0 for
    /// not at all [default: 1e-5]
    #[arg(long, value_name = "X", requires = "check", value_parser = fraction)]
    tolerance: Option<f64>,
    /// How often served model and --engine take turns [default: 5, of 2s each]
    #[arg(long, value_name = "N", requires = "engine", conflicts_with = "check")]
    rounds: Option<NonZeroUsize>,
    /// In a closed loop, how far apart the requests of each caller should have been: longer times
    /// are corrected for those not made meanwhile
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "rate")]
    expected_interval: Option<Duration>,
    /// How long an answer may take [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// A file with the bearer token that requests carry
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates to trust, as a PEM file [default: those this machine trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProtocolArg {
    /// HTTP/1.1, tensors as JSON numbers
    HttpJson,
    /// HTTP/1.1, tensors as bytes after the JSON
    HttpBinary,
    /// gRPC
    Grpc,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ArrivalsArg {
    /// As those of many callers who know nothing of each other
    Poisson,
    /// All the same
    Constant,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "write requests a second, such as `200` or `0.5`".to_owned())
}

fn fraction(text: &str) -> Result<f64, String> {
    let fraction = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    fraction.ok_or_else(|| "write a fraction, such as `1e-3`".to_owned())
}

impl ServedArgs {
    /// The first option that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let options = [
            ("url", self.url.is_some()),
            ("model", self.model.is_some()),
            ("protocol", self.protocol.is_some()),
            ("concurrency", !self.concurrency.is_empty()),
            ("rate", !self.rate.is_empty()),
            ("requests", self.requests.is_some()),
            ("connections", self.connections.is_some()),
            ("threads", self.threads.is_some()),
            ("distinct", self.distinct),
            ("engine", !self.engine.is_empty()),
            ("expected-interval", self.expected_interval.is_some()),
            ("timeout", self.timeout.is_some()),
            ("token-file", self.token_file.is_some()),
            ("ca", self.ca.is_some()),
        ];
        options.into_iter().find_map(|(name, given)| given.then_some(name))
    }

    /// The first option that only endpoints have.
    fn of_network(&self) -> Option<&'static str> {
        let options = [
            ("model", self.model.is_some()),
            ("protocol", self.protocol.is_some()),
            ("connections", self.connections.is_some()),
            ("token-file", self.token_file.is_some()),
            ("ca", self.ca.is_some()),
        ];
        options.into_iter().find_map(|(name, given)| given.then_some(name))
    }

    fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_mins(1))
    }

    /// Whether engine and served model are compared in speed.
    fn compares(&self) -> bool {
        !self.engine.is_empty() && !self.check
    }

    fn paces(&self) -> Vec<Pace> {
        if self.rate.is_empty() {
            let one = [NonZeroUsize::MIN];
            let asked = if self.concurrency.is_empty() { &one[..] } else { &self.concurrency };
            return asked.iter().map(|&concurrency| Pace::Closed { concurrency }).collect();
        }
        let gaps = match self.arrivals {
            None | Some(ArrivalsArg::Poisson) => Gaps::Poisson,
            Some(ArrivalsArg::Constant) => Gaps::Constant,
        };
        let seed = self.seed.unwrap_or(1);
        let outstanding = self.concurrency.first().copied().unwrap_or(OUTSTANDING);
        self.rate.iter().map(|&rate| Pace::Open { rate, gaps, outstanding, seed }).collect()
    }

    fn levels(&self, args: &BenchArgs) -> Vec<Level> {
        let standard = match (self.compares(), self.requests) {
            (true, _) => ROUND_DURATION,
            (false, Some(_)) => Duration::MAX,
            (false, None) => DEFAULT_DURATION,
        };
        let rounds = self.rounds.unwrap_or(ROUNDS);
        let level = |pace| Level {
            pace,
            warmup: args.warmup,
            limits: Limits { requests: self.requests, duration: args.duration.unwrap_or(standard) },
            rounds: if self.compares() { rounds } else { NonZeroUsize::MIN },
            expected_interval: self.expected_interval,
        };
        self.paces().into_iter().map(level).collect()
    }

    /// Refuses what does not go together.
    fn check(&self, args: &BenchArgs) -> Result<(), Failure> {
        let wrong = |message: &str, help: &str| {
            let (message, help) = (message.to_owned(), Some(help.to_owned()));
            Err(Failure { message, help, status: ExitStatus::USAGE })
        };
        if !self.rate.is_empty() && self.concurrency.len() > 1 {
            return wrong(
                "an open loop has one `--concurrency`",
                "leave out `--rate` for closed loops, or give several rates",
            );
        }
        if self.compares() && self.engine.len() > 1 {
            return wrong("there is one `--engine` to compare with", "several go with `--check`");
        }
        if self.compares() && self.requests.is_some() {
            return wrong(
                "`--requests` does not go with rounds of `--engine`",
                "`--duration` says how long each round is",
            );
        }
        if args.contexts != NonZeroUsize::MIN && !self.compares() {
            return wrong("`--contexts` is for an engine", "`--concurrency` is for requests");
        }
        Ok(())
    }
}

pub(super) fn endpoint(
    address: Address,
    args: &BenchArgs,
    console: &Console,
    cancel: &CancelToken,
) -> Result<ExitStatus, Failure> {
    let served = &args.served;
    served.check(args)?;
    let protocol = match (served.protocol, address.is_grpc()) {
        (Some(ProtocolArg::HttpJson), _) => Protocol::HttpJson,
        (Some(ProtocolArg::HttpBinary), _) | (None, false) => Protocol::HttpBinary,
        (Some(ProtocolArg::Grpc), _) | (None, true) => Protocol::Grpc,
    };
    let options = EndpointOptions {
        address,
        protocol,
        token: served.token_file.as_deref().map(token).transpose()?,
        ca: served.ca.clone(),
        timeout: served.timeout(),
    };
    if served.connections.is_some() && protocol != Protocol::Grpc {
        return Err(Failure {
            message: "`--connections` is for gRPC".to_owned(),
            help: Some("over HTTP each request at a time has a connection of its own".into()),
            status: ExitStatus::USAGE,
        });
    }
    let client = Client::new(served.threads.unwrap_or(NonZeroUsize::MIN), cancel)?;
    let (target, description) = client.endpoint(options, served.connections)?;
    let Target::Endpoint { endpoint, .. } = &target else { unreachable!("it was just made") };
    let head = served_text::Head {
        target: endpoint.address().to_string(),
        server: description.server,
        model: description.model,
        versions: description.versions,
        protocol: protocol.name(),
    };
    measure(client, target, head, args, console, cancel)
}

/// The first line of a file.
fn token(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure {
        message: format!("failed to read the token from `{}`: {error}", path.display()),
        help: None,
        status: ExitStatus::USAGE,
    })?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn measure(
    client: Client,
    target: Target,
    head: served_text::Head,
    args: &BenchArgs,
    console: &Console,
    cancel: &CancelToken,
) -> Result<ExitStatus, Failure> {
    let served = &args.served;
    let watch = Watch::new(console);
    let shapes = args.shapes();
    let choice = SampleChoice {
        shapes: &shapes,
        batch: args.batch.map(NonZeroUsize::get),
        data: args.data()?.map(Arc::new),
        distinct: served.distinct,
    };
    let samples = Samples::new(target.inputs(), choice)?;
    let mut alone = if served.compares() { Some(alone(args, &samples, cancel)?) } else { None };
    let oracle = if served.check { Some(oracle(args)?) } else { None };
    let dump = args.dump_latencies.as_ref().map(|path| {
        Dump::create(path).map_err(|source| BenchError::Write { path: path.clone(), source })
    });
    let mut session = Session::new(client, target, samples, oracle, dump.transpose()?)?;
    head.show(session.samples(), args.data.as_deref(), console);
    let mut reports: Vec<LevelReport> = Vec::new();
    for level in served.levels(args) {
        let report = session.measure(&level, alone.as_mut(), &watch)?;
        served_text::show(&report, console);
        let interrupted = report.interrupted;
        reports.push(report);
        if interrupted {
            break;
        }
    }
    drop(watch);
    served_text::summary(&reports, console);
    session.finish()?;
    end(&reports)
}

/// The engine in this process, on inputs of the same shapes.
fn alone(args: &BenchArgs, samples: &Samples, cancel: &CancelToken) -> Result<EngineLoop, Failure> {
    let (folder, manifest) = match &args.served.engine[..] {
        [first, ..] => engine::find(first)?,
        [] => unreachable!("it compares with one"),
    };
    let (data, shapes) = (args.data()?, samples.shapes());
    let (profile, batch) = (None, None);
    let inputs = InputChoice { shapes: &shapes, profile, batch, data: data.as_ref() };
    Ok(EngineLoop::new(&folder, &manifest, inputs, args.contexts, cancel)?)
}

/// The engines whose answers are right.
fn oracle(args: &BenchArgs) -> Result<Oracle, Failure> {
    let mut engines = Vec::new();
    for path in &args.served.engine {
        let (folder, manifest) = engine::find(path)?;
        let backend = backend::by_name(&manifest.backend).map_err(BenchError::from)?;
        engines.push(backend.load(&folder, &manifest, None).map_err(BenchError::from)?);
    }
    let tolerance = args.served.tolerance.unwrap_or(1e-5);
    Ok(Oracle::new(&engines, tolerance).map_err(BenchError::from)?)
}

/// Fails where requests failed, answers were wrong, or none came.
fn end(reports: &[LevelReport]) -> Result<ExitStatus, Failure> {
    let failure = |message| Err(Failure { message, help: None, status: ExitStatus::FAILED });
    if let Some(bad) = reports.iter().find(|report| !report.is_good()) {
        let check = bad.check.clone().unwrap_or_default();
        let (failed, requests) = (bad.failed, bad.requests);
        let (wrong, mixed) = (check.wrong, check.mixed);
        return failure(format!(
            "of {requests} requests {failed} failed, {wrong} answers were wrong and {mixed} mixed"
        ));
    }
    if let Some(silent) = reports.iter().find(|report| report.answered == 0) {
        return failure(format!("all of {} requests were refused", silent.requests));
    }
    let interrupted = reports.iter().any(|report| report.interrupted);
    Ok(if interrupted { ExitStatus::INTERRUPTED } else { ExitStatus::OK })
}

/// A deployment's model in this process.
pub(super) fn deployment(
    folder: &Path,
    args: &BenchArgs,
    console: &Console,
    cancel: &CancelToken,
) -> Result<ExitStatus, Failure> {
    let served = &args.served;
    served.check(args)?;
    if let Some(option) = served.of_network() {
        return Err(Failure {
            message: format!("`--{option}` is for endpoints, and this is a deployment"),
            help: Some("`trt-pipeline serve SPEC` makes an endpoint of it".into()),
            status: ExitStatus::USAGE,
        });
    }
    let deployment = read(folder)?;
    let digest = deployment.model.engine.digest;
    let stored = project::stored_at(folder).map(|(store, _)| store.object_path(&digest));
    let Some(engine) = stored.filter(|path| path.exists()) else {
        return Err(Failure {
            message: format!("the engine of `{}` is not in a cache", folder.display()),
            help: Some("name the link that `run` made: build/NAME/STAGE".into()),
            status: ExitStatus::USAGE,
        });
    };
    let (engine, _) = engine::find(&engine)?;
    let client = Client::new(served.threads.unwrap_or(NonZeroUsize::MIN), cancel)?;
    let name = deployment.model.name.clone();
    let model = Model::load(deployment.model, 1, &engine, folder).map_err(|error| Failure {
        message: with_causes(&error),
        help: None,
        status: ExitStatus::FAILED,
    })?;
    let head = served_text::Head {
        target: folder.display().to_string(),
        server: "none: queue, batches and instances in this process".to_owned(),
        model: name,
        versions: vec![model.version().to_string()],
        protocol: "none",
    };
    let target = Target::Model { model: Arc::new(model), timeout: served.timeout() };
    measure(client, target, head, args, console, cancel)
}

/// A deployment, from its folder whose content is that which was stored.
fn read(folder: &Path) -> Result<Deployment, Failure> {
    let failed = |message: String, help| Failure { message, help, status: ExitStatus::FAILED };
    project::check_stored(folder).map_err(|error| failed(with_causes(&error), error.help()))?;
    let path = folder.join(deployment::FILE_NAME);
    let text = std::fs::read(&path)
        .map_err(|error| failed(format!("failed to read `{}`: {error}", path.display()), None))?;
    let parsed = Deployment::from_json(&text);
    parsed.map_err(|error| failed(format!("`{}`: {}", path.display(), with_causes(&error)), None))
}
