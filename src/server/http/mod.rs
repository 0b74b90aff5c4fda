//! KServe v2 over HTTP: paths, and JSON with or without binary tensors behind it.
//!
//! Owns reading and writing of bodies; what they mean is in `protocol`. Knows nothing of
//! listeners, tokens and limits of connections.

mod body;
mod control;
mod decode;
mod elements;
mod encode;
mod head;
mod infer;
mod model;
mod object;
mod raw;
mod regions;
mod reply;
mod unpack;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Method, Response, StatusCode, Uri};
use axum::routing::{any, get, post};
use bytes::Bytes;
use serde::Serialize;

use crate::runtime::InferRequest;

use super::App;
use super::protocol::{ProtocolError, Signature, clipped};
use super::status;

pub use reply::Reply;

/// Reads an inference request. `header` is the length of its JSON where bytes of tensors follow
/// it; those become slices of the body, not copies.
pub fn decode(
    signature: Signature<'_>,
    body: &Bytes,
    header: Option<usize>,
) -> Result<(InferRequest, Reply), ProtocolError> {
    decode::decode(signature, body, header, None)
}

/// What the inference listeners answer.
pub(crate) fn data_routes(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/v2", get(model::server))
        .route("/v2/health/live", get(model::live))
        .route("/v2/health/ready", get(model::ready))
        .route("/v2/models/{model}", get(model::metadata))
        .route("/v2/models/{model}/versions/{version}", get(model::version_metadata))
        .route("/v2/models/{model}/ready", get(model::model_ready))
        .route("/v2/models/{model}/versions/{version}/ready", get(model::version_ready))
        .route("/v2/models/{model}/config", get(model::config))
        .route("/v2/models/{model}/versions/{version}/config", get(model::version_config))
        .route("/v2/models/{model}/stats", get(model::statistics))
        .route("/v2/models/{model}/versions/{version}/stats", get(model::version_statistics))
        .route("/v2/models/stats", get(model::all_statistics))
        .route("/v2/models/{model}/versions", get(control::versions))
        .route("/v2/repository/index", post(control::index))
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::infer_version));
    router.with_state(app)
}

/// What the listener for control answers, and those for inference where they are allowed to.
pub(crate) fn control_routes(app: Arc<App>) -> Router {
    let system = Router::new()
        .route("/status", get(regions::all))
        .route("/unregister", post(regions::unregister_all))
        .route("/region/{region}/status", get(regions::one))
        .route("/region/{region}/register", post(regions::register))
        .route("/region/{region}/unregister", post(regions::unregister));
    let cuda = Router::new()
        .route("/status", get(regions::no_cuda_regions))
        .route("/unregister", post(regions::nothing_to_unregister))
        .route("/region/{region}/status", get(regions::no_cuda_region))
        .route("/region/{region}/register", post(regions::no_cuda_region))
        .route("/region/{region}/unregister", post(regions::nothing_to_unregister));
    let router = Router::new()
        .route("/v2/repository/models/{model}/load", post(control::load))
        .route("/v2/repository/models/{model}/unload", post(control::unload))
        .route("/v2/models/{model}/rollback", post(control::rollback))
        .nest("/v2/systemsharedmemory", system)
        .nest("/v2/cudasharedmemory", cuda);
    router.with_state(app)
}

/// What the inference listeners answer in place of those where they are not allowed to.
pub(crate) fn closed_control_routes() -> Router {
    let closed = || any(async || status::failure(&ProtocolError::NoControl));
    Router::new()
        .route("/v2/repository/models/{*rest}", closed())
        .route("/v2/models/{model}/rollback", closed())
        .route("/v2/systemsharedmemory/{*rest}", closed())
        .route("/v2/cudasharedmemory/{*rest}", closed())
}

/// Answers every other path and method of the whole router, as the last step of making it.
pub(crate) fn with_failures(router: Router) -> Router {
    router.method_not_allowed_fallback(other_method).fallback(other_path)
}

async fn other_path(uri: Uri) -> Response<Body> {
    status::failure(&ProtocolError::NoSuchPath { path: clipped(uri.path()) })
}

async fn other_method(method: Method, request: Request) -> Response<Body> {
    let path = clipped(request.uri().path());
    status::failure(&ProtocolError::Method { method: clipped(method.as_str()), path })
}

/// Does work that takes long where it keeps no other request waiting.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProtocolError> + Send + 'static,
) -> Result<T, ProtocolError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(ProtocolError::Failed))
}

/// An answer in JSON.
fn json(text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to what was done and leaves nothing to say.
fn done() -> Response<Body> {
    json(Body::empty())
}

/// A value as an answer in JSON.
fn show(value: &impl Serialize) -> Response<Body> {
    serde_json::to_vec(value).map_or_else(
        |error| {
            let message = error.to_string();
            status::error_response(StatusCode::INTERNAL_SERVER_ERROR, &message, None)
        },
        json,
    )
}

#[cfg(test)]
mod tests;
