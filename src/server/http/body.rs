//! The body of a request as one piece of memory, bounded.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use crate::server::BodyError;
use crate::server::protocol::ProtocolError;

/// What is reserved for a body before any of it came.
const FIRST: usize = 1 << 20;

/// Reads a body to its end. One that came in one piece is not copied.
pub(super) async fn read(
    mut body: Body,
    headers: &HeaderMap,
    limit: usize,
) -> Result<Bytes, ProtocolError> {
    let too_large = || ProtocolError::TooLarge { limit };
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    let Some(first) = piece(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > limit {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = piece(&mut body).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(length.unwrap_or(0).min(FIRST).max(first.len()));
    whole.extend_from_slice(&first);
    drop(first);
    let mut next = Some(second);
    while let Some(piece_of_it) = next {
        if piece_of_it.len() > limit - whole.len() {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece_of_it);
        next = piece(&mut body).await?;
    }
    Ok(whole.freeze())
}

async fn piece(body: &mut Body) -> Result<Option<Bytes>, ProtocolError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn broken(error: axum::Error) -> ProtocolError {
    match error.into_inner().downcast::<BodyError>().map(|error| *error) {
        Ok(BodyError::TooSlow { limit }) => ProtocolError::TooSlow { limit },
        Ok(error) => ProtocolError::syntax(error),
        Err(error) => ProtocolError::syntax(format!("its body: {error}")),
    }
}
