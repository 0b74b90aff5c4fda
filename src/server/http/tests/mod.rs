//! The routes as a client meets them, in front of fake engines.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::artifact::Digest;
use crate::deployment::{BatchingConfig, Deployment, ModelConfig};
use crate::runtime::fake::{Fake, spec};
use crate::runtime::{Candidate, ModelRegistry};
use crate::server::{App, Limits, ServerConfig};
use crate::tensor::{DType, TensorSpec};

mod bad;
mod control;
mod good;
mod regions;

/// Routes to call, without a listener.
struct Server {
    app: Arc<App>,
    routes: TowerToHyperService<Router>,
    runtime: Runtime,
    folders: Vec<TempDir>,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    fn error(&self) -> String {
        let body = self.json();
        let fields = body.as_object().unwrap();
        assert_eq!(fields.len(), 1, "{body}");
        fields["error"].as_str().unwrap().to_owned()
    }
}

impl Server {
    /// `tiny` doubles `x` of [batch,4] into `y`; `plain` is the same without batching; `numbers`
    /// gives back a tensor [batch,2] of every type.
    fn new() -> Self {
        let config = ServerConfig {
            http: None,
            grpc: None,
            admin: None,
            control: true,
            token: None,
            tls: None,
            insecure: false,
            shared_memory: true,
            limits: Limits { body_bytes: 4 << 20, ..Limits::default() },
        };
        let registry = Arc::new(ModelRegistry::default());
        let app = Arc::new(App::new(config, registry, Arc::default()));
        let routes = super::data_routes(Arc::clone(&app));
        let routes = super::with_failures(routes.merge(super::control_routes(Arc::clone(&app))));
        let routes = TowerToHyperService::new(routes.with_state(()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        let mut server = Self { app, routes, runtime: runtime.unwrap(), folders: Vec::new() };
        server.serve(&Arc::new(Fake::default()), "tiny", |config| {
            config.batching = Some(BatchingConfig {
                max_batch: 8,
                max_delay_ms: 0.0,
                preferred_sizes: vec![4, 8],
                preserve_ordering: false,
                pad: false,
            });
        });
        server.serve(&Arc::new(Fake::default()), "plain", |_| ());
        let tensor = |dtype: DType, suffix: &str| TensorSpec {
            name: format!("{dtype}{suffix}"),
            dtype,
            ..spec("", &["batch", "2"])
        };
        let mut numbers = Fake::new(
            DType::ALL.iter().map(|&dtype| tensor(dtype, "")).collect(),
            DType::ALL.iter().map(|&dtype| tensor(dtype, "_out")).collect(),
        );
        numbers.factor = 1.0;
        server.serve(&Arc::new(numbers), "numbers", |_| ());
        server
    }

    fn serve(&mut self, fake: &Arc<Fake>, name: &str, change: impl FnOnce(&mut ModelConfig)) {
        let folder = tempfile::tempdir().unwrap();
        fake.save(folder.path());
        let mut config = fake.config(name);
        change(&mut config);
        let candidate = Candidate {
            digest: Digest::of(folder.path().as_os_str().as_encoded_bytes()),
            deployment: Deployment::new(config),
            folder: folder.path().to_owned(),
            engine: folder.path().to_owned(),
            lease: None,
        };
        self.app.registry.apply(candidate).unwrap();
        self.folders.push(folder);
    }

    fn ask(&self, request: Request<Body>) -> Answer {
        self.runtime.block_on(async {
            let (parts, body) = self.routes.call(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer { status: parts.status, headers: parts.headers, body }
        })
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap())
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.body(body.into()).unwrap())
    }

    /// Asks `tiny` with JSON.
    fn infer(&self, json: impl Into<Body>) -> Answer {
        self.post("/v2/models/tiny/infer", &[], json)
    }

    /// Asks `tiny` with bytes behind JSON.
    fn infer_binary(&self, json: &str, tail: &[u8]) -> Answer {
        let length = json.len().to_string();
        self.infer_with_length(&length, json, tail)
    }

    fn infer_with_length(&self, length: &str, json: &str, tail: &[u8]) -> Answer {
        let headers = [("inference-header-content-length", length)];
        self.post("/v2/models/tiny/infer", &headers, [json.as_bytes(), tail].concat())
    }
}

/// The bytes of float32 values.
fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
