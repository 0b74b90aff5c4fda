use std::sync::Arc;

use crate::runtime::fake::{Fake, until};
use crate::kserve::*;
use crate::runtime::ErrorKind;
use crate::tensor::DType;

use super::*;

#[tokio::test]
async fn raw_and_typed_contents_give_the_same_answer() {
    let models = Models::new();
    let raw = infer(&models, ModelInferRequest { id: "seven".into(), ..request() }).await.unwrap();
    assert_eq!((raw.model_name.as_str(), raw.model_version.as_str()), ("tiny", "1"));
    assert_eq!(raw.id, "seven");
    let y = &raw.outputs[0];
    assert_eq!((y.name.as_str(), y.datatype.as_str(), &y.shape[..]), ("y", "FP32", &[1, 4][..]));
    assert_eq!(raw.raw_output_contents, [floats(&[2., 4., 6., 8.])]);
    let fp32_contents = vec![1., 2., 3., 4.];
    let contents = InferTensorContents { fp32_contents, ..Default::default() };
    let typed = infer(&models, typed(contents)).await.unwrap();
    assert_eq!((typed.outputs, typed.raw_output_contents), (raw.outputs, raw.raw_output_contents));
}

#[tokio::test]
async fn tensors_of_every_type_come_back_as_they_went() {
    let models = Models::new();
    let bytes = |dtype: DType| -> Bytes { (1..=2 * dtype.size()).map(|byte| byte as u8).collect() };
    let name = crate::server::protocol::datatype;
    let request = ModelInferRequest {
        model_name: "numbers".into(),
        inputs: DType::ALL.map(|t| input(&t.to_string(), name(t), &[1, 2])).to_vec(),
        raw_input_contents: DType::ALL.map(bytes).to_vec(),
        outputs: DType::ALL.map(|t| output(&format!("{t}_out"))).to_vec(),
        ..Default::default()
    };
    let answer = infer(&models, request).await.unwrap();
    for (index, dtype) in DType::ALL.into_iter().enumerate() {
        assert_eq!(answer.outputs[index].datatype, name(dtype));
        if dtype == DType::Float32 {
            continue;
        }
        assert_eq!(answer.raw_output_contents[index], bytes(dtype), "{dtype}");
    }
}

#[tokio::test]
async fn outputs_come_in_the_order_asked_for() {
    let models = Models::new();
    let mut request = ModelInferRequest { model_name: "numbers".into(), ..Default::default() };
    for dtype in DType::ALL {
        let name = crate::server::protocol::datatype(dtype);
        request.inputs.push(input(&dtype.to_string(), name, &[1, 2]));
        request.raw_input_contents.push(vec![0; 2 * dtype.size()].into());
    }
    request.outputs = vec![output("int8_out"), output("bool_out")];
    let answer = infer(&models, request).await.unwrap();
    let names: Vec<&str> = answer.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["int8_out", "bool_out"]);
    assert_eq!(answer.raw_output_contents.len(), 2);
}

#[tokio::test]
async fn the_server_and_its_models_describe_themselves() {
    let models = Models::new();
    let mut client = client(&models);
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let server = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(server.name, "trt-pipeline");
    assert!(server.extensions.contains(&"statistics".to_owned()), "{server:?}");
    let named = |name: &str| ModelMetadataRequest { name: name.into(), version: String::new() };
    let model = client.model_metadata(named("tiny")).await.unwrap().into_inner();
    let x = &model.inputs[0];
    assert_eq!((x.name.as_str(), x.datatype.as_str(), &x.shape[..]), ("x", "FP32", &[-1, 4][..]));
    assert_eq!(model.versions, ["1"]);
    let ready = |name: &str, version: &str| ModelReadyRequest {
        name: name.into(),
        version: version.into(),
    };
    for (name, version, expected) in
        [("tiny", "", true), ("tiny", "1", true), ("tiny", "2", false), ("none", "", false)]
    {
        let answer = client.model_ready(ready(name, version)).await.unwrap().into_inner();
        assert_eq!(answer.ready, expected, "{name} {version}");
    }
}

