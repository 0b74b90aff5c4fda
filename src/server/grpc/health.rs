//! Health checks as every gRPC client knows them (`grpc.health.v1`): of the server, under the name
//! of the service or none, and of a model, under its name.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::runtime::ErrorKind;
use crate::server::App;
use crate::server::protocol;

use super::generated::grpc_inference_service_server::SERVICE_NAME;

/// How soon a watcher hears of a change.
const INTERVAL: Duration = Duration::from_millis(500);

/// The service.
pub(super) fn new(app: Arc<App>) -> HealthServer<Checks> {
    HealthServer::new(Checks(app))
}

/// Answers health checks.
pub(super) struct Checks(Arc<App>);

/// Whether a service takes requests; unknown where there is none of this name.
fn status(app: &App, service: &str) -> ServingStatus {
    let serving = |ready| if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    if matches!(service, "" | SERVICE_NAME) {
        return serving(protocol::ready(app));
    }
    match protocol::find_ready(&app.registry, service, "") {
        Ok(_) => serving(!app.stopping().is_cancelled()),
        Err(error) if error.kind() == ErrorKind::NotFound => ServingStatus::ServiceUnknown,
        Err(_) => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

type Watched = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Checks {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match status(&self.0, &request.get_ref().service) {
            ServingStatus::ServiceUnknown => {
                Err(Status::not_found("there is neither a service nor a model of this name"))
            }
            status => Ok(Response::new(response(status))),
        }
    }

    type WatchStream = Watched;

    /// The status now and whenever it changes, until the server stops.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Watched>, Status> {
        let service = request.into_inner().service;
        let (app, stopping) = (Arc::clone(&self.0), self.0.stopping().clone());
        let changes = stream::unfold(None, move |before| {
            let (app, service) = (Arc::clone(&app), service.clone());
            async move {
                let changed = async {
                    loop {
                        let now = status(&app, &service);
                        if before != Some(now) {
                            return now;
                        }
                        tokio::time::sleep(INTERVAL).await;
                    }
                };
                let now = changed.await;
                Some((Ok(response(now)), Some(now)))
            }
        });
        Ok(Response::new(Box::pin(changes.take_until(stopping.cancelled_owned()))))
    }
}
