//! Bodies that were compressed on their way.

use std::io::{self, Read};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::server::protocol::{ProtocolError, clipped};

/// How a body was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    /// What the headers of a request say, if it was compressed.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, ProtocolError> {
        let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(None) };
        match value.as_bytes() {
            b"" | b"identity" => Ok(None),
            b"gzip" | b"x-gzip" => Ok(Some(Self::Gzip)),
            b"deflate" => Ok(Some(Self::Deflate)),
            other => Err(ProtocolError::unsupported(format!(
                "the content encoding `{}` is not known; known are gzip and deflate",
                clipped(&String::from_utf8_lossy(other))
            ))),
        }
    }

    /// The body as it was before. It may not be larger than `limit`, however small it came.
    pub(super) fn unpack(self, packed: &[u8], limit: usize) -> Result<Bytes, ProtocolError> {
        let most = limit as u64 + 1;
        let mut body = Vec::new();
        let unpacked: io::Result<usize> = match self {
            Self::Gzip => MultiGzDecoder::new(packed).take(most).read_to_end(&mut body),
            Self::Deflate => ZlibDecoder::new(packed).take(most).read_to_end(&mut body),
        };
        unpacked.map_err(|error| ProtocolError::syntax(format!("it does not unpack: {error}")))?;
        if body.len() > limit {
            return Err(ProtocolError::TooLarge { limit });
        }
        Ok(body.into())
    }
}
