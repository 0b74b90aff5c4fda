//! The repository over HTTP: what models there are, loading and unloading them, and going back.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::Response;
use serde::de::MapAccess;

use crate::runtime::{ModelRegistry, ReloadError};
use crate::server::protocol::{self, ModelVersions, ProtocolError, clipped};
use crate::server::{App, status};

use super::object::{Fields, Object, set, skip};
use super::{aside, body, done, show};

/// What to list.
#[derive(Default)]
struct Listing {
    ready: Option<bool>,
}

impl<'de> Object<'de> for Listing {
    const WHAT: &'static str = "an object with `ready`";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "ready" => set(&mut self.ready, "ready", map),
            _ => skip(map),
        }
    }
}

/// How to load.
#[derive(Default)]
struct Loading {
    parameters: Option<Fields<Names>>,
}

/// The names of fields.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl<'de> Object<'de> for Names {
    const WHAT: &'static str = "an object of parameters";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        self.0.insert(name.to_owned());
        skip(map)
    }
}

impl<'de> Object<'de> for Loading {
    const WHAT: &'static str = "an object with `parameters`";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "parameters" => set(&mut self.parameters, "parameters", map),
            _ => skip(map),
        }
    }
}

/// A body that may be left out.
async fn read<T>(app: &App, request: Request) -> Result<T, ProtocolError>
where
    T: for<'de> Object<'de>,
{
    let (parts, body) = request.into_parts();
    let body = body::read(body, &parts.headers, app.config.limits.body_bytes).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    let Fields(value) = serde_json::from_slice(&body).map_err(ProtocolError::syntax)?;
    Ok(value)
}

pub(super) async fn index(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    match read::<Listing>(&app, request).await {
        Ok(Listing { ready }) => show(&protocol::index(&app.registry, ready.unwrap_or(false))),
        Err(error) => status::failure(&error),
    }
}

pub(super) async fn versions(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Response<Body> {
    match app.registry.versions(&name) {
        Ok(versions) => show(&ModelVersions { name: &name, versions }),
        Err(error) => status::failure(&error.into()),
    }
}

/// Changes a model where it keeps no requests waiting.
async fn change<T: Send + 'static>(
    app: Arc<App>,
    name: String,
    how: impl FnOnce(&ModelRegistry, &str) -> Result<T, ReloadError> + Send + 'static,
) -> Result<T, ProtocolError> {
    aside(move || Ok(how(&app.registry, &name)?)).await
}

pub(super) async fn load(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response<Body> {
    let loaded = match read::<Loading>(&app, request).await {
        Ok(Loading { parameters }) => match parameters.unwrap_or_default().0.0.pop_first() {
            None => change(app, name, ModelRegistry::load).await,
            Some(parameter) => Err(ProtocolError::unsupported(format!(
                "a model is loaded as it was deployed: leave the parameter `{}` out, change the \
                 pipeline and run it",
                clipped(&parameter)
            ))),
        },
        Err(error) => Err(error),
    };
    loaded.map_or_else(|error| status::failure(&error), |_| done())
}

pub(super) async fn unload(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Response<Body> {
    let unloaded = change(app, name, ModelRegistry::unload).await;
    unloaded.map_or_else(|error| status::failure(&error), |()| done())
}

pub(super) async fn rollback(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Response<Body> {
    let back = change(app, name, ModelRegistry::rollback).await;
    back.map_or_else(|error| status::failure(&error), |record| show(&*record))
}
