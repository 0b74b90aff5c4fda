//! [`Door`]: what every request of a listener passes on its way in and its answer on its way out.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::Service;
use hyper::{Request, Response, Version};
use hyper_util::service::TowerToHyperService;

use super::body::{Answer, BodyLimits, RequestBody, Visit};
use super::error::Role;
use super::refusal::Refusal;
use super::state::{Order, State};
use super::traffic::Traffic;
use super::{App, Limits};

/// The way in and out of one listener.
pub(super) struct Door {
    role: Role,
    limits: Limits,
    traffic: Arc<Traffic>,
    routes: TowerToHyperService<Router>,
}

impl Door {
    pub(super) fn new(role: Role, app: &App, traffic: Arc<Traffic>, routes: Router) -> Self {
        let limits = app.config.limits.clone();
        Self { role, limits, traffic, routes: TowerToHyperService::new(routes.with_state(())) }
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
            Err(refusal) if self.role == Role::Grpc => refusal.grpc(),
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
        let request = request.map(|body| RequestBody::new(body, self.bounds(), Arc::clone(state)));
        visit.let_in(self.traffic.enter().ok_or(Refusal::Busy { limit: self.traffic.limit() })?);
        if request.body().size_hint().lower() > self.limits.body_bytes as u64 {
            return Err(Refusal::TooLong { limit: self.limits.body_bytes });
        }
        let answer = self.routes.call(request);
        match tokio::time::timeout(self.limits.request_timeout, answer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(never)) => match never {},
            Err(_) => Err(Refusal::TooSlow { limit: self.limits.request_timeout }),
        }
    }

    /// A gRPC call may be a stream without an end, so its messages are bounded, not its body.
    fn bounds(&self) -> BodyLimits {
        match self.role {
            Role::Grpc => BodyLimits { bytes: usize::MAX, time: None },
            Role::Http | Role::Admin => BodyLimits {
                bytes: self.limits.body_bytes,
                time: Some(self.limits.transfer_timeout),
            },
        }
    }
}
