//! Which routes each listener has.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use super::App;

/// The routes of the listener for inference over HTTP.
pub(super) fn http(_app: &Arc<App>) -> Router {
    Router::new().route("/v2/health/live", get(|| async { StatusCode::OK }))
}

/// The routes of the listener for inference over gRPC.
pub(super) fn grpc(_app: &Arc<App>) -> Router {
    Router::new()
}

/// The routes of the listener for control requests.
pub(super) fn admin(app: &Arc<App>) -> Router {
    http(app)
}
