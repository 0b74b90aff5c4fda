//! What the server and its models say of themselves, over HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};

use serde::Serialize;

use crate::runtime::Model;
use crate::server::App;
use crate::server::protocol::{
    self, AllStatistics, ModelConfig, ModelMetadata, ModelStatistics, ServerMetadata,
};
use crate::server::status;

use super::show;

type AnyVersion = Path<String>;
type OneVersion = Path<(String, String)>;

pub(super) async fn server(State(app): State<Arc<App>>) -> Response<Body> {
    show(&ServerMetadata::new(app.config.shared_memory))
}

pub(super) async fn live() -> Response<Body> {
    super::json(r#"{"live":true}"#)
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Response<Body> {
    if !app.stopping().is_cancelled() {
        return super::json(r#"{"ready":true}"#);
    }
    let mut response = super::json(r#"{"ready":false}"#);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// Whether a model takes requests.
#[derive(Serialize)]
struct ModelReady<'a> {
    name: &'a str,
    ready: bool,
}

fn of_model(
    app: &App,
    name: &str,
    version: &str,
    answer: impl FnOnce(&Model) -> Response<Body>,
) -> Response<Body> {
    match protocol::find(&app.registry, name, version) {
        Ok(model) => answer(&model),
        Err(error) => status::failure(&error),
    }
}

fn say_metadata(model: &Model) -> Response<Body> {
    show(&ModelMetadata::of(model))
}

fn say_config(model: &Model) -> Response<Body> {
    show(&ModelConfig::of(model))
}

fn say_ready(model: &Model) -> Response<Body> {
    show(&ModelReady { name: &model.config().name, ready: true })
}

fn say_statistics(model: &Model) -> Response<Body> {
    show(&AllStatistics { model_stats: vec![ModelStatistics::of(model)] })
}

pub(super) async fn metadata(app: State<Arc<App>>, Path(name): AnyVersion) -> Response<Body> {
    of_model(&app, &name, "", say_metadata)
}

pub(super) async fn version_metadata(
    app: State<Arc<App>>,
    Path((name, version)): OneVersion,
) -> Response<Body> {
    of_model(&app, &name, &version, say_metadata)
}

pub(super) async fn model_ready(app: State<Arc<App>>, Path(name): AnyVersion) -> Response<Body> {
    of_model(&app, &name, "", say_ready)
}

pub(super) async fn version_ready(
    app: State<Arc<App>>,
    Path((name, version)): OneVersion,
) -> Response<Body> {
    of_model(&app, &name, &version, say_ready)
}

pub(super) async fn config(app: State<Arc<App>>, Path(name): AnyVersion) -> Response<Body> {
    of_model(&app, &name, "", say_config)
}

pub(super) async fn version_config(
    app: State<Arc<App>>,
    Path((name, version)): OneVersion,
) -> Response<Body> {
    of_model(&app, &name, &version, say_config)
}

pub(super) async fn statistics(app: State<Arc<App>>, Path(name): AnyVersion) -> Response<Body> {
    of_model(&app, &name, "", say_statistics)
}

pub(super) async fn version_statistics(
    app: State<Arc<App>>,
    Path((name, version)): OneVersion,
) -> Response<Body> {
    of_model(&app, &name, &version, say_statistics)
}
