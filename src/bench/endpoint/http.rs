//! Questions over HTTP.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::{Reply, Status};
use super::connection::{Connection, Request};
use super::{Counter, Counters, Description, Endpoint, EndpointError, Message, describe};

#[derive(Deserialize)]
struct ServerMetadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct ModelMetadata {
    #[serde(default)]
    versions: Vec<String>,
    inputs: Vec<TensorMetadata>,
}

#[derive(Deserialize)]
struct TensorMetadata {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

#[derive(Deserialize)]
struct IndexEntry {
    name: String,
}

#[derive(Deserialize)]
struct AllStatistics {
    model_stats: Vec<ModelStatistics>,
}

#[derive(Deserialize)]
struct ModelStatistics {
    #[serde(default)]
    inference_count: u64,
    #[serde(default)]
    execution_count: u64,
    #[serde(default)]
    inference_stats: BTreeMap<String, Duration>,
}

#[derive(Deserialize)]
struct Duration {
    #[serde(default)]
    count: u64,
    #[serde(default)]
    ns: u64,
}

/// The request for an inference.
pub(super) fn infer(endpoint: &Endpoint, message: &Message) -> Request {
    let mut request = post(endpoint, endpoint.infer.clone(), message.body.clone());
    let headers = request.headers_mut();
    let kind = match message.header_length {
        None => HeaderValue::from_static("application/json"),
        Some(length) => {
            headers.insert("inference-header-content-length", length.into());
            HeaderValue::from_static("application/octet-stream")
        }
    };
    headers.insert(CONTENT_TYPE, kind);
    request
}

fn post(endpoint: &Endpoint, uri: Uri, body: Bytes) -> Request {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, endpoint.host.clone());
    endpoint.authorize(&mut request);
    request
}

pub(super) async fn describe(
    endpoint: &Endpoint,
    connection: &mut Connection,
) -> Result<Description, EndpointError> {
    let address = &endpoint.address;
    let origin = address.origin();
    let server: ServerMetadata = match ask(endpoint, connection, Method::GET, "/v2").await? {
        Ok(answer) => parse(endpoint, "/v2", &answer)?,
        Err(refusal) => return Err(refusal.not_kserve(origin)),
    };
    let model = if let Some(model) = &address.model {
        model.clone()
    } else {
        describe::only(index(endpoint, connection).await?, &origin)?
    };
    let path = address.path(&model);
    let metadata: ModelMetadata = match ask(endpoint, connection, Method::GET, &path).await? {
        Ok(answer) => parse(endpoint, &path, &answer)?,
        Err(Refusal { status: 400 | 404, said }) => {
            let known = index(endpoint, connection).await.unwrap_or_default();
            return Err(EndpointError::UnknownModel { address: origin, model, said, known });
        }
        Err(refusal) => return Err(refusal.of(origin, path)),
    };
    let tensor =
        |tensor: TensorMetadata| describe::tensor(tensor.name, &tensor.datatype, &tensor.shape);
    Ok(Description {
        server: format!("{} {}", server.name, server.version),
        model,
        versions: metadata.versions,
        inputs: metadata.inputs.into_iter().map(tensor).collect::<Result<_, _>>()?,
    })
}

pub(super) async fn counters(
    endpoint: &Endpoint,
    connection: &mut Connection,
) -> Result<Option<Counters>, EndpointError> {
    let Some(model) = &endpoint.address.model else { return Ok(None) };
    let path = endpoint.address.path(model) + "/stats";
    let Ok(answer) = ask(endpoint, connection, Method::GET, &path).await? else { return Ok(None) };
    let all: AllStatistics = parse(endpoint, &path, &answer)?;
    let mut sum = Counters::default();
    for model in all.model_stats {
        let counter = |(name, Duration { count, ns })| (name, Counter { count, ns });
        sum.add(&Counters {
            inferences: model.inference_count,
            executions: model.execution_count,
            phases: model.inference_stats.into_iter().map(counter).collect(),
        });
    }
    Ok(Some(sum))
}

/// The names of the server's models; none where it does not tell them.
async fn index(
    endpoint: &Endpoint,
    connection: &mut Connection,
) -> Result<Vec<String>, EndpointError> {
    let path = "/v2/repository/index";
    let Ok(answer) = ask(endpoint, connection, Method::POST, path).await? else {
        return Ok(Vec::new());
    };
    let entries: Vec<IndexEntry> = parse(endpoint, path, &answer)?;
    let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Another status than 200, and what was said with it.
struct Refusal {
    status: u16,
    said: String,
}

impl Refusal {
    fn of(self, address: String, question: String) -> EndpointError {
        let Self { status, said } = self;
        if matches!(status, 401 | 403) {
            return EndpointError::Unauthorized { address, said: format!("HTTP {status}, {said}") };
        }
        EndpointError::Refused { address, question, said: format!("HTTP {status}, {said}") }
    }

    fn not_kserve(self, address: String) -> EndpointError {
        match self.status {
            401 | 403 | 429 | 500.. => self.of(address, "/v2".to_owned()),
            status => {
                EndpointError::NotKServe { address, found: format!("`/v2` gives HTTP {status}") }
            }
        }
    }
}

async fn ask(
    endpoint: &Endpoint,
    connection: &mut Connection,
    method: Method,
    path: &str,
) -> Result<Result<Reply, Refusal>, EndpointError> {
    let uri = path.parse().map_err(|_| EndpointError::Address {
        text: endpoint.address.to_string(),
        reason: "the names of model and version do not fit in one",
    })?;
    let mut request = post(endpoint, uri, Bytes::new());
    *request.method_mut() = method;
    let asked = endpoint.ask(connection, request).await;
    let reply = asked.map_err(|error| endpoint.broken(error))?;
    Ok(match reply.status {
        Status::Answered => Ok(reply),
        Status::Http(status) => Err(Refusal { status, said: reply.said() }),
        // Not over HTTP.
        Status::Grpc(_) => Err(Refusal { status: 0, said: reply.said() }),
    })
}

fn parse<T: DeserializeOwned>(
    endpoint: &Endpoint,
    path: &str,
    reply: &Reply,
) -> Result<T, EndpointError> {
    serde_json::from_slice(&reply.body).map_err(|error| EndpointError::NotKServe {
        address: endpoint.address.origin(),
        found: format!("`{path}` gives other JSON than it should: {error}"),
    })
}
