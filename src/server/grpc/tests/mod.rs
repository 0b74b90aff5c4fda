//! The service as a client meets it, in front of fake engines, without a network between.

mod bad;
mod control;
mod good;
mod streams;

use axum::Router;
use bytes::Bytes;
use tonic::{Code, Status};

use crate::kserve::grpc_inference_service_client::GrpcInferenceServiceClient;
use crate::kserve::infer_parameter::ParameterChoice;
use crate::kserve::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::kserve::{InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse};
use crate::server::tests::models::Models;

type Client = GrpcInferenceServiceClient<Router>;

fn client(models: &Models) -> Client {
    Client::new(super::routes(&models.app))
}

/// The bytes of float32 values.
fn floats(values: &[f32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..Default::default()
    }
}

fn output(name: &str) -> InferRequestedOutputTensor {
    InferRequestedOutputTensor { name: name.to_owned(), ..Default::default() }
}

/// A good request to `tiny`: one row.
fn request() -> ModelInferRequest {
    ModelInferRequest {
        model_name: "tiny".to_owned(),
        inputs: vec![input("x", "FP32", &[1, 4])],
        raw_input_contents: vec![floats(&[1., 2., 3., 4.])],
        ..Default::default()
    }
}

/// The same with typed contents.
fn typed(contents: InferTensorContents) -> ModelInferRequest {
    let mut request = request();
    request.raw_input_contents.clear();
    request.inputs[0].contents = Some(contents);
    request
}

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(choice) }
}

fn text(value: &str) -> InferParameter {
    parameter(ParameterChoice::StringParam(value.to_owned()))
}

fn number(value: i64) -> InferParameter {
    parameter(ParameterChoice::Int64Param(value))
}

async fn infer(models: &Models, request: ModelInferRequest) -> Result<ModelInferResponse, Status> {
    Ok(client(models).model_infer(request).await?.into_inner())
}

/// Why a request is refused.
async fn refusal(models: &Models, request: ModelInferRequest) -> (Code, String) {
    let status = infer(models, request).await.unwrap_err();
    (status.code(), status.message().to_owned())
}
