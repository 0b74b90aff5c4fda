//! [`Target`]: what answers requests, behind an endpoint or in this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::bench::endpoint::{
    CallError, CallTimes, Connection, Endpoint, EndpointError, Message, Output, Outputs, Reply,
    Status, Unreadable,
};
use crate::runtime::{InferRequest, InferResponse, InputTensor, Model};
use crate::tensor::{Tensor, TensorSpec};

use super::record::{Ending, Parts};

/// What answers requests.
pub enum Target {
    /// A server of the KServe v2 protocol.
    Endpoint {
        /// Where and how to ask it.
        endpoint: Box<Endpoint>,
        /// What its model takes.
        inputs: Vec<TensorSpec>,
        /// Connections to spread requests over, where each carries several.
        connections: Option<usize>,
    },
    /// A model in this process: its queue, its batches, its instances, and no network.
    Model {
        /// The model.
        model: Arc<Model>,
        /// How long an answer may take.
        timeout: Duration,
    },
}

/// A request in the form that its target takes.
pub(super) enum Request {
    Message(Message),
    Infer(InferRequest),
}

/// An answer in the form that its target gives.
pub(super) enum Answer {
    Reply(Reply),
    Response(InferResponse),
}

/// What came of one request.
pub(super) struct Exchange {
    pub(super) ending: Ending,
    pub(super) said: String,
    pub(super) parts: Parts,
    pub(super) answer: Option<Answer>,
}

/// Who makes one request at a time.
pub(super) enum Caller {
    Endpoint(Connection),
    Model,
}

/// Requests on one gRPC connection, where nothing else is asked for.
const REQUESTS_PER_CONNECTION: usize = 8;

impl Target {
    /// What the model takes.
    pub fn inputs(&self) -> &[TensorSpec] {
        match self {
            Self::Endpoint { inputs, .. } => inputs,
            Self::Model { model, .. } => model.inputs(),
        }
    }

    pub(super) fn request(&self, tensors: &[Tensor]) -> Result<Request, EndpointError> {
        match self {
            Self::Endpoint { endpoint, inputs, .. } => {
                Ok(Request::Message(endpoint.message(inputs, tensors)?))
            }
            Self::Model { model, .. } => {
                let input = |tensor: &Tensor| InputTensor {
                    shape: tensor.shape().clone(),
                    bytes: Bytes::copy_from_slice(tensor.bytes()),
                };
                Ok(Request::Infer(InferRequest {
                    inputs: tensors.iter().map(input).collect(),
                    outputs: (0..model.outputs().len()).collect(),
                    priority: None,
                    deadline: None,
                }))
            }
        }
    }

    /// As many callers as requests are made at a time.
    pub(super) async fn callers(&self, count: usize) -> Result<Vec<Caller>, EndpointError> {
        let Self::Endpoint { endpoint, connections, .. } = self else {
            return Ok((0..count).map(|_| Caller::Model).collect());
        };
        let connections = connections.unwrap_or(count.div_ceil(REQUESTS_PER_CONNECTION)).max(1);
        let mut callers: Vec<Caller> = Vec::with_capacity(count);
        while callers.len() < count {
            let shared = match callers.len().checked_sub(connections).map(|at| &callers[at]) {
                Some(Caller::Endpoint(connection)) => connection.share(),
                _ => None,
            };
            let connection = match shared {
                Some(connection) => connection,
                None => endpoint.connect().await.map_err(|error| endpoint.unreachable(error))?,
            };
            callers.push(Caller::Endpoint(connection));
        }
        Ok(callers)
    }

    pub(super) async fn call(&self, caller: &mut Caller, request: &Request) -> Exchange {
        match (self, caller, request) {
            (
                Self::Endpoint { endpoint, .. },
                Caller::Endpoint(connection),
                Request::Message(message),
            ) => {
                let mut times = CallTimes::default();
                let reply = endpoint.infer(connection, message, &mut times).await;
                Exchange::over_the_network(reply, times)
            }
            (Self::Model { model, timeout }, Caller::Model, Request::Infer(request)) => {
                in_process(model, request.clone(), *timeout).await
            }
            _ => unreachable!("callers and requests are those that the target made"),
        }
    }

    /// The version that answered, and its outputs.
    pub(super) fn outputs(&self, answer: &Answer) -> Result<Outputs, Unreadable> {
        match (self, answer) {
            (Self::Model { model, .. }, Answer::Response(response)) => {
                let outputs = response.outputs.iter().map(|output| {
                    let spec = model.outputs().get(output.index);
                    let spec = spec.ok_or_else(|| Unreadable("an output too many".to_owned()))?;
                    Ok(Output {
                        name: spec.name.clone(),
                        dtype: spec.dtype,
                        shape: output.shape.clone(),
                        bytes: output.bytes.clone(),
                    })
                });
                Ok((Some(model.version().to_string()), outputs.collect::<Result<_, _>>()?))
            }
            (_, Answer::Reply(reply)) => reply.outputs(),
            (Self::Endpoint { .. }, Answer::Response(_)) => {
                unreachable!("an endpoint gives replies")
            }
        }
    }
}

impl Exchange {
    fn over_the_network(reply: Result<Reply, CallError>, times: CallTimes) -> Self {
        let parts = Parts::Call(times);
        match reply {
            Ok(reply) if reply.status == Status::Answered => Self {
                ending: Ending::ANSWERED,
                said: String::new(),
                parts,
                answer: Some(Answer::Reply(reply)),
            },
            Ok(reply) => Self {
                ending: Ending::Status(reply.status),
                said: reply.said(),
                parts,
                answer: None,
            },
            Err(error) => {
                let ending = match &error {
                    CallError::Connect(_) => Ending::Connect,
                    CallError::Lost(_) => Ending::Lost,
                    CallError::Invalid(_) => Ending::Invalid,
                    CallError::TimedOut => Ending::TimedOut,
                };
                Self { ending, said: error.to_string(), parts, answer: None }
            }
        }
    }

    fn without(ending: Ending, said: String) -> Self {
        Self { ending, said, parts: Parts::Unknown, answer: None }
    }
}

async fn in_process(model: &Model, request: InferRequest, timeout: Duration) -> Exchange {
    match tokio::time::timeout(timeout, model.infer(request)).await {
        Err(_) => Exchange::without(Ending::TimedOut, "no answer in time".to_owned()),
        Ok(Err(error)) => Exchange::without(Ending::Runtime(error.kind()), error.to_string()),
        Ok(Ok(response)) => Exchange {
            ending: Ending::ANSWERED,
            said: String::new(),
            parts: Parts::Phases(response.times),
            answer: Some(Answer::Response(response)),
        },
    }
}

/// The moments of a request, for whoever records it.
pub(super) struct Made {
    pub(super) sent: Instant,
    pub(super) ended: Instant,
    pub(super) exchange: Exchange,
}
