//! [`Refusal`]: a request that is answered before anybody looks at what it asks for.

use std::time::Duration;

use axum::body::Body;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use tonic::Code;

use super::status::error_response;

/// Why a request is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{limit} requests are being answered already; try again later")]
    Busy { limit: usize },
    #[error("the request took longer than {} s", .limit.as_secs_f64())]
    TooSlow { limit: Duration },
    #[error("the body is longer than {limit} bytes, the most this server takes")]
    TooLong { limit: usize },
    #[error("the request lacks the server's token; send it as `Authorization: Bearer TOKEN`")]
    Unauthorized { password: bool },
    #[error("the token of the request is not the server's")]
    WrongToken { password: bool },
    #[error(
        "this server has no such name; ask it by its address, as localhost or by a name of its \
         certificate"
    )]
    ForeignHost,
    #[error("a page of another site may not ask this server")]
    ForeignOrigin,
    #[error("this is no gRPC call: its content type does not begin with application/grpc")]
    NotGrpc,
    #[error("the path is not UTF-8")]
    Path,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooSlow { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthorized { .. } | Self::WrongToken { .. } => StatusCode::UNAUTHORIZED,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::NotGrpc => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Path => StatusCode::BAD_REQUEST,
        }
    }

    fn code(self) -> Code {
        match self {
            Self::Busy { .. } | Self::TooLong { .. } => Code::ResourceExhausted,
            Self::TooSlow { .. } => Code::DeadlineExceeded,
            Self::Unauthorized { .. } | Self::WrongToken { .. } => Code::Unauthenticated,
            Self::ForeignHost | Self::ForeignOrigin => Code::PermissionDenied,
            Self::NotGrpc | Self::Path => Code::InvalidArgument,
        }
    }

    /// The answer of an HTTP listener.
    pub(super) fn http(self) -> Response<Body> {
        let again = matches!(self, Self::Busy { .. }).then_some(Duration::from_secs(1));
        let mut response = error_response(self.status(), &self.to_string(), again);
        if let Self::Unauthorized { password } | Self::WrongToken { password } = self {
            let scheme = if password { "Basic realm=\"token\"" } else { "Bearer" };
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response
    }

    /// The answer of a gRPC listener.
    pub(super) fn grpc(self) -> Response<Body> {
        tonic::Status::new(self.code(), self.to_string()).into_http()
    }
}
