//! An inference answer's body: JSON, with the bytes of binary outputs behind it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::runtime::InferResponse;
use crate::server::protocol::{ProtocolError, Signature, datatype};

use super::elements;
use super::reply::{Place, Reply};

/// The header that says how long the JSON is where bytes of tensors follow it.
pub(super) const HEADER_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

/// Writes an answer. Binary outputs are sent from where the runtime left them.
pub(super) fn encode(
    signature: Signature<'_>,
    version: u32,
    reply: &Reply,
    response: InferResponse,
) -> Result<Response<Body>, ProtocolError> {
    let mut json = Vec::with_capacity(256);
    let mut frames = VecDeque::new();
    write_head(&mut json, signature.model, version, reply.id.as_deref()).map_err(unwritten)?;
    for (index, (output, place)) in response.outputs.into_iter().zip(&reply.places).enumerate() {
        let Some(spec) = signature.outputs.get(output.index) else { continue };
        if index > 0 {
            json.push(b',');
        }
        let dtype = spec.dtype;
        json.extend_from_slice(b"{\"name\":");
        serde_json::to_writer(&mut json, &spec.name).map_err(|error| unwritten(error.into()))?;
        write!(json, ",\"datatype\":\"{}\",\"shape\":{}", datatype(dtype), output.shape)
            .map_err(unwritten)?;
        match place {
            Place::Json => {
                json.extend_from_slice(b",\"data\":");
                elements::write(&mut json, dtype, &output.bytes)
                    .map_err(|reason| ProtocolError::output(&spec.name, reason))?;
            }
            Place::Binary => {
                let size = output.bytes.len();
                write!(json, ",\"parameters\":{{\"binary_data_size\":{size}}}")
                    .map_err(unwritten)?;
                frames.push_back(output.bytes);
            }
            Place::Region(part) => part.write(&output.bytes)?,
        }
        json.push(b'}');
    }
    json.extend_from_slice(b"]}");
    Ok(respond(json, frames))
}

fn write_head(
    json: &mut Vec<u8>,
    model: &str,
    version: u32,
    id: Option<&str>,
) -> std::io::Result<()> {
    json.push(b'{');
    if let Some(id) = id {
        json.extend_from_slice(b"\"id\":");
        serde_json::to_writer(&mut *json, id)?;
        json.push(b',');
    }
    json.extend_from_slice(b"\"model_name\":");
    serde_json::to_writer(&mut *json, model)?;
    write!(json, ",\"model_version\":\"{version}\",\"outputs\":[")
}

fn respond(json: Vec<u8>, mut frames: VecDeque<Bytes>) -> Response<Body> {
    if frames.is_empty() {
        return super::json(json);
    }
    let length = json.len();
    frames.push_front(json.into());
    frames.retain(|frame| !frame.is_empty());
    let left = frames.iter().map(|frame| frame.len() as u64).sum();
    let mut response = Response::new(Body::new(Frames { frames, left }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(HEADER_LENGTH, length.into());
    response
}

/// Memory takes every text.
fn unwritten(error: std::io::Error) -> ProtocolError {
    ProtocolError::syntax(error)
}

/// Pieces of a body of known length, sent as they are.
struct Frames {
    frames: VecDeque<Bytes>,
    left: u64,
}

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.frames.pop_front();
        self.left -= frame.as_ref().map_or(0, |frame| frame.len() as u64);
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
