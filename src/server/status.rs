//! What each failure is in HTTP and in gRPC: status codes, when to try again, and the body.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use serde::Serialize;

use crate::runtime::{ErrorKind, InferError};

use super::protocol::ProtocolError;

/// A failure's status in both protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) http: StatusCode,
    pub(crate) grpc: tonic::Code,
    /// When it is worth trying again, where it is.
    pub(crate) retry_after: Option<Duration>,
}

/// When it is worth trying again where nobody knows better.
const SOON: Duration = Duration::from_secs(1);

impl Status {
    pub(crate) fn of(error: &ProtocolError) -> Self {
        let (http, grpc) = match error {
            ProtocolError::Unsupported { .. } => {
                (StatusCode::NOT_IMPLEMENTED, tonic::Code::Unimplemented)
            }
            ProtocolError::TooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, tonic::Code::ResourceExhausted)
            }
            ProtocolError::TooSlow { .. } => {
                (StatusCode::REQUEST_TIMEOUT, tonic::Code::DeadlineExceeded)
            }
            ProtocolError::NoControl => (StatusCode::FORBIDDEN, tonic::Code::PermissionDenied),
            ProtocolError::Method { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, tonic::Code::Unimplemented)
            }
            _ => codes(error.kind()),
        };
        let retry_after = match (error, error.kind()) {
            (ProtocolError::Infer(InferError::QueueFull { retry_after, .. }), _) => {
                Some(*retry_after)
            }
            (_, ErrorKind::Overloaded | ErrorKind::Unavailable) => Some(SOON),
            _ => None,
        };
        Self { http, grpc, retry_after }
    }
}

fn codes(kind: ErrorKind) -> (StatusCode, tonic::Code) {
    match kind {
        ErrorKind::Invalid => (StatusCode::BAD_REQUEST, tonic::Code::InvalidArgument),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, tonic::Code::NotFound),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, tonic::Code::Unavailable),
        ErrorKind::Overloaded => (StatusCode::TOO_MANY_REQUESTS, tonic::Code::ResourceExhausted),
        ErrorKind::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, tonic::Code::DeadlineExceeded),
        // The caller is gone, or the server is about to be: nobody else cancels.
        ErrorKind::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, tonic::Code::Cancelled),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, tonic::Code::Internal),
    }
}

/// The answer over HTTP to a request that failed.
pub(crate) fn failure(error: &ProtocolError) -> Response<Body> {
    let status = Status::of(error);
    error_response(status.http, &error.to_string(), status.retry_after)
}

/// An answer over HTTP with the body of an error, and when to try again where that is known.
pub(crate) fn error_response(
    status: StatusCode,
    message: &str,
    retry_after: Option<Duration>,
) -> Response<Body> {
    #[derive(Serialize)]
    struct ErrorBody<'a> {
        error: &'a str,
    }
    let text = serde_json::to_vec(&ErrorBody { error: message }).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(retry_after) = retry_after {
        // The header counts whole seconds: the first one that is not too early.
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        response.headers_mut().insert(RETRY_AFTER, seconds.max(1).into());
    }
    response
}
