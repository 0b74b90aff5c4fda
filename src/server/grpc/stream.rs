//! Streams of requests: one answer to each, in the order of the requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{Stream, StreamExt};
use tonic::Status;

use crate::kserve::infer_parameter::ParameterChoice;
use crate::kserve::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use crate::server::App;

use super::infer::infer;

/// Most requests of one stream that run at the same time.
const CONCURRENCY: usize = 16;

/// The answers to a stream of requests. A request that fails is answered with why, and the stream
/// goes on; it ends early only where it cannot be read on.
pub(super) fn answers(
    app: Arc<App>,
    requests: impl Stream<Item = Result<ModelInferRequest, Status>>,
    deadline: Option<Instant>,
) -> impl Stream<Item = Result<ModelStreamInferResponse, Status>> {
    let answer = move |request: Result<ModelInferRequest, Status>| {
        let app = Arc::clone(&app);
        async move {
            let request = request?;
            let id = request.id.clone();
            Ok(match infer(&app, request, deadline).await {
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

/// Says that a request has no other answer: clients of models that give several wait for it.
fn last(mut response: ModelInferResponse) -> ModelInferResponse {
    let last = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    response.parameters = BTreeMap::from([("triton_final_response".to_owned(), last)]);
    response
}