#[tokio::test]
async fn a_configuration_reads_as_it_does_over_http() {
    let models = Models::new();
    let request = ModelConfigRequest { name: "tiny".into(), version: String::new() };
    let config = client(&models).model_config(request).await.unwrap().into_inner().config.unwrap();
    assert_eq!((config.name.as_str(), config.max_batch_size), ("tiny", 8));
    assert_eq!(config.input[0].data_type(), DataType::TypeFp32);
    assert_eq!(config.input[0].dims, [4]);
    let Some(model_config::SchedulingChoice::DynamicBatching(batching)) = config.scheduling_choice
    else {
        panic!("no batching");
    };
    assert_eq!(batching.preferred_batch_size, [4, 8]);
    assert_eq!(batching.default_queue_policy.unwrap().max_queue_size, 1024);
}

#[tokio::test]
async fn statistics_count_what_was_answered_and_refused() {
    let models = Models::new();
    infer(&models, request()).await.unwrap();
    infer(&models, ModelInferRequest { inputs: Vec::new(), ..request() }).await.unwrap_err();
    let asked = |name: &str| ModelStatisticsRequest { name: name.into(), version: String::new() };
    let mut client = client(&models);
    let tiny = client.model_statistics(asked("tiny")).await.unwrap().into_inner().model_stats;
    let spent = tiny[0].inference_stats.unwrap();
    assert_eq!((tiny[0].inference_count, tiny[0].execution_count), (1, 1));
    assert_eq!((spent.success.unwrap().count, spent.fail.unwrap().count), (1, 1));
    assert_eq!(tiny[0].batch_stats[0].batch_size, 1);
    let all = client.model_statistics(asked("")).await.unwrap().into_inner().model_stats;
    assert_eq!(all.len(), 3);
}

#[tokio::test]
async fn a_call_that_is_given_up_is_not_run() {
    let mut models = Models::new();
    let slow = Arc::new(Fake::default());
    models.serve(&slow, "slow", |config| config.warmup.iterations = 0);
    slow.close();
    let ask = |models: &Models| {
        let mut client = client(models);
        tokio::spawn(async move {
            client.model_infer(ModelInferRequest { model_name: "slow".into(), ..request() }).await
        })
    };
    let first = ask(&models);
    let until_runs = Arc::clone(&slow);
    let wait = move || until("the first runs", || until_runs.run_count() == 1);
    tokio::task::spawn_blocking(wait).await.unwrap();
    let second = ask(&models);
    let model = models.app.registry.find("slow", None).unwrap();
    let waiting = Arc::clone(&model);
    let wait = move || until("the second waits", || waiting.queue_depth() == 1);
    tokio::task::spawn_blocking(wait).await.unwrap();
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    slow.open();
    first.await.unwrap().unwrap();
    let cancelled = Arc::clone(&model);
    let counted = move || cancelled.statistics().snapshot().failed(ErrorKind::Cancelled).count == 1;
    tokio::task::spawn_blocking(move || until("it is counted", counted)).await.unwrap();
    assert_eq!(slow.run_count(), 1);
}

#[tokio::test]
async fn a_call_waits_no_longer_than_its_caller() {
    let mut models = Models::new();
    let slow = Arc::new(Fake::default());
    models.serve(&slow, "slow", |config| config.warmup.iterations = 0);
    slow.close();
    let slow_request = || ModelInferRequest { model_name: "slow".into(), ..request() };
    let mut first = client(&models);
    let first = tokio::spawn(async move { first.model_infer(slow_request()).await });
    let runs = Arc::clone(&slow);
    let wait = move || until("the first runs", || runs.run_count() == 1);
    tokio::task::spawn_blocking(wait).await.unwrap();
    let mut late = tonic::Request::new(slow_request());
    late.metadata_mut().insert("grpc-timeout", "1m".parse().unwrap());
    let status = client(&models).model_infer(late).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    slow.open();
    first.await.unwrap().unwrap();
}
