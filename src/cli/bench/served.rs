//! A served model: behind an endpoint, or in this process.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use crate::backend::{self, LoadOptions};
use crate::bench::endpoint::{Address, EndpointOptions, Protocol};
use crate::bench::traffic::{
    Client, Dump, LevelReport, Oracle, SampleChoice, Samples, Session, Target,
};
use crate::bench::{BenchError, Devices, EngineLoop, InputChoice, Setup};
use crate::cli::ExitStatus;
use crate::cli::console::Console;
use crate::cli::diagnostic::with_causes;
use crate::cli::project;
use crate::deployment::{self, CudaGraphs, Deployment};
use crate::process::CancelToken;
use crate::progress::NoProgress;
use crate::runtime::Model;

use super::{BenchArgs, Failure, Watch, engine, served_text};

pub(super) fn endpoint(
    address: Address,
    args: &BenchArgs,
    console: &Console,
    cancel: &CancelToken,
) -> Result<ExitStatus, Failure> {
    let served = &args.served;
    served.refuse_contradictions(args)?;
    let protocol = served.protocol(&address);
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
    measure(client, target, &head, args, console, cancel)
}

/// The first line of a file.
fn token(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure {
        message: format!("failed to read the token from `{}`: {error}", path.display()),
        help: None,
        status: ExitStatus::USAGE,
    })?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        let message = format!("the token file `{}` is empty", path.display());
        return Err(Failure { message, help: None, status: ExitStatus::USAGE });
    }
    Ok(token.to_owned())
}

fn measure(
    client: Client,
    target: Target,
    head: &served_text::Head,
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
    let setup = Setup {
        inputs: InputChoice { shapes: &shapes, profile, batch, data: data.as_ref() },
        contexts: args.streams,
        devices: &Devices::First,
        cuda_graphs: &CudaGraphs::Auto,
    };
    Ok(EngineLoop::new(&folder, &manifest, setup, &NoProgress, cancel)?)
}

/// The engines whose answers are right.
fn oracle(args: &BenchArgs) -> Result<Oracle, Failure> {
    let mut engines = Vec::new();
    for path in &args.served.engine {
        let (folder, manifest) = engine::find(path)?;
        let backend = backend::by_name(&manifest.backend).map_err(BenchError::from)?;
        engines.push(
            backend.load(&folder, &manifest, &LoadOptions::default()).map_err(BenchError::from)?,
        );
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
    served.refuse_contradictions(args)?;
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
    measure(client, target, &head, args, console, cancel)
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
