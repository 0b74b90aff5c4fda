//! [`Refusal`]: a request that is answered before anybody looks at what it asks for.

use std::time::Duration;

use axum::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tonic::Code;

/// Why a request is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{limit} requests are being answered already; try again later")]
    Busy { limit: usize },
    #[error("the request took longer than {} s", .limit.as_secs_f64())]
    TooSlow { limit: Duration },
    #[error("the body is longer than {limit} bytes, the most this server takes")]
    TooLong { limit: usize },
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooSlow { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Busy { .. } | Self::TooLong { .. } => Code::ResourceExhausted,
            Self::TooSlow { .. } => Code::DeadlineExceeded,
        }
    }

    /// The answer of an HTTP listener.
    pub(super) fn http(self) -> Response<Body> {
        let text = serde_json::json!({ "error": self.to_string() }).to_string();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if matches!(self, Self::Busy { .. }) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// The answer of a gRPC listener.
    pub(super) fn grpc(self) -> Response<Body> {
        tonic::Status::new(self.code(), self.to_string()).into_http()
    }
}
