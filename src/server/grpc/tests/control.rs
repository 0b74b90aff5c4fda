use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::kserve::*;

use super::*;

#[tokio::test]
async fn models_are_listed_unloaded_and_loaded() {
    let models = Models::new();
    let mut client = client(&models);
    let states = async |client: &mut Client, ready| {
        let request = RepositoryIndexRequest { ready, ..Default::default() };
        let index = client.repository_index(request).await.unwrap().into_inner().models;
        index.into_iter().map(|model| (model.name, model.state)).collect::<Vec<_>>()
    };
    assert_eq!(states(&mut client, true).await.len(), 3);
    let unload = RepositoryModelUnloadRequest { model_name: "plain".into(), ..Default::default() };
    client.repository_model_unload(unload).await.unwrap();
    assert_eq!(states(&mut client, true).await.len(), 2);
    assert_eq!(states(&mut client, false).await[1], ("plain".into(), "UNAVAILABLE".into()));
    let ready = client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner();
    assert!(!ready.ready);
    let (code, _) =
        refusal(&models, ModelInferRequest { model_name: "plain".into(), ..request() }).await;
    assert_eq!(code, Code::Unavailable);
    let load = || RepositoryModelLoadRequest { model_name: "plain".into(), ..Default::default() };
    client.repository_model_load(load()).await.unwrap();
    infer(&models, ModelInferRequest { model_name: "plain".into(), ..request() }).await.unwrap();

    let unknown = RepositoryModelLoadRequest { model_name: "none".into(), ..Default::default() };
    let refused = client.repository_model_load(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let elsewhere = RepositoryModelLoadRequest { repository_name: "local".into(), ..load() };
    let refused = client.repository_model_load(elsewhere).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    let file = ModelRepositoryParameter { parameter_choice: None };
    let parameters = [("file:1/model".to_owned(), file)].into();
    let changed = RepositoryModelLoadRequest { parameters, ..load() };
    let refused = client.repository_model_load(changed).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("`file:1/model`"), "{refused}");
}

#[tokio::test]
async fn a_listener_without_control_takes_no_control_requests() {
    let models = Models::with(|config| config.control = false);
    let mut client = client(&models);
    let codes = [
        client.repository_model_load(RepositoryModelLoadRequest::default()).await.err(),
        client.repository_model_unload(RepositoryModelUnloadRequest::default()).await.err(),
        client.system_shared_memory_status(SystemSharedMemoryStatusRequest::default()).await.err(),
        client
            .system_shared_memory_register(SystemSharedMemoryRegisterRequest::default())
            .await
            .err(),
        client
            .system_shared_memory_unregister(SystemSharedMemoryUnregisterRequest::default())
            .await
            .err(),
    ];
    for status in codes.into_iter().map(Option::unwrap) {
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains("--control"), "{status}");
    }
    client.repository_index(RepositoryIndexRequest::default()).await.unwrap();
    infer(&models, request()).await.unwrap();
}

/// An object of shared memory with one row of zeros, gone with the test.
fn object() -> tempfile::NamedTempFile {
    let file =
        tempfile::Builder::new().prefix("trt-pipeline-test-").tempfile_in("/dev/shm").unwrap();
    std::fs::write(file.path(), [0; 64]).unwrap();
    file
}

#[tokio::test]
async fn tensors_pass_through_shared_memory() {
    let models = Models::new();
    let mut client = client(&models);
    let object = object();
    std::fs::write(object.path(), [&floats(&[1., 2., 3., 4.])[..], &[0; 48]].concat()).unwrap();
    let key = format!("/{}", object.path().file_name().unwrap().to_str().unwrap());
    let register = || SystemSharedMemoryRegisterRequest {
        name: "r".into(),
        key: key.clone(),
        offset: 0,
        byte_size: 64,
    };
    client.system_shared_memory_register(register()).await.unwrap();
    let twice = client.system_shared_memory_register(register()).await.unwrap_err();
    assert_eq!(twice.code(), Code::InvalidArgument);
    let all = client.system_shared_memory_status(SystemSharedMemoryStatusRequest::default()).await;
    let regions = all.unwrap().into_inner().regions;
    assert_eq!((regions["r"].key.as_str(), regions["r"].byte_size), (key.as_str(), 64));

    let place = |offset, size| {
        [
            ("shared_memory_region".to_owned(), text("r")),
            ("shared_memory_offset".to_owned(), number(offset)),
            ("shared_memory_byte_size".to_owned(), number(size)),
        ]
    };
    let mut request = request();
    request.raw_input_contents.clear();
    request.inputs[0].parameters.extend(place(0, 16));
    request.outputs = vec![output("y")];
    request.outputs[0].parameters.extend(place(16, 16));
    let answer = infer(&models, request.clone()).await.unwrap();
    assert_eq!(answer.raw_output_contents, [Bytes::new()]);
    assert_eq!(answer.outputs[0].shape, [1, 4]);
    assert_eq!(std::fs::read(object.path()).unwrap()[16..32], floats(&[2., 4., 6., 8.])[..]);

    let refused = async |input: (i64, i64), output: (i64, i64)| {
        let mut request = request.clone();
        request.inputs[0].parameters.extend(place(input.0, input.1));
        request.outputs[0].parameters.extend(place(output.0, output.1));
        refusal(&models, request).await
    };
    for (input, output) in [
        ((0, 15), (16, 16)),
        ((64, 16), (16, 16)),
        ((0, 16), (16, 15)),
        ((0, 16), (60, 16)),
        ((0, 0), (0, 16)),
    ] {
        assert_eq!(refused(input, output).await.0, Code::InvalidArgument, "{input:?} {output:?}");
    }
    object.as_file().set_len(8).unwrap();
    let (code, message) = refused((0, 16), (16, 16)).await;
    assert_eq!((code, message.contains("has 8 bytes now")), (Code::InvalidArgument, true));
    let all = SystemSharedMemoryUnregisterRequest::default();
    client.system_shared_memory_unregister(all).await.unwrap();
    assert_eq!(refused((0, 16), (16, 16)).await.0, Code::NotFound);
}

