//! The KServe v2 protocol (Open Inference Protocol) over HTTP and gRPC, with metrics and the page
//! for people.
//!
//! Owns listeners, limits and shutdown. Knows nothing of backends, specs or the cache.

mod auth;
mod body;
mod connection;
mod connections;
mod descriptors;
mod door;
mod error;
mod exposure;
pub mod grpc;
pub mod http;
mod listener;
mod load;
mod metrics;
mod origin;
mod page;
pub mod protocol;
mod refusal;
mod routes;
mod serving;
mod shared_memory;
mod state;
pub(crate) mod status;
#[cfg(test)]
mod tests;
mod tls;
mod traffic;
mod transport;
mod watch;

pub use auth::Token;
pub use body::BodyError;
pub use error::{Role, ServerError};
pub use serving::{Addresses, DrainReport, Server};
pub(crate) use shared_memory::SharedMemory;
pub use shared_memory::SharedMemoryError;
pub use tls::TlsError;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::runtime::ModelRegistry;

/// Where to listen, who may ask, and what bounds each request.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to answer inference over HTTP.
    pub http: Option<SocketAddr>,
    /// Where to answer inference over gRPC.
    pub grpc: Option<SocketAddr>,
    /// Where to answer control requests, `/metrics` and the page.
    pub admin: Option<SocketAddr>,
    /// Whether the inference listeners answer control requests as well.
    pub control: bool,
    /// The bearer token that requests must carry.
    pub token: Option<Token>,
    /// The certificate to show.
    pub tls: Option<TlsFiles>,
    /// Whether anybody on the network may ask without a token or in the clear.
    pub insecure: bool,
    /// Whether clients on this machine may pass tensors in shared memory.
    pub shared_memory: bool,
    /// What bounds each request.
    pub limits: Limits,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What bounds each request, connection and the server as a whole.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest body of a request, in bytes.
    pub body_bytes: usize,
    /// Largest head of a request, in bytes.
    pub header_bytes: usize,
    /// Longest time for the head of a request to arrive; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Longest time for the body of a request to arrive, or for an answer to be taken.
    pub transfer_timeout: Duration,
    /// Longest time from the head of a request to its answer.
    pub request_timeout: Duration,
    /// Most connections to each listener.
    pub connections: usize,
    /// Most requests answered at the same time.
    pub requests: usize,
    /// How long requests may take to end after the server was told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 256 << 20,
            header_bytes: 64 << 10,
            header_timeout: Duration::from_secs(75),
            transfer_timeout: Duration::from_mins(1),
            request_timeout: Duration::from_mins(1),
            connections: 16_384,
            requests: 4096,
            drain: Duration::from_secs(30),
        }
    }
}

/// The pipelines behind the models, as the page draws them. Replaced as a whole.
pub type PipelineViews = Arc<ArcSwap<Vec<PipelineView>>>;

/// One pipeline, as the page draws it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PipelineView {
    /// Its name.
    pub name: String,
    /// The spec file.
    pub spec: String,
    /// Its stages in running order.
    pub stages: Vec<StageView>,
    /// What is wrong with the spec as it is now, where an older state is served.
    pub error: Option<String>,
}

/// One stage, as the page draws it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StageView {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The stages it uses or comes after.
    pub needs: Vec<String>,
    /// How it ended: `cached`, `built`, `failed`, `skipped`, `cancelled`; `null` before it ended.
    pub outcome: Option<String>,
    /// Its cache key.
    pub key: Option<String>,
    /// Digest of its artifact.
    pub artifact: Option<String>,
    /// Wall time of the last run.
    pub seconds: Option<f64>,
    /// Why it failed, was skipped or was not cached.
    pub reason: Option<String>,
}

/// What every listener answers from.
pub struct App {
    /// The models.
    pub registry: Arc<ModelRegistry>,
    /// The pipelines behind them.
    pub pipelines: PipelineViews,
    /// Where to listen and what bounds each request.
    pub config: ServerConfig,
    /// The regions that clients pass tensors in.
    pub(crate) shared_memory: SharedMemory,
    stopping: CancellationToken,
}

impl App {
    /// What a server with these models answers from.
    pub fn new(
        config: ServerConfig,
        registry: Arc<ModelRegistry>,
        pipelines: PipelineViews,
    ) -> Self {
        let shared_memory = SharedMemory::new(&config);
        let stopping = CancellationToken::new();
        Self { registry, pipelines, config, shared_memory, stopping }
    }

    /// Cancelled when the server was told to stop: it is not ready from then on, and answers
    /// without an end should come to one.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }
}
