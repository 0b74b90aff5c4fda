//! Inference over gRPC: message to request, answer to message.

use std::time::Instant;

use bytes::Bytes;
use prost::Message;
use tokio::time::timeout_at;

use crate::kserve::model_infer_request::InferInputTensor;
use crate::kserve::model_infer_response::InferOutputTensor;
use crate::kserve::{ModelInferRequest, ModelInferResponse};
use crate::runtime::{InferError, InferRequest, InferResponse, Model, Phase};
use crate::server::protocol::{self, Builder, ProtocolError, Signature, datatype, extents};
use crate::server::shared_memory::RegionPart;
use crate::server::{App, SharedMemory};
use crate::tensor::TensorSpec;

use super::{codec, contents, parameters};

/// What the answer is to look like.
#[derive(Debug, Default)]
struct Reply {
    /// The request's name for itself, to be returned.
    id: String,
    /// For the first outputs of the request, where they go if not into the answer.
    places: Vec<Option<RegionPart>>,
}

/// Answers one request, `deadline` being the caller's. It is polled until it has ended.
pub(super) async fn infer(
    app: &App,
    message: ModelInferRequest,
    deadline: Option<Instant>,
) -> Result<ModelInferResponse, ProtocolError> {
    answer(app, message, deadline, async |model, request| model.infer(request).await).await
}

/// As [`infer`], where the answer may be left unpolled for as long as the client reads nothing.
pub(super) async fn infer_unattended(
    app: &App,
    message: ModelInferRequest,
    deadline: Option<Instant>,
) -> Result<ModelInferResponse, ProtocolError> {
    answer(app, message, deadline, async |model, request| model.submit(request)?.await).await
}

async fn answer(
    app: &App,
    message: ModelInferRequest,
    deadline: Option<Instant>,
    ask: impl AsyncFnOnce(&Model, InferRequest) -> Result<InferResponse, InferError>,
) -> Result<ModelInferResponse, ProtocolError> {
    let model = protocol::find(&app.registry, &message.model_name, &message.model_version)?;
    let began = Instant::now();
    let (mut request, reply) = read(Signature::of(&model), message, Some(&app.shared_memory))
        .inspect_err(|error| model.statistics().failed(error.kind(), began.elapsed()))?;
    model.statistics().spent(Phase::Parse, began.elapsed());
    request.deadline = request.deadline.into_iter().chain(deadline).min();
    let pending = ask(&model, request);
    let response = match deadline {
        None => pending.await?,
        // Also while it runs: a caller that stops waiting has no use for the answer.
        Some(deadline) => timeout_at(deadline.into(), pending)
            .await
            .unwrap_or_else(|_| Err(InferError::DeadlineExceeded { waited: began.elapsed() }))?,
    };
    let began = Instant::now();
    let answer = write(&model, reply, response)?;
    model.statistics().spent(Phase::Encode, began.elapsed());
    Ok(answer)
}

/// Reads a `ModelInferRequest` for a model from its bytes, without shared memory.
pub fn decode(signature: Signature<'_>, message: Bytes) -> Result<InferRequest, ProtocolError> {
    codec::check(&message).map_err(|status| ProtocolError::syntax(status.message()))?;
    let message = ModelInferRequest::decode(message).map_err(ProtocolError::syntax)?;
    Ok(read(signature, message, None)?.0)
}

fn read(
    signature: Signature<'_>,
    message: ModelInferRequest,
    regions: Option<&SharedMemory>,
) -> Result<(InferRequest, Reply), ProtocolError> {
    let mut builder = Builder::new(signature);
    let mut raw = Raw::of(message.raw_input_contents);
    for input in message.inputs {
        let (index, spec) = builder.declare(&input.name, &input.datatype)?;
        let shape = extents(&input.name, &input.shape)?;
        let bytes = match parameters::region(&input.parameters, regions)? {
            Some(part) => {
                without_contents(&input, "shared memory")?;
                part.read()?
            }
            None => raw.elements(input, spec)?,
        };
        builder.fill(index, shape, bytes);
    }
    raw.end()?;
    let mut places = Vec::new();
    for (at, output) in message.outputs.iter().enumerate() {
        builder.output(&output.name)?;
        parameters::of_output(&output.parameters)?;
        if let Some(part) = parameters::region(&output.parameters, regions)? {
            places.resize_with(at, || None);
            places.push(Some(part));
        }
    }
    let request = builder.finish(&parameters::of_request(&message.parameters)?)?;
    Ok((request, Reply { id: message.id, places }))
}

/// The raw contents of a request, taken input by input.
struct Raw {
    left: std::vec::IntoIter<Bytes>,
    count: usize,
}

impl Raw {
    fn of(contents: Vec<Bytes>) -> Self {
        Self { count: contents.len(), left: contents.into_iter() }
    }

    /// The elements of an input: raw ones where the request has any, else its own.
    fn elements(
        &mut self,
        input: InferInputTensor,
        spec: &TensorSpec,
    ) -> Result<Bytes, ProtocolError> {
        if self.count > 0 {
            without_contents(&input, "`raw_input_contents`")?;
            return self.left.next().ok_or_else(|| {
                let reason = format!(
                    "`raw_input_contents` has {} entries, none is left for it; there must be one \
                     for every input that is not in shared memory",
                    self.count
                );
                ProtocolError::input(&input.name, reason)
            });
        }
        let contents = input.contents.unwrap_or_default();
        if contents::is_empty(&contents) && !input.shape.contains(&0) {
            let reason = "it has no elements: send them in `contents` or `raw_input_contents`";
            return Err(ProtocolError::input(&input.name, reason));
        }
        contents::bytes(&input.name, spec.dtype, contents)
    }

    fn end(&self) -> Result<(), ProtocolError> {
        match self.left.len() {
            0 => Ok(()),
            more => Err(ProtocolError::syntax(format!(
                "`raw_input_contents` has {more} more entries than there are inputs for"
            ))),
        }
    }
}

fn without_contents(input: &InferInputTensor, others: &str) -> Result<(), ProtocolError> {
    if input.contents.as_ref().is_none_or(contents::is_empty) {
        return Ok(());
    }
    let reason = format!("it has `contents` and elements in {others}; leave one of them out");
    Err(ProtocolError::input(&input.name, reason))
}

fn write(
    model: &Model,
    reply: Reply,
    response: InferResponse,
) -> Result<ModelInferResponse, ProtocolError> {
    let mut outputs = Vec::with_capacity(response.outputs.len());
    let mut raw = Vec::with_capacity(response.outputs.len());
    let mut places = reply.places.into_iter();
    for output in response.outputs {
        let Some(spec) = model.outputs().get(output.index) else { continue };
        raw.push(match places.next().flatten() {
            Some(place) => {
                place.write(&output.bytes)?;
                Bytes::new()
            }
            None => output.bytes,
        });
        let extent = |&extent: &usize| i64::try_from(extent).unwrap_or(i64::MAX);
        outputs.push(InferOutputTensor {
            name: spec.name.clone(),
            datatype: datatype(spec.dtype).to_owned(),
            shape: output.shape.0.iter().map(extent).collect(),
            ..Default::default()
        });
    }
    Ok(ModelInferResponse {
        model_name: model.config().name.clone(),
        model_version: model.version().to_string(),
        id: reply.id,
        outputs,
        raw_output_contents: raw,
        ..Default::default()
    })
}