#[tokio::test]
async fn what_there_is_not_says_so() {
    let models = Models::new();
    let mut client = client(&models);
    let register = CudaSharedMemoryRegisterRequest::default();
    let status = client.cuda_shared_memory_register(register).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let none = client.cuda_shared_memory_status(CudaSharedMemoryStatusRequest::default()).await;
    assert!(none.unwrap().into_inner().regions.is_empty());
    let named = CudaSharedMemoryStatusRequest { name: "r".into() };
    let status = client.cuda_shared_memory_status(named).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let log = client.log_settings(LogSettingsRequest::default()).await.unwrap_err();
    assert_eq!(log.code(), Code::Unimplemented);
    let trace = client.trace_setting(TraceSettingRequest::default()).await.unwrap().into_inner();
    assert_eq!(trace.settings["trace_level"].value, ["OFF"]);
    let on = trace_setting_request::SettingValue { value: vec!["TIMESTAMPS".into()] };
    let settings = [("trace_level".to_owned(), on)].into();
    let change = TraceSettingRequest { settings, ..Default::default() };
    let status = client.trace_setting(change).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

async fn health(models: &Models, service: &str) -> Result<ServingStatus, Code> {
    let mut client = HealthClient::new(super::super::routes(&models.app));
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = client.check(request).await.map_err(|status| status.code())?;
    Ok(answer.into_inner().status())
}

#[tokio::test]
async fn health_checks_tell_of_the_server_and_of_each_model() {
    let models = Models::new();
    for service in ["", "inference.GRPCInferenceService", "tiny"] {
        assert_eq!(health(&models, service).await, Ok(ServingStatus::Serving), "{service}");
    }
    assert_eq!(health(&models, "none").await, Err(Code::NotFound));
    models.app.registry.unload("plain").unwrap();
    assert_eq!(health(&models, "").await, Ok(ServingStatus::NotServing));
    assert_eq!(health(&models, "plain").await, Ok(ServingStatus::NotServing));
    assert_eq!(health(&models, "tiny").await, Ok(ServingStatus::Serving));
}

#[tokio::test]
async fn a_watcher_hears_of_changes_until_the_server_stops() {
    let models = Models::new();
    let mut client = HealthClient::new(super::super::routes(&models.app));
    let request = HealthCheckRequest { service: "later".into() };
    let mut changes = client.watch(request).await.unwrap().into_inner();
    let mut next = async || Some(changes.message().await.unwrap()?.status());
    assert_eq!(next().await, Some(ServingStatus::ServiceUnknown));
    let mut models = models;
    models.serve(&std::sync::Arc::default(), "later", |_| ());
    assert_eq!(next().await, Some(ServingStatus::Serving));
    models.app.stopping().cancel();
    while let Some(status) = next().await {
        assert_eq!(status, ServingStatus::NotServing);
    }
}

#[tokio::test]
async fn reflection_knows_the_service_and_its_messages() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let models = Models::new();
    let mut client = ServerReflectionClient::new(super::super::routes(&models.app));
    let mut ask = async |message| {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(message) };
        let mut answers = client
            .server_reflection_info(tokio_stream::iter([request]))
            .await
            .unwrap()
            .into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) =
        ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list");
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"inference.GRPCInferenceService"), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
    let symbol = MessageRequest::FileContainingSymbol("inference.ModelInferRequest".into());
    let MessageResponse::FileDescriptorResponse(file) = ask(symbol).await else {
        panic!("no description");
    };
    assert_eq!(file.file_descriptor_proto.len(), 1);
}
