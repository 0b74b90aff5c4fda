//! What the server and its models say of themselves, over HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use serde::Serialize;

use crate::runtime::{InferError, Model};
use crate::server::protocol::{
    self, AllStatistics, ModelConfig, ModelMetadata, ProtocolError, ServerMetadata,
};
use crate::server::{App, status};

use super::{json, show};

type Name = Path<String>;
type NameAndVersion = Path<(String, String)>;

pub(super) async fn server(State(app): State<Arc<App>>) -> Response<Body> {
    show(&ServerMetadata::new(app.config.shared_memory))
}

pub(super) async fn live() -> Response<Body> {
    json(r#"{"live":true}"#)
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Response<Body> {
    if protocol::ready(&app) {
        return json(r#"{"ready":true}"#);
    }
    let mut response = json(r#"{"ready":false}"#);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// Whether a model takes requests.
#[derive(Serialize)]
struct ModelReady<'a> {
    name: &'a str,
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What is wrong with it all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<String>,
}

fn say_ready(app: &App, name: &str, version: &str) -> Response<Body> {
    match protocol::find_ready(&app.registry, name, version) {
        Ok(model) => {
            let degraded = model.degradation();
            show(&ModelReady { name, ready: true, error: None, degraded })
        }
        Err(error @ ProtocolError::Infer(InferError::NotReady { .. })) => {
            let (error, degraded) = (Some(error.to_string()), None);
            let mut response = show(&ModelReady { name, ready: false, error, degraded });
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
        Err(error) => status::failure(&error),
    }
}

fn say(
    app: &App,
    name: &str,
    version: &str,
    what: impl FnOnce(&Model) -> Response<Body>,
) -> Response<Body> {
    let model = protocol::find(&app.registry, name, version);
    model.map_or_else(|error| status::failure(&error), |model| what(&model))
}

fn say_metadata(app: &App, name: &str, version: &str) -> Response<Body> {
    say(app, name, version, |model| show(&ModelMetadata::of(model, &app.registry)))
}

fn say_config(app: &App, name: &str, version: &str) -> Response<Body> {
    say(app, name, version, |model| show(&ModelConfig::of(model)))
}

fn say_statistics(app: &App, name: &str, version: &str) -> Response<Body> {
    match AllStatistics::of(&app.registry, name, version) {
        Ok(statistics) => show(&statistics),
        Err(error) => status::failure(&error),
    }
}

pub(super) async fn all_statistics(app: State<Arc<App>>) -> Response<Body> {
    say_statistics(&app, "", "")
}

/// Two paths for what a model says: of the version that takes requests, and of a certain one.
macro_rules! paths {
    ($($say:ident: $of_model:ident, $of_version:ident;)*) => {$(
        pub(super) async fn $of_model(app: State<Arc<App>>, Path(name): Name) -> Response<Body> {
            $say(&app, &name, "")
        }

        pub(super) async fn $of_version(
            app: State<Arc<App>>,
            Path((name, version)): NameAndVersion,
        ) -> Response<Body> {
            $say(&app, &name, &version)
        }
    )*};
}

paths! {
    say_metadata: metadata, version_metadata;
    say_ready: model_ready, version_ready;
    say_config: config, version_config;
    say_statistics: statistics, version_statistics;
}
