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
use tokio::runtime::Runtime;

use crate::server::tests::models::Models;

mod bad;
mod control;
mod good;
mod regions;

/// Routes to call, without a listener.
struct Server {
    models: Models,
    routes: TowerToHyperService<Router>,
    runtime: Runtime,
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
    /// In front of [`Models`].
    fn new() -> Self {
        let models = Models::new();
        let routes = super::data_routes(Arc::clone(&models.app));
        let control = super::control_routes(Arc::clone(&models.app));
        let routes = super::with_failures(routes.merge(control));
        let routes = TowerToHyperService::new(routes.with_state(()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        Self { models, routes, runtime: runtime.unwrap() }
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
