//! Inference over HTTP: body to request, answer to body.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Response};

use crate::runtime::Phase;
use crate::server::App;
use crate::server::protocol::{self, ProtocolError, Signature, clipped};
use crate::server::status;

use super::decode::decode;
use super::encode::{HEADER_LENGTH, encode};
use super::unpack::Encoding;
use super::{aside, body};

/// Bytes of JSON that are read or written in less time than it takes to have it done elsewhere.
const SMALL: usize = 256 << 10;

pub(super) async fn infer(
    State(app): State<Arc<App>>,
    Path(model): Path<String>,
    request: Request,
) -> Response<Body> {
    answer(&app, &model, "", request).await.unwrap_or_else(|error| status::failure(&error))
}

pub(super) async fn infer_version(
    State(app): State<Arc<App>>,
    Path((model, version)): Path<(String, String)>,
    request: Request,
) -> Response<Body> {
    answer(&app, &model, &version, request).await.unwrap_or_else(|error| status::failure(&error))
}

async fn answer(
    app: &Arc<App>,
    name: &str,
    version: &str,
    request: Request,
) -> Result<Response<Body>, ProtocolError> {
    let (parts, body) = request.into_parts();
    let header = header_length(&parts.headers)?;
    let encoding = Encoding::of(&parts.headers)?;
    let limit = app.config.limits.body_bytes;
    let body = body::read(body, &parts.headers, limit).await?;
    let body = match encoding {
        None => body,
        Some(encoding) => aside(move || encoding.unpack(&body, limit)).await?,
    };
    // Only now: who sends slowly keeps no old version alive.
    let model = protocol::find(&app.registry, name, version)?;
    let began = Instant::now();
    let (reader, regions) = (Arc::clone(&model), Arc::clone(app));
    let small = header.unwrap_or(body.len()) <= SMALL;
    let read = move || decode(Signature::of(&reader), &body, header, Some(&regions.shared_memory));
    let (request, reply) = match if small { read() } else { aside(read).await } {
        Ok(read) => read,
        Err(error) => {
            model.statistics().failed(error.kind(), began.elapsed());
            return Err(error);
        }
    };
    model.statistics().spent(Phase::Parse, began.elapsed());
    let response = model.infer(request).await?;
    let began = Instant::now();
    let small = reply.work(&response) <= SMALL;
    let writer = Arc::clone(&model);
    let write = move || encode(Signature::of(&writer), writer.version(), &reply, response);
    let answer = if small { write() } else { aside(write).await }?;
    model.statistics().spent(Phase::Encode, began.elapsed());
    Ok(answer)
}

/// The length of the JSON, where the request says that bytes of tensors follow it.
fn header_length(headers: &HeaderMap) -> Result<Option<usize>, ProtocolError> {
    let mut values = headers.get_all(HEADER_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(length) if values.next().is_none() => Ok(Some(length)),
        _ => Err(ProtocolError::syntax(format!(
            "its header `Inference-Header-Content-Length` is `{}`; it is the number of bytes of \
             the JSON",
            clipped(&String::from_utf8_lossy(value.as_bytes()))
        ))),
    }
}
