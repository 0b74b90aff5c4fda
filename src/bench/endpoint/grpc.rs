//! Questions over gRPC, and its framing: each message after a byte for compression and its length.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, TE};
use hyper::{Method, Uri};

use crate::kserve::model_infer_request::InferInputTensor;
use crate::kserve::{
    ModelInferRequest, ModelMetadataRequest, ModelMetadataResponse, ModelStatisticsRequest,
    ModelStatisticsResponse, RepositoryIndexRequest, RepositoryIndexResponse,
    ServerMetadataRequest, ServerMetadataResponse, StatisticDuration, datatype,
};
use crate::tensor::{Tensor, TensorSpec};

use super::answer::Status;
use super::connection::{Connection, Request};
use super::{Address, Counter, Counters, Description, Endpoint, EndpointError, Message, describe};

const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
const UNIMPLEMENTED: i32 = 12;
pub(super) const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// Bytes before each message.
const PREFIX: usize = 5;

/// A status as the specification of gRPC calls it.
pub(super) fn code_name(code: i32) -> String {
    let names = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let known = usize::try_from(code).ok().and_then(|code| names.get(code));
    known.map_or_else(|| code.to_string(), |name| (*name).to_owned())
}

/// A message with its prefix.
fn framed(message: &impl prost::Message) -> Result<Bytes, EndpointError> {
    let bytes = message.encoded_len();
    let length =
        u32::try_from(bytes).map_err(|_| EndpointError::TooLarge { bytes, protocol: "grpc" })?;
    let mut body = BytesMut::with_capacity(PREFIX + bytes);
    body.put_u8(0);
    body.put_u32(length);
    body.put_slice(&message.encode_to_vec());
    Ok(body.freeze())
}

/// The only message of an answer.
pub(super) fn unframed(body: &Bytes) -> Result<Bytes, String> {
    let mut rest = body.clone();
    if rest.len() < PREFIX {
        return Err(format!("it has {} bytes, which is no message", rest.len()));
    }
    if rest.get_u8() != 0 {
        return Err("its message is compressed, which was not asked for".to_owned());
    }
    let length = rest.get_u32();
    if usize::try_from(length) != Ok(rest.len()) {
        return Err(format!("its message says {length} bytes and has {}", rest.len()));
    }
    Ok(rest)
}

/// Words in which some bytes are written as `%` and two digits.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%');
        let code = digits.and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The request for an inference.
pub(super) fn message(
    address: &Address,
    specs: &[TensorSpec],
    tensors: &[Tensor],
) -> Result<Message, EndpointError> {
    let input = |(spec, tensor): (&TensorSpec, &Tensor)| {
        let extents = tensor.shape().0.iter();
        InferInputTensor {
            name: spec.name.clone(),
            datatype: datatype(spec.dtype).to_owned(),
            shape: extents.map(|&extent| i64::try_from(extent).unwrap_or(i64::MAX)).collect(),
            ..InferInputTensor::default()
        }
    };
    let request = ModelInferRequest {
        model_name: address.model.clone().unwrap_or_default(),
        model_version: address.version.clone().unwrap_or_default(),
        inputs: specs.iter().zip(tensors).map(input).collect(),
        raw_input_contents: tensors
            .iter()
            .map(|tensor| Bytes::copy_from_slice(tensor.bytes()))
            .collect(),
        ..ModelInferRequest::default()
    };
    Ok(Message { body: framed(&request)?, header_length: None })
}

/// The call of a method.
pub(super) fn request(endpoint: &Endpoint, uri: Uri, body: Bytes) -> Request {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    endpoint.authorize(&mut request);
    request
}

/// Where a method is.
pub(super) fn method(address: &Address, name: &str) -> Result<Uri, EndpointError> {
    let scheme = if address.tls { "https" } else { "http" };
    let authority = address.authority();
    let uri = format!("{scheme}://{authority}/inference.GRPCInferenceService/{name}");
    uri.parse().map_err(|_| EndpointError::Address {
        text: address.to_string(),
        reason: "the host does not fit in one",
    })
}

