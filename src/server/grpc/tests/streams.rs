use std::sync::Arc;

use crate::kserve::ModelStreamInferResponse;
use crate::runtime::fake::{Fake, until};

use super::*;

async fn stream(
    models: &Models,
    requests: Vec<ModelInferRequest>,
) -> Vec<ModelStreamInferResponse> {
    let mut client = client(models);
    let answers = client.model_stream_infer(tokio_stream::iter(requests)).await;
    let mut answers = answers.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        all.push(answer);
    }
    all
}

fn row(index: u16) -> ModelInferRequest {
    ModelInferRequest {
        id: index.to_string(),
        raw_input_contents: vec![floats(&[f32::from(index); 4])],
        ..request()
    }
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests() {
    let models = Models::new();
    assert_eq!(stream(&models, Vec::new()).await, []);
    let answers = stream(&models, (0..200).map(row).collect()).await;
    assert_eq!(answers.len(), 200);
    for (index, answer) in (0_u16..).zip(answers) {
        assert_eq!(answer.error_message, "");
        let answer = answer.infer_response.unwrap();
        assert_eq!(answer.id, index.to_string());
        assert_eq!(answer.raw_output_contents, [floats(&[f32::from(index) * 2.; 4])]);
        let last = parameter(ParameterChoice::BoolParam(true));
        assert_eq!(answer.parameters["triton_final_response"], last);
    }
}

#[tokio::test]
async fn a_request_that_fails_does_not_end_the_stream() {
    let models = Models::new();
    let mut wrong = row(1);
    wrong.inputs[0].name = "z".into();
    let answers = stream(&models, vec![row(0), wrong, row(2)]).await;
    let messages: Vec<bool> =
        answers.iter().map(|answer| answer.error_message.is_empty()).collect();
    assert_eq!(messages, [true, false, true]);
    assert!(answers[1].error_message.contains("no input `z`"), "{:?}", answers[1]);
    let failed = answers[1].infer_response.as_ref().unwrap();
    assert_eq!((failed.id.as_str(), failed.outputs.len()), ("1", 0));
}

#[tokio::test]
async fn a_stream_that_is_given_up_leaves_nothing_waiting() {
    let mut models = Models::new();
    let slow = Arc::new(Fake::default());
    models.serve(&slow, "slow", |config| config.warmup.iterations = 0);
    slow.close();
    let mut client = client(&models);
    let requests =
        (0..1000).map(|index| ModelInferRequest { model_name: "slow".into(), ..row(index) });
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    let answers = client.model_stream_infer(requests).await.unwrap().into_inner();
    let stream = tokio::spawn(async move {
        let mut answers = answers;
        answers.message().await
    });
    let model = models.app.registry.find("slow", None).unwrap();
    let (waiting, runs) = (Arc::clone(&model), Arc::clone(&slow));
    let wait = move || {
        until("one runs and the rest wait", || {
            (runs.run_count(), waiting.queue_depth()) == (1, 15)
        });
    };
    tokio::task::spawn_blocking(wait).await.unwrap();
    stream.abort();
    assert!(stream.await.unwrap_err().is_cancelled());
    slow.open();
    let rest = move || model.statistics().snapshot().in_flight == 0;
    tokio::task::spawn_blocking(move || until("nothing waits", rest)).await.unwrap();
    assert_eq!(slow.run_count(), 1);
}
