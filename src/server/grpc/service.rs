//! The methods of the service: each reads its message, asks `protocol` and writes the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::Stream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

#[allow(clippy::wildcard_imports, reason = "a message for every method; not seen in tests")]
use crate::kserve::*;
use crate::server::App;
use crate::server::protocol::{self, ProtocolError};

use super::generated::grpc_inference_service_server::{
    GrpcInferenceService, GrpcInferenceServiceServer,
};
use super::{describe, failed, infer, memory, parameters, repository, stream};

/// The service, with messages as large as bodies may be.
pub(super) fn new(app: Arc<App>) -> GrpcInferenceServiceServer<Service> {
    let most = app.config.limits.body_bytes;
    // Answers are as large as the models make them. They are not compressed: nearly every client
    // says that it could read that, and nearly none wants to wait for it.
    GrpcInferenceServiceServer::new(Service(app))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX)
}

/// Answers calls.
pub(super) struct Service(Arc<App>);

type Answer<T> = Result<Response<T>, Status>;

fn answer<T>(result: Result<T, ProtocolError>) -> Answer<T> {
    result.map(Response::new).map_err(|error| failed(&error))
}

/// When a caller stops waiting for its answer, where it says so.
fn deadline(metadata: &MetadataMap) -> Result<Option<Instant>, ProtocolError> {
    let left = parameters::time_left(metadata)?;
    // A time that no clock reaches is none.
    Ok(left.and_then(|left| Instant::now().checked_add(left)))
}

impl Service {
    /// Lets a call through that changes what others get, where this listener takes such.
    fn control(&self) -> Result<(), Status> {
        if self.0.config.control {
            return Ok(());
        }
        Err(super::failed(&ProtocolError::NoControl))
    }

    async fn infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<ModelInferResponse, ProtocolError> {
        let deadline = deadline(request.metadata())?;
        infer::infer(&self.0, request.into_inner(), deadline).await
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        Ok(Response::new(ServerReadyResponse { ready: protocol::ready(&self.0) }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        let ModelReadyRequest { name, version } = request.into_inner();
        let ready = protocol::find_ready(&self.0.registry, &name, &version).is_ok();
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Answer<ServerMetadataResponse> {
        Ok(Response::new(describe::server(&self.0)))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Answer<ModelMetadataResponse> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        answer(
            protocol::find(&self.0.registry, &name, &version)
                .map(|model| describe::model(&self.0, &model)),
        )
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        answer(self.infer(request).await)
    }

    type ModelStreamInferStream =
        Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answer<Self::ModelStreamInferStream> {
        let deadline = deadline(request.metadata()).map_err(|error| failed(&error))?;
        let answers = stream::answers(Arc::clone(&self.0), request.into_inner(), deadline);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Answer<ModelConfigResponse> {
        let ModelConfigRequest { name, version } = request.into_inner();
        let model = protocol::find(&self.0.registry, &name, &version);
        answer(model.map(|model| describe::config(&model)))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Answer<ModelStatisticsResponse> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        answer(describe::statistics(&self.0, &name, &version))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Answer<RepositoryIndexResponse> {
        answer(repository::index(&self.0, &request.into_inner()))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Answer<RepositoryModelLoadResponse> {
        self.control()?;
        answer(repository::load(&self.0, request.into_inner()).await)
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Answer<RepositoryModelUnloadResponse> {
        self.control()?;
        answer(repository::unload(&self.0, request.into_inner()).await)
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<SystemSharedMemoryStatusRequest>,
    ) -> Answer<SystemSharedMemoryStatusResponse> {
        self.control()?;
        answer(memory::status(&self.0, &request.into_inner().name))
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<SystemSharedMemoryRegisterRequest>,
    ) -> Answer<SystemSharedMemoryRegisterResponse> {
        self.control()?;
        answer(memory::register(&self.0, &request.into_inner()))
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<SystemSharedMemoryUnregisterResponse> {
        self.control()?;
        Ok(Response::new(memory::unregister(&self.0, &request.into_inner().name)))
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<CudaSharedMemoryStatusRequest>,
    ) -> Answer<CudaSharedMemoryStatusResponse> {
        answer(memory::cuda_status(&request.into_inner().name))
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<CudaSharedMemoryRegisterRequest>,
    ) -> Answer<CudaSharedMemoryRegisterResponse> {
        answer(Err(ProtocolError::unsupported(
            "this server takes no tensors in CUDA shared memory: use system shared memory, or send \
             them in the request",
        )))
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<CudaSharedMemoryUnregisterResponse> {
        // What was never registered is gone already.
        Ok(Response::new(CudaSharedMemoryUnregisterResponse {}))
    }

    async fn trace_setting(
        &self,
        request: Request<TraceSettingRequest>,
    ) -> Answer<TraceSettingResponse> {
        answer(describe::trace(&self.0, &request.into_inner()))
    }

    async fn log_settings(&self, _: Request<LogSettingsRequest>) -> Answer<LogSettingsResponse> {
        answer(Err(ProtocolError::unsupported(
            "this server has no log settings to ask for or to change while it runs: say what to \
             log when starting it",
        )))
    }
}