pub(super) async fn describe(
    endpoint: &Endpoint,
    connection: &mut Connection,
) -> Result<Description, EndpointError> {
    let address = &endpoint.address;
    let origin = address.origin();
    let asked = ServerMetadataRequest {};
    let server: ServerMetadataResponse =
        match ask(endpoint, connection, "ServerMetadata", &asked).await? {
            Ok(server) => server,
            Err(refusal) => return Err(refusal.of(origin, "ServerMetadata")),
        };
    let name = if let Some(model) = &address.model {
        model.clone()
    } else {
        describe::only(index(endpoint, connection).await?, &origin)?
    };
    let version = address.version.clone().unwrap_or_default();
    let asked = ModelMetadataRequest { name: name.clone(), version };
    let metadata: ModelMetadataResponse = match ask(endpoint, connection, "ModelMetadata", &asked)
        .await?
    {
        Ok(metadata) => metadata,
        Err(Refusal { code: NOT_FOUND | INVALID_ARGUMENT, said }) => {
            let known = index(endpoint, connection).await.unwrap_or_default();
            return Err(EndpointError::UnknownModel { address: origin, model: name, said, known });
        }
        Err(refusal) => return Err(refusal.of(origin, "ModelMetadata")),
    };
    let inputs = metadata
        .inputs
        .into_iter()
        .map(|input| describe::tensor(input.name, &input.datatype, &input.shape));
    Ok(Description {
        server: format!("{} {}", server.name, server.version),
        model: name,
        versions: metadata.versions,
        inputs: inputs.collect::<Result<_, _>>()?,
    })
}

pub(super) async fn counters(
    endpoint: &Endpoint,
    connection: &mut Connection,
) -> Result<Option<Counters>, EndpointError> {
    let name = endpoint.address.model.clone().unwrap_or_default();
    let version = endpoint.address.version.clone().unwrap_or_default();
    let asked = ModelStatisticsRequest { name, version };
    let answer = ask(endpoint, connection, "ModelStatistics", &asked).await?;
    let Ok::<ModelStatisticsResponse, _>(all) = answer else { return Ok(None) };
    let mut sum = Counters::default();
    for model in all.model_stats {
        let phases = model.inference_stats.unwrap_or_default();
        let named = [
            ("success", phases.success),
            ("fail", phases.fail),
            ("queue", phases.queue),
            ("compute_input", phases.compute_input),
            ("compute_infer", phases.compute_infer),
            ("compute_output", phases.compute_output),
        ];
        let counter = |(name, counter): (&str, Option<StatisticDuration>)| {
            counter.map(|StatisticDuration { count, ns }| (name.to_owned(), Counter { count, ns }))
        };
        sum.add(&Counters {
            inferences: model.inference_count,
            executions: model.execution_count,
            phases: named.into_iter().filter_map(counter).collect(),
        });
    }
    Ok(Some(sum))
}

/// The names of the server's models; none where it does not tell them.
async fn index(
    endpoint: &Endpoint,
    connection: &mut Connection,
) -> Result<Vec<String>, EndpointError> {
    let asked = RepositoryIndexRequest::default();
    let answer = ask(endpoint, connection, "RepositoryIndex", &asked).await?;
    let Ok::<RepositoryIndexResponse, _>(index) = answer else { return Ok(Vec::new()) };
    let mut names: Vec<String> = index.models.into_iter().map(|model| model.name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Another status than 0, and what was said with it.
struct Refusal {
    code: i32,
    said: String,
}

impl Refusal {
    fn of(self, address: String, question: &str) -> EndpointError {
        let said = format!("gRPC {}, {}", code_name(self.code), self.said);
        match self.code {
            UNIMPLEMENTED => EndpointError::NotKServe { address, found: said },
            UNAUTHENTICATED | PERMISSION_DENIED => EndpointError::Unauthorized { address, said },
            _ => EndpointError::Refused { address, question: question.to_owned(), said },
        }
    }
}

async fn ask<T: prost::Message + Default>(
    endpoint: &Endpoint,
    connection: &mut Connection,
    name: &str,
    message: &impl prost::Message,
) -> Result<Result<T, Refusal>, EndpointError> {
    let address = &endpoint.address;
    let request = request(endpoint, method(address, name)?, framed(message)?);
    let other = |found: String| EndpointError::NotKServe { address: address.origin(), found };
    let asked = endpoint.ask(connection, request).await;
    let reply = asked.map_err(|error| endpoint.broken(error))?;
    match reply.status {
        Status::Answered => T::decode(reply.body)
            .map(Ok)
            .map_err(|error| other(format!("`{name}` gives another message: {error}"))),
        Status::Grpc(code) => Ok(Err(Refusal { code, said: reply.said() })),
        Status::Http(status) => Err(other(format!("HTTP {status}"))),
    }
}
