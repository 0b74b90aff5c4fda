//! [`InProcess`]: a server of this process with a real engine, and what that engine answers.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trt_pipeline::artifact::Digest;
use trt_pipeline::backend::{self, CompileRequest, EngineManifest, tensorrt};
use trt_pipeline::data::Dataset;
use trt_pipeline::deployment::{
    CudaGraphs, Deployment, EngineConfig, ModelConfig, OnDeviceFailure, Placement, QueueConfig,
    ReloadConfig, WarmupConfig,
};
use trt_pipeline::process::CancelToken;
use trt_pipeline::progress::NoProgress;
use trt_pipeline::runtime::{Candidate, ModelRegistry};
use trt_pipeline::server::{Addresses, Limits, PipelineViews, Server, ServerConfig};
use trt_pipeline::tensor::Tensor;

use super::fixture;

/// A server in this process, with the model `plain` of `tests/fixtures/serving`.
pub struct InProcess {
    pub addresses: Addresses,
    pub runtime: Runtime,
    _folder: TempDir,
}

impl InProcess {
    /// Serves with a configuration that has no listener yet.
    pub fn start(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifest = compile(&fixture("serving/tiny.onnx"), folder.path());
        let registry = Arc::new(ModelRegistry::default());
        registry.apply(candidate(folder.path(), &manifest)).unwrap();
        let mut config = ServerConfig {
            http: None,
            grpc: None,
            admin: None,
            control: false,
            token: None,
            tls: None,
            insecure: false,
            shared_memory: false,
            limits: Limits::default(),
        };
        change(&mut config);
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(Server::bind(config, registry, PipelineViews::default()));
        let server = server.unwrap();
        let addresses = server.addresses();
        runtime.spawn(server.run(std::future::pending()));
        Self { addresses, runtime, _folder: folder }
    }
}

fn compile(model: &Path, out: &Path) -> EngineManifest {
    let scratch = tempfile::tempdir().unwrap();
    let request = CompileRequest {
        model,
        profiles: &[],
        tensorrt: &tensorrt::Options::default(),
        files: &tensorrt::Files::default(),
        builds: 1,
        timeout: None,
        out,
        scratch: scratch.path(),
        kept: scratch.path(),
        progress: &NoProgress,
        cancel: &CancelToken::default(),
    };
    let manifest = backend::by_name("cpu").unwrap().compile(&request).unwrap();
    let text = serde_json::to_vec(&manifest).unwrap();
    std::fs::write(out.join(EngineManifest::FILE), text).unwrap();
    manifest
}

fn candidate(folder: &Path, manifest: &EngineManifest) -> Candidate {
    let engine = EngineConfig {
        digest: Digest::of(b"plain"),
        backend: manifest.backend.clone(),
        inputs: manifest.inputs.clone(),
        outputs: manifest.outputs.clone(),
        profiles: Vec::new(),
    };
    let model = ModelConfig {
        name: "plain".into(),
        engine,
        batching: None,
        queue: QueueConfig::default(),
        warmup: WarmupConfig::default(),
        reload: ReloadConfig::default(),
        instances: 1,
        devices: None,
        placement: Placement::default(),
        on_device_failure: OnDeviceFailure::default(),
        cuda_graphs: CudaGraphs::default(),
        requires: Vec::new(),
    };
    Candidate {
        deployment: Deployment::new(model),
        digest: Digest::of(b"deployment"),
        folder: folder.to_owned(),
        engine: folder.to_owned(),
        lease: None,
    }
}

/// Rows that the model was asked about elsewhere, and the answers.
pub fn recorded(rows: usize) -> (Tensor, Tensor) {
    let data = Dataset::open(&fixture("serving/tiny.npz"), &IndexMap::new()).unwrap();
    let rows_of = |name| data.array(name).unwrap().rows(0, rows).unwrap();
    (rows_of("in.x"), rows_of("out.y"))
}

/// Whether numbers are those of another engine, but for rounding.
pub fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-4, "{found} for {expected}");
    }
}
