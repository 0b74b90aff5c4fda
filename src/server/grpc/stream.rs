//! Streams of requests: one answer to each, in the order of the requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::kserve::infer_parameter::ParameterChoice;
use crate::kserve::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use crate::server::App;

use super::infer::infer_unattended;

/// Most requests of one stream that run at the same time.
const CONCURRENCY: usize = 16;

/// The answers to a stream of requests. A request that fails is answered with why, and the stream
/// goes on; it ends early only where it cannot be read on.
pub(super) fn answers(
    app: Arc<App>,
    requests: impl Stream<Item = Result<ModelInferRequest, Status>> + Unpin,
    deadline: Option<Instant>,
) -> impl Stream<Item = Result<ModelStreamInferResponse, Status>> {
    let requests = until_stop(app.stopping().clone(), requests);
    let answer = move |request: Result<ModelInferRequest, Status>| {
        let app = Arc::clone(&app);
        async move {
            let request = request?;
            let id = request.id.clone();
            Ok(match infer_unattended(&app, request, deadline).await {
                Ok(response) => ModelStreamInferResponse {
                    error_message: String::new(),
                    infer_response: Some(last(response)),
                },
                Err(error) => ModelStreamInferResponse {
                    error_message: error.to_string(),
                    infer_response: Some(ModelInferResponse { id, ..Default::default() }),
                },
            })
        }
    };
    requests.map(answer).buffered(CONCURRENCY)
}

/// The requests that come before the server is told to stop; then why there are no more.
fn until_stop(
    stopping: CancellationToken,
    requests: impl Stream<Item = Result<ModelInferRequest, Status>> + Unpin,
) -> impl Stream<Item = Result<ModelInferRequest, Status>> {
    stream::unfold((requests, stopping), async |(mut requests, stopping)| {
        let next = tokio::select! {
            biased;
            () = stopping.cancelled() => {
                Some(Err(Status::unavailable("the server is shutting down")))
            }
            next = requests.next() => next,
        };
        Some((next?, (requests, stopping)))
    })
}

/// Says that a request has no other answer: clients of models that give several wait for it.
fn last(mut response: ModelInferResponse) -> ModelInferResponse {
    let last = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    response.parameters = BTreeMap::from([("triton_final_response".to_owned(), last)]);
    response
}
