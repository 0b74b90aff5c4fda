//! `serve`: runs pipelines, then answers requests for the models they serve; with `--watch`,
//! runs them again whenever what they read changes.
//!
//! Building stays on this thread and those of the executor; requests are answered on those of the
//! server; reloads have a thread of their own. They meet in [`Message`].

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use clap::Args;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::execute::RunEvent;
use crate::execute::event::{ReloadOutcome, ServedModel, Trigger};
use crate::plan::Plan;
use crate::process::CancelToken;
use crate::runtime::{Model, ModelRegistry};
use crate::server::{Addresses, DrainReport, Server, ServerConfig, ServerError};
use crate::watch::Watcher;

use super::console::Console;
use super::diagnostic::with_causes;
use super::pipeline::{Pipeline, PipelinesArgs, Ran, Refreshed, Session};
use super::project::Refusal;
use super::watch::{WatcherArgs, watching};
use super::{ExitStatus, signals};

mod candidates;
mod options;
mod reloads;
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
    /// Something was decided about a model.
    Reloaded(RunEvent),
    /// The server has ended.
    Ended(DrainReport),
    /// The program was told to stop; the server was, too.
    Stop,
}

pub(super) fn serve(args: &ServeArgs, console: &Console) -> ExitStatus {
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
            let (code, status) = match error {
                ServerError::NoListener => ("serve::no_address", ExitStatus::USAGE),
                ServerError::Token => ("serve::token", ExitStatus::USAGE),
                ServerError::Exposed { .. } => ("serve::exposed", ExitStatus::USAGE),
                ServerError::OpenControl { .. } => ("serve::open_control", ExitStatus::USAGE),
                ServerError::Tls(_) => ("serve::tls", ExitStatus::FAILED),
                ServerError::Listen { .. } => ("serve::address", ExitStatus::FAILED),
            };
            self.console.error(code, &with_causes(&error), None);
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
        for at in 0..self.pipelines.len() {
            self.run_first(at)?;
        }
        self.load_first()?;
        let server = self.bind()?;
        self.tell_serving(&server.addresses());
        let ended = self.sender.clone();
        self.runtime.spawn(async move {
            let report = server.run(server_stop.cancelled_owned()).await;
            // The receiver waits for this.
            let _ = ended.send(Message::Ended(report));
        });
        let watcher = match self.args.watch {
            true => Some(self.args.how.start(&self.sender, Message::Changed, self.console)?),
            false => None,
        };
        let report = self.until_ended(watcher.as_ref());
        let status = ExitStatus::OK;
        let DrainReport { finished, aborted } = report;
        self.console.event(&RunEvent::ServeFinished { finished, aborted, exit: status.0 });
        if aborted > 0 {
            let message = format!("{aborted} requests had no answer when their time was over");
            self.console.line(&message);
        }
        Ok(status)
    }

    /// The first run of a pipeline, which must succeed.
    fn run_first(&mut self, at: usize) -> Result<(), ExitStatus> {
        let Self { views, stop, console, .. } = self;
        let session = Session { console, stop, accept: &|_| Ok(()) };
        let mut note = |plan: &Plan, event: &RunEvent| views.event(at, plan, event);
        let ran = match self.pipelines[at].start(session, &mut note)? {
            Refreshed::Ran(ran) => ran,
            Refreshed::Refused | Refreshed::Unchanged => return Err(ExitStatus::USAGE),
        };
        match ran.report.exit() {
            0 => self.offer(at, &ran),
            status => Err(ExitStatus(status)),
        }
    }

    /// Offers what a run made to the registry.
    fn offer(&mut self, at: usize, ran: &Ran) -> Result<(), ExitStatus> {
        let mut ended = Ok(());
        for candidate in candidates::of(ran, self.pipelines[at].stages()) {
            match candidate {
                Ok(candidate) => self.reloads.offer(candidate),
                Err(refusal) => {
                    refusal.show(self.console);
                    ended = Err(ExitStatus::FAILED);
                }
            }
        }
        ended
    }

    /// Waits until every model takes requests.
    fn load_first(&mut self) -> Result<(), ExitStatus> {
        while !self.reloads.is_idle() {
            match self.messages.recv() {
                Ok(Message::Reloaded(event)) => {
                    self.reloads.done();
                    self.tell_reload(&event)?;
                }
                Ok(Message::Stop) | Err(_) => return Err(ExitStatus::INTERRUPTED),
                Ok(Message::Asked | Message::Changed(_) | Message::Ended(_)) => {}
            }
        }
        Ok(())
    }

    /// Goes on until the server has ended.
    fn until_ended(&mut self, watcher: Option<&Watcher>) -> DrainReport {
        let mut watched = BTreeSet::new();
        loop {
            let reads: BTreeSet<PathBuf> =
                self.pipelines.iter().flat_map(Pipeline::reads).collect();
            if let Some(watcher) = watcher.filter(|_| reads != watched) {
                self.console.line(&watching(&reads));
                self.console.flush();
                watcher.watch(reads.clone());
                watched = reads;
            }
            match self.messages.recv() {
                Ok(Message::Changed(paths)) => self.refresh(Trigger::Changed, &paths),
                Ok(Message::Asked) => self.refresh(Trigger::Asked, &BTreeSet::new()),
                Ok(Message::Reloaded(event)) => {
                    self.reloads.done();
                    // That it was refused has been told; what was served before still is.
                    let _ = self.tell_reload(&event);
                }
                Ok(Message::Stop) => self.tell_stopping(),
                Ok(Message::Ended(report)) => return report,
                Err(_) => return DrainReport::default(),
            }
        }
    }

    /// Runs again the pipelines that read one of these paths, or all that were asked for.
    fn refresh(&mut self, trigger: Trigger, paths: &BTreeSet<PathBuf>) {
        for at in 0..self.pipelines.len() {
            let is_concerned = !self.pipelines[at].reads().is_disjoint(paths);
            if self.stop.is_cancelled() || trigger == Trigger::Changed && !is_concerned {
                continue;
            }
            let only = self.pipelines[at].stages().to_vec();
            let models = std::cell::RefCell::new(&mut self.models);
            let accept = |plan: &Plan| models.borrow_mut().take(at, plan, &only);
            let session = Session { console: self.console, stop: &self.stop, accept: &accept };
            let views = &mut self.views;
            let mut note = |plan: &Plan, event: &RunEvent| views.event(at, plan, event);
            let refreshed = self.pipelines[at].refresh(trigger, session, &mut note);
            self.views.set_error(at, self.pipelines[at].refused());
            match refreshed {
                Refreshed::Ran(ran) => {
                    // What cannot be served has been told; the others can.
                    let _ = self.offer(at, &ran);
                }
                Refreshed::Refused => self.console.line("what was served before still is"),
                Refreshed::Unchanged => {}
            }
            self.console.flush();
        }
    }

    /// Tells what became of a reload; a refusal is an error to whoever cannot do without.
    fn tell_reload(&self, event: &RunEvent) -> Result<(), ExitStatus> {
        self.console.event(event);
        if let Some(text) = text::reloaded(event) {
            self.console.text(&text);
            self.console.flush();
        }
        match event {
            RunEvent::ReloadFinished { outcome: ReloadOutcome::Refused, .. } => {
                Err(ExitStatus::FAILED)
            }
            _ => Ok(()),
        }
    }

    fn tell_serving(&self, addresses: &Addresses) {
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
        self.console.text(&text::serving(&models, addresses, &self.config));
        self.console.line("");
        self.console.flush();
    }

    fn tell_stopping(&self) {
        let drain = super::quantity::time(self.config.limits.drain.as_secs_f64());
        self.console
            .line(&format!("stopping: requests have {drain} to end; a second signal ends at once"));
        self.console.flush();
    }
}
