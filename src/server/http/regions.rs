//! The shared memory extensions over HTTP.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::Response;
use serde::Serialize;
use serde::de::MapAccess;

use crate::server::protocol::ProtocolError;
use crate::server::shared_memory::RegionStatus;
use crate::server::{App, SharedMemory, status};

use super::object::{Fields, Object, Text, set, skip};
use super::{body, show};

/// A region, as clients see it.
#[derive(Serialize)]
struct Region<'a> {
    name: &'a str,
    key: &'a str,
    offset: u64,
    byte_size: u64,
}

/// A region that a client wants to have.
#[derive(Default)]
struct Wanted<'a> {
    key: Option<Text<'a>>,
    offset: Option<u64>,
    byte_size: Option<u64>,
}

impl<'de> Object<'de> for Wanted<'de> {
    const WHAT: &'static str = "a region: an object with `key`, `offset` and `byte_size`";

    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "key" => set(&mut self.key, "key", map),
            "offset" => set(&mut self.offset, "offset", map),
            "byte_size" => set(&mut self.byte_size, "byte_size", map),
            _ => skip(map),
        }
    }
}

fn list(regions: &SharedMemory, name: Option<&str>) -> Response<Body> {
    match regions.status(name) {
        Ok(regions) => show(&regions.iter().map(Region::from).collect::<Vec<_>>()),
        Err(error) => status::failure(&error.into()),
    }
}

impl<'a> From<&'a RegionStatus> for Region<'a> {
    fn from(status: &'a RegionStatus) -> Self {
        let RegionStatus { name, key, offset, byte_size } = status;
        Self { name, key, offset: *offset, byte_size: *byte_size }
    }
}

pub(super) async fn all(State(app): State<Arc<App>>) -> Response<Body> {
    list(&app.shared_memory, None)
}

pub(super) async fn one(State(app): State<Arc<App>>, Path(name): Path<String>) -> Response<Body> {
    list(&app.shared_memory, Some(&name))
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response<Body> {
    let registered = try_register(&app, &name, request).await;
    registered.map_or_else(|error| status::failure(&error), |()| super::done())
}

async fn try_register(app: &App, name: &str, request: Request) -> Result<(), ProtocolError> {
    let (parts, body) = request.into_parts();
    let body = body::read(body, &parts.headers, app.config.limits.body_bytes).await?;
    let Fields(wanted): Fields<Wanted<'_>> =
        serde_json::from_slice(&body).map_err(ProtocolError::syntax)?;
    let lacks = |field: &str| ProtocolError::syntax(format!("the region has no `{field}`"));
    let key = wanted.key.ok_or_else(|| lacks("key"))?.0;
    let size = wanted.byte_size.ok_or_else(|| lacks("byte_size"))?;
    Ok(app.shared_memory.register(name, &key, wanted.offset.unwrap_or(0), size)?)
}

pub(super) async fn unregister_all(State(app): State<Arc<App>>) -> Response<Body> {
    app.shared_memory.unregister(None);
    super::done()
}

pub(super) async fn unregister(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Response<Body> {
    app.shared_memory.unregister(Some(&name));
    super::done()
}

/// Regions of a device: there never are any.
pub(super) async fn no_cuda_regions() -> Response<Body> {
    super::json("[]")
}

pub(super) async fn no_cuda_region() -> Response<Body> {
    status::failure(&ProtocolError::unsupported(
        "CUDA shared memory is not supported: pass tensors in system shared memory or behind the \
         JSON",
    ))
}

pub(super) async fn nothing_to_unregister() -> Response<Body> {
    super::done()
}
