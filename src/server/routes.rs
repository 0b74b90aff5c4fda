//! Which routes each listener has.

use std::sync::Arc;

use axum::Router;

use super::metrics::{self, Scrape};
use super::{App, grpc as rpc, http as rest, page};

/// The routes of the listener for inference over HTTP.
pub(super) fn http(app: &Arc<App>) -> Router {
    let data = rest::data_routes(Arc::clone(app));
    rest::with_failures(if app.config.control {
        data.merge(rest::control_routes(Arc::clone(app)))
    } else {
        data.merge(rest::closed_control_routes())
    })
}

/// The routes of the listener for inference over gRPC.
pub(super) fn grpc(app: &Arc<App>) -> Router {
    rpc::routes(app)
}

/// The routes of the listener for control requests.
pub(super) fn admin(app: &Arc<App>, scrape: Scrape) -> Router {
    let data = rest::data_routes(Arc::clone(app));
    let control = rest::control_routes(Arc::clone(app));
    let people = metrics::routes(scrape).merge(page::routes(Arc::clone(app)));
    rest::with_failures(data.merge(control).merge(people))
}

/// Whether a request to this path may change a model, which goes on whether anybody waits or not.
pub(super) fn may_load(path: &str) -> bool {
    path.starts_with("/v2/repository/models/")
        || path.ends_with("/rollback")
        || path.starts_with("/inference.GRPCInferenceService/RepositoryModel")
}
