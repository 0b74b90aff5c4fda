//! `serve`: runs pipelines, then answers requests for the models they serve; with `--watch`,
//! runs them again whenever what they read changes.
//!
//! Building stays on this thread and those of the executor; requests are answered on those of the
//! server; reloads have a thread of their own. They meet in [`Message`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use clap::Args;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::execute::RunEvent;
use crate::execute::event::ServedModel;
use crate::process::{self, CancelToken};
use crate::runtime::{DeviceLoss, Model, ModelRegistry};
use crate::server::{Addresses, DrainReport, Server, ServerConfig, ServerError};

use super::console::Console;
use super::pipeline::{Pipeline, PipelinesArgs};
use super::project::Refusal;
use super::watch::WatcherArgs;
use super::{ExitStatus, signals};

mod candidates;
mod options;
mod reloads;
mod session;
mod text;
mod views;

use candidates::Models;
use reloads::Reloads;
use views::Views;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pipelines: PipelinesArgs,
    /// Run the pipelines again whenever what they read changes, and serve what they make then
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    how: WatcherArgs,
    #[command(flatten)]
    server: options::ServerArgs,
}

/// Why the thread that builds wakes up.
enum Message {
    /// These paths may have changed.
    Changed(BTreeSet<PathBuf>),
    /// Somebody asked to look again.
    Asked,
    /// Something was decided about the versions of a model, by whoever.
    Reloaded(RunEvent),
    /// What this program asked of the registry for a model is decided; or why it could not be.
    Decided { model: String, error: Option<String> },
    /// A model lost a device.
    Lost(DeviceLoss),
    /// The server has ended.
    Ended(DrainReport),
    /// The program was told to stop; the server was, too.
    Stop,
}

pub(super) fn serve(args: &ServeArgs, console: &Console) -> ExitStatus {
    process::keep_freed();
    match Serve::start(args, console).and_then(Serve::serve) {
        Ok(status) | Err(status) => status,
    }
}

/// A server and the pipelines behind it.
struct Serve<'a> {
    args: &'a ServeArgs,
    console: &'a Console,
    stop: CancelToken,
    config: ServerConfig,
    runtime: Runtime,
    registry: Arc<ModelRegistry>,
    pipelines: Vec<Pipeline<'a>>,
    models: Models,
    /// The pipeline that each model in the registry comes from.
    offered: BTreeMap<String, usize>,
    /// The versions that were shown when serving began, as long as they serve; none before.
    shown: Option<BTreeMap<String, u32>>,
    /// Whether it ends because a device was lost.
    has_failed: bool,
    views: Views,
    reloads: Reloads,
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

impl<'a> Serve<'a> {
    /// Checks everything that can be checked before anything is built.
    fn start(args: &'a ServeArgs, console: &'a Console) -> Result<Self, ExitStatus> {
        let refused = |refusal: Refusal| {
            refusal.show(console);
            ExitStatus::USAGE
        };
        let config = args.server.config().map_err(refused)?;
        let pipelines = args.pipelines.pipelines();
        let mut models = Models::of(pipelines.len());
        for (at, pipeline) in pipelines.iter().enumerate() {
            let plan = pipeline.plan().map_err(refused)?;
            models.take(at, &plan, pipeline.stages()).map_err(refused)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(1, usize::from))
            .thread_name("server")
            .enable_all()
            .build()
            .map_err(|error| {
                let message = format!("failed to start the server's threads: {error}");
                console.error("serve::threads", &message, None);
                ExitStatus::FAILED
            })?;
        let (sender, messages) = channel();
        let registry = Arc::new(ModelRegistry::default());
        let serve = Self {
            args,
            console,
            stop: CancelToken::default(),
            config,
            runtime,
            views: Views::of(pipelines.iter().map(Pipeline::spec)),
            reloads: Reloads::new(Arc::clone(&registry), sender.clone()),
            registry,
            pipelines,
            models,
            offered: BTreeMap::new(),
            shown: None,
            has_failed: false,
            sender,
            messages,
        };
        // An address that is in use shows now, not after an hour of building.
        drop(serve.bind()?);
        Ok(serve)
    }

    fn bind(&self) -> Result<Server, ExitStatus> {
        let (config, registry) = (self.config.clone(), Arc::clone(&self.registry));
        let bound = self.runtime.block_on(Server::bind(config, registry, self.views.shared()));
        bound.map_err(|error| {
            let (code, status) = match &error {
                ServerError::Listen { .. } => ("serve::address", ExitStatus::FAILED),
                ServerError::NoListener => ("serve::no_address", ExitStatus::USAGE),
                ServerError::Token => ("serve::token", ExitStatus::USAGE),
                ServerError::Exposed { .. } | ServerError::OpenControl { .. } => {
                    ("serve::exposed", ExitStatus::USAGE)
                }
                ServerError::Tls(_) => ("serve::tls", ExitStatus::USAGE),
            };
            self.console.error(code, &error.to_string(), None);
            status
        })
    }

    /// Runs the pipelines, then the server until it is told to stop.
    fn serve(mut self) -> Result<ExitStatus, ExitStatus> {
        let asked = self.sender.clone();
        signals::cancel_or_ask(self.stop.clone(), move || drop(asked.send(Message::Asked)));
        let (drain, sender) = (CancellationToken::new(), self.sender.clone());
        let server_stop = drain.clone();
        let _stopped = self.stop.on_cancel(move || {
            drain.cancel();
            drop(sender.send(Message::Stop));
        });
        self.run_first()?;
        let server = self.bind()?;
        self.tell_serving(&server.addresses());
        let ended = self.sender.clone();
        self.runtime.spawn(async move {
            let report = server.run(server_stop.cancelled_owned()).await;
            // The receiver waits for this.
            let _ = ended.send(Message::Ended(report));
        });
        let watch = || self.args.how.start(&self.sender, Message::Changed, self.console);
        let watcher = self.args.watch.then(watch).transpose()?;
        let DrainReport { finished, aborted } = self.until_ended(watcher.as_ref());
        self.registry.shutdown(self.config.limits.drain);
        self.runtime.shutdown_background();
        let status = if self.has_failed { ExitStatus::FAILED } else { ExitStatus::OK };
        self.console.event(&RunEvent::ServeFinished { finished, aborted, exit: status.0 });
        if aborted > 0 {
            let message = format!("{aborted} requests had no answer when their time was over");
            self.console.line(&message);
        }
        Ok(status)
    }

    fn tell_serving(&mut self, addresses: &Addresses) {
        let find = |name: &str| self.registry.find(name, None).ok();
        let models: Vec<Arc<Model>> = self.models.names().filter_map(find).collect();
        let served = |model: &Arc<Model>| ServedModel {
            name: model.config().name.clone(),
            version: model.version(),
            engine: model.config().engine.digest.to_string(),
        };
        let address = |address: Option<std::net::SocketAddr>| address.map(|at| at.to_string());
        self.console.event(&RunEvent::Serving {
            http: address(addresses.http),
            grpc: address(addresses.grpc),
            admin: address(addresses.admin),
            models: models.iter().map(served).collect(),
        });
        let token_file = self.args.server.token_file();
        self.console.text(&text::serving(&models, addresses, &self.config, token_file));
        let version = |model: &Arc<Model>| (model.config().name.clone(), model.version());
        self.shown = Some(models.iter().map(version).collect());
        self.console.line("");
        self.console.flush();
    }
}
