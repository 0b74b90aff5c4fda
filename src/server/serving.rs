//! [`Server`]: the listeners of one process, from binding to the last answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

use crate::runtime::ModelRegistry;

use super::door::Door;
use super::error::{Role, ServerError};
use super::listener::Listener;
use super::load::Load;
use super::metrics::Scrape;
use super::state::Order;
use super::tls::Tls;
use super::{App, PipelineViews, ServerConfig, exposure, routes};

/// How long what was told to end at once may take to do it.
const ABORT: Duration = Duration::from_secs(5);

/// A server that listens. Connections wait until it runs.
pub struct Server {
    app: Arc<App>,
    tls: Option<Tls>,
    listeners: Vec<Listener>,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Inference over HTTP.
    pub http: Option<SocketAddr>,
    /// Inference over gRPC.
    pub grpc: Option<SocketAddr>,
    /// Control requests, metrics and the page.
    pub admin: Option<SocketAddr>,
}

/// What became of the requests that were being answered when the server was told to stop, and of
/// those that came after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Answered.
    pub finished: usize,
    /// Still running at the end of the time they had.
    pub aborted: usize,
}

impl Server {
    /// Takes the addresses of the configuration, or says why it cannot.
    #[expect(clippy::unused_async, reason = "listening needs the context of a tokio runtime")]
    pub async fn bind(
        config: ServerConfig,
        registry: Arc<ModelRegistry>,
        pipelines: PipelineViews,
    ) -> Result<Self, ServerError> {
        exposure::check(&config)?;
        let tls = config.tls.as_ref().map(Tls::load).transpose()?;
        let listeners: Vec<Listener> = exposure::listening(&config)
            .map(|(role, address)| Listener::bind(role, address))
            .collect::<Result<_, _>>()?;
        if listeners.is_empty() {
            return Err(ServerError::NoListener);
        }
        Ok(Self { app: Arc::new(App::new(config, registry, pipelines)), tls, listeners })
    }

    /// Where it listens: the ports that were taken for port 0.
    pub fn addresses(&self) -> Addresses {
        let at = |role| self.listeners.iter().find(|it| it.role() == role).map(Listener::address);
        Addresses { http: at(Role::Http), grpc: at(Role::Grpc), admin: at(Role::Admin) }
    }

    /// Answers until `stop`, then no new connections; requests that came or are on their way are
    /// answered within the time that [`Limits::drain`](super::Limits::drain) gives them.
    pub async fn run(self, stop: impl Future<Output = ()>) -> DrainReport {
        let app = self.app;
        let roles: Vec<Role> = self.listeners.iter().map(Listener::role).collect();
        let load = Load::new(&app.config.limits, &roles);
        let certificate = self.tls.as_ref().map(|tls| Arc::clone(tls.certificate()));
        let routed = |listener: Listener| {
            let routes = match listener.role() {
                Role::Http => routes::http(&app),
                Role::Grpc => routes::grpc(&app),
                Role::Admin => routes::admin(&app, Scrape::new(&app, &load, certificate.clone())),
            };
            (listener, routes)
        };
        let listeners = self.listeners.into_iter().map(routed).collect();
        serve(&app, &load, self.tls, listeners, stop).await
    }
}

/// Wakes again and again. A timer that is due before all others wakes the thread that waits for
/// them; where this one always is, those of requests do not, which saves each of them two system
/// calls.
async fn beat(period: Duration) {
    let mut beat =
        tokio::time::interval(period.clamp(Duration::from_millis(1), Duration::from_secs(30)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
    }
}

/// Serves each listener's routes until `stop` and through the time to drain.
pub(super) async fn serve(
    app: &Arc<App>,
    load: &Load,
    tls: Option<Tls>,
    listeners: Vec<(Listener, Router)>,
    stop: impl Future<Output = ()>,
) -> DrainReport {
    let (drain, traffic) = (app.config.limits.drain, &load.traffic);
    let (accepting, serving) = (TaskTracker::new(), TaskTracker::new());
    for (listener, routes) in listeners {
        let Some(connections) = load.of(listener.role()) else { continue };
        let traffic = Arc::clone(traffic);
        let door = Door::new(listener.role(), app, routes, traffic, tls.as_ref(), serving.clone());
        let (connections, stopping) = (Arc::clone(connections), app.stopping().clone());
        accepting.spawn(listener.accept(Arc::new(door), connections, stopping));
    }
    let beat = beat(app.config.limits.request_timeout / 2);
    accepting.spawn(app.stopping().clone().run_until_cancelled_owned(beat));
    if let Some(tls) = tls {
        accepting.spawn(app.stopping().clone().run_until_cancelled_owned(tls.keep_fresh()));
    }
    stop.await;
    let before = traffic.finished();
    app.stopping().cancel();
    accepting.close();
    accepting.wait().await;
    load.connections.iter().for_each(|(_, connections)| connections.give(Order::Drain));
    serving.close();
    let drained = tokio::time::timeout(drain, serving.wait()).await;
    let aborted = if drained.is_ok() { 0 } else { traffic.open() };
    load.connections.iter().for_each(|(_, connections)| connections.give(Order::Abort));
    if tokio::time::timeout(ABORT, serving.wait()).await.is_err() {
        tracing::warn!("{} connections or requests cannot be ended", serving.len());
    }
    let ended = usize::try_from(traffic.finished() - before).unwrap_or(usize::MAX);
    DrainReport { finished: ended.saturating_sub(aborted), aborted }
}
