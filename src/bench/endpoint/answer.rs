//! [`Reply`]: an answer's status and, where asked for, the tensors in it.

use std::fmt;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::http::response::Parts;
use prost::Message as _;
use serde::Deserialize;

use crate::kserve::{ModelInferResponse, from_datatype};
use crate::tensor::{DType, Shape};

use super::body::{self, JsonOutput};
use super::connection::CallError;
use super::grpc;

/// Most characters of a server's words that are kept.
const MOST_WORDS: usize = 200;

/// How a request ended, in the words of its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// With its outputs.
    Answered,
    /// With another HTTP status than 200.
    Http(u16),
    /// With another gRPC status than 0.
    Grpc(i32),
}

impl Status {
    /// Whether the server said that it has no time for it now.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Http(429 | 503) | Self::Grpc(grpc::RESOURCE_EXHAUSTED | grpc::UNAVAILABLE)
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => f.write_str("answered"),
            Self::Http(status) => write!(f, "HTTP {status}"),
            Self::Grpc(code) => write!(f, "gRPC {}", grpc::code_name(*code)),
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    /// How the request ended.
    pub status: Status,
    form: Form,
    pub(super) body: Bytes,
}

#[derive(Debug)]
enum Form {
    /// JSON, followed by tensors where its length is told.
    Http { header_length: Option<usize> },
    /// A message; what the server said where there is none.
    Grpc { said: String },
}

/// One output of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its extents.
    pub shape: Shape,
    /// Its elements, row-major and little-endian.
    pub bytes: Bytes,
}

/// Why the tensors of an answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

#[derive(Deserialize)]
struct JsonAnswer {
    model_version: Option<String>,
    outputs: Vec<JsonOutput>,
}

/// The version of the model that answered, and its outputs.
pub type Outputs = (Option<String>, Vec<Output>);

impl Reply {
    pub(super) fn http(head: &Parts, body: Bytes) -> Self {
        let length = head.headers.get("inference-header-content-length");
        let header_length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let status = match head.status.as_u16() {
            200 => Status::Answered,
            other => Status::Http(other),
        };
        Self { status, form: Form::Http { header_length }, body }
    }

    pub(super) fn grpc(head: &Parts, trailers: &HeaderMap, body: Bytes) -> Result<Self, CallError> {
        if head.status != 200 {
            return Err(CallError::Invalid(format!("its HTTP status is {}", head.status)));
        }
        let find = |name| trailers.get(name).or_else(|| head.headers.get(name));
        let text = |name| find(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let code = text("grpc-status").and_then(|code| code.parse::<i32>().ok());
        let code = code.ok_or_else(|| CallError::Invalid("it has no grpc-status".to_owned()))?;
        if code != 0 {
            let said = text("grpc-message").map(|said| grpc::decoded(&said)).unwrap_or_default();
            return Ok(Self { status: Status::Grpc(code), form: Form::Grpc { said }, body });
        }
        let body = grpc::unframed(&body).map_err(CallError::Invalid)?;
        Ok(Self { status: Status::Answered, form: Form::Grpc { said: String::new() }, body })
    }

    /// What the server said, where it did not answer: the beginning of it.
    pub fn said(&self) -> String {
        let said = match &self.form {
            Form::Grpc { said } => said.clone(),
            Form::Http { .. } => body::error_of(&self.body)
                .unwrap_or_else(|| String::from_utf8_lossy(&self.body).trim().to_owned()),
        };
        said.chars().take(MOST_WORDS).collect()
    }

    /// The version that answered and its outputs, in the order of the answer.
    pub fn outputs(&self) -> Result<Outputs, Unreadable> {
        match &self.form {
            Form::Grpc { .. } => self.grpc_outputs(),
            Form::Http { header_length } => self.http_outputs(*header_length),
        }
    }

    fn http_outputs(&self, header_length: Option<usize>) -> Result<Outputs, Unreadable> {
        let length = header_length.unwrap_or(self.body.len());
        let json = self.body.get(..length).ok_or_else(|| {
            Unreadable(format!("it says {length} bytes of JSON and has {}", self.body.len()))
        })?;
        let answer: JsonAnswer = serde_json::from_slice(json)
            .map_err(|error| Unreadable(format!("its JSON is not that of an answer: {error}")))?;
        let mut tail = self.body.slice(length..);
        let outputs = answer.outputs.into_iter().map(|output| output.read(&mut tail));
        let outputs = outputs.collect::<Result<_, _>>()?;
        if !tail.is_empty() {
            return Err(Unreadable(format!("{} bytes follow its outputs", tail.len())));
        }
        Ok((answer.model_version, outputs))
    }

    fn grpc_outputs(&self) -> Result<Outputs, Unreadable> {
        let answer = ModelInferResponse::decode(self.body.clone()).map_err(|error| {
            Unreadable(format!("its message is not that of an answer: {error}"))
        })?;
        if answer.raw_output_contents.len() != answer.outputs.len() {
            let (raw, outputs) = (answer.raw_output_contents.len(), answer.outputs.len());
            return Err(Unreadable(format!("it has {raw} raw contents for {outputs} outputs")));
        }
        let each = answer.outputs.into_iter().zip(answer.raw_output_contents);
        let outputs = each.map(|(output, bytes)| {
            let extent = |extent: i64| usize::try_from(extent).ok();
            let shape = output.shape.into_iter().map(extent).collect::<Option<Vec<usize>>>();
            Output::new(output.name, &output.datatype, shape, bytes)
        });
        Ok((Some(answer.model_version), outputs.collect::<Result<_, _>>()?))
    }
}

impl Output {
    /// An output whose bytes are as many as its shape needs.
    pub(super) fn new(
        name: String,
        datatype: &str,
        shape: Option<Vec<usize>>,
        bytes: Bytes,
    ) -> Result<Self, Unreadable> {
        let dtype = from_datatype(datatype)
            .ok_or_else(|| Unreadable(format!("output `{name}` has datatype `{datatype}`")))?;
        let shape =
            Shape(shape.ok_or_else(|| {
                Unreadable(format!("output `{name}` has an extent that is none"))
            })?);
        if shape.checked_bytes(dtype) == Some(bytes.len()) {
            return Ok(Self { name, dtype, shape, bytes });
        }
        let found = bytes.len();
        Err(Unreadable(format!("output `{name}` has {found} bytes for a {dtype} {shape}")))
    }
}
