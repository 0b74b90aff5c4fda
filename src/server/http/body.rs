//! The body of a request as one piece of memory, bounded in size. Its time is bounded in front of
//! the routes.

use std::error::Error;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use crate::server::BodyError;
use crate::server::protocol::ProtocolError;

/// Most that is reserved for a body before it came.
const FIRST: usize = 1 << 20;

/// Reads a body to its end. One that came in one piece is not copied.
pub(super) async fn read(
    mut body: Body,
    headers: &HeaderMap,
    limit: usize,
) -> Result<Bytes, ProtocolError> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length: usize = length.unwrap_or(0);
    let fits = |bytes: usize| {
        if bytes > limit { Err(ProtocolError::TooLarge { limit }) } else { Ok(()) }
    };
    fits(length)?;
    let Some(first) = piece(&mut body).await? else { return Ok(Bytes::new()) };
    fits(first.len())?;
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = piece(&mut body).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(length.min(FIRST).max(first.len()));
    whole.extend_from_slice(&first);
    drop(first);
    let mut next = Some(second);
    while let Some(more) = next {
        fits(whole.len() + more.len())?;
        whole.extend_from_slice(&more);
        next = piece(&mut body).await?;
    }
    Ok(whole.freeze())
}

async fn piece(body: &mut Body) -> Result<Option<Bytes>, ProtocolError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Why a body did not come, as whoever bounds bodies says it.
fn broken(error: &(dyn Error + 'static)) -> ProtocolError {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    match causes.find_map(|cause| cause.downcast_ref()) {
        Some(BodyError::TooLong { limit }) => ProtocolError::TooLarge { limit: *limit },
        Some(BodyError::TooSlow { limit }) => ProtocolError::TooSlow { limit: *limit },
        Some(broken @ BodyError::Broken(_)) => ProtocolError::syntax(broken),
        None => ProtocolError::syntax(error),
    }
}
