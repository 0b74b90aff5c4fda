//! [`Door`]: what every request of a listener passes on its way in and its answer on its way out.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::Service;
use hyper::{Request, Response, Version};
use hyper_util::service::TowerToHyperService;
use percent_encoding::percent_decode_str;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::auth::Access;
use super::body::{Answer, BodyLimits, RequestBody, Visit};
use super::error::Role;
use super::refusal::Refusal;
use super::state::{Order, State};
use super::tls::Tls;
use super::traffic::Traffic;
use super::{App, Limits, routes};

/// How long a request that may load a model waits at least: large engines take minutes.
const LOADING: Duration = Duration::from_hours(1);

/// The way in and out of one listener.
pub(super) struct Door {
    role: Role,
    limits: Limits,
    traffic: Arc<Traffic>,
    access: Access,
    tls: Option<TlsAcceptor>,
    /// Whether it takes requests that change models.
    controls: bool,
    routes: TowerToHyperService<Router>,
    tasks: TaskTracker,
}

impl Door {
    /// Counts requests in `traffic`, and has what runs beside a connection be part of `tasks`.
    pub(super) fn new(
        role: Role,
        app: &App,
        routes: Router,
        traffic: Arc<Traffic>,
        tls: Option<&Tls>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            role,
            limits: app.config.limits.clone(),
            traffic,
            access: Access::new(role, &app.config, tls.map(|tls| Arc::clone(tls.certificate()))),
            tls: tls.map(|tls| tls.acceptor(role).clone()),
            controls: role == Role::Admin || app.config.control,
            routes: TowerToHyperService::new(routes.with_state(())),
            tasks,
        }
    }

    /// What encrypts its connections, if anything does.
    pub(super) fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }

    /// What must end before the server has.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers one request of a connection.
    pub(super) async fn answer(
        &self,
        state: &Arc<State>,
        request: Request<Incoming>,
    ) -> Response<Answer> {
        let mut visit = Visit::begin(Arc::clone(state));
        let one_at_a_time = request.version() < Version::HTTP_2;
        let mut response = match self.pass(state, request, &mut visit).await {
            Ok(response) => response,
            Err(refusal) if self.role == Role::Grpc && refusal != Refusal::NotGrpc => {
                refusal.grpc()
            }
            Err(refusal) => refusal.http(),
        };
        if one_at_a_time && state.order() > Order::Serve {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response.map(|body| Answer::new(body, visit))
    }

    async fn pass(
        &self,
        state: &Arc<State>,
        request: Request<Incoming>,
        visit: &mut Visit,
    ) -> Result<Response<Body>, Refusal> {
        let limits = self.body_limits();
        let request = request.map(|body| RequestBody::new(body, limits, Arc::clone(state)));
        self.access.check(&request)?;
        self.check_form(&request)?;
        visit.let_in(self.traffic.enter().ok_or(Refusal::Busy { limit: self.traffic.limit() })?);
        if request.body().size_hint().lower() > limits.bytes as u64 {
            return Err(Refusal::TooLong { limit: limits.bytes });
        }
        let usual = self.limits.request_timeout;
        let may_load = self.controls && routes::may_load(request.uri().path());
        let limit = if may_load { usual.max(LOADING) } else { usual };
        match tokio::time::timeout(limit, self.routes.call(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(never)) => match never {},
            Err(_) => Err(Refusal::TooSlow { limit }),
        }
    }

    /// Refuses what the routes would answer in words that are not the protocol's.
    fn check_form<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        if self.role == Role::Grpc {
            let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
            let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
            let is_grpc = rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')));
            return if is_grpc { Ok(()) } else { Err(Refusal::NotGrpc) };
        }
        let path = percent_decode_str(request.uri().path());
        path.decode_utf8().map(drop).map_err(|_| Refusal::Path)
    }

    /// A gRPC call may be a stream without an end, so its messages are bounded, not its body.
    fn body_limits(&self) -> BodyLimits {
        match self.role {
            Role::Grpc => BodyLimits { bytes: usize::MAX, patience: None },
            Role::Http | Role::Admin => BodyLimits {
                bytes: self.limits.body_bytes,
                patience: Some(self.limits.transfer_timeout),
            },
        }
    }
}
