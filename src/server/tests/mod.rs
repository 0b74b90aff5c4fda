//! Servers on ports of this machine, asked well and badly.

mod access;
mod bad;
mod certificate;
mod drain;
mod exposed;
mod full;
mod measured;
pub(super) mod models;
mod running;
mod slow;
mod starved;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::{get, post};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::*;
use running::{Client, Running};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_mins(1);

/// A time that does not come to an end in a test.
const FOREVER: Duration = Duration::from_hours(10);

/// A server that waits for everything.
fn config() -> ServerConfig {
    let limits = Limits {
        header_timeout: FOREVER,
        transfer_timeout: FOREVER,
        request_timeout: FOREVER,
        ..Limits::default()
    };
    ServerConfig {
        http: None,
        grpc: None,
        admin: None,
        control: false,
        token: None,
        tls: None,
        insecure: false,
        shared_memory: false,
        limits,
    }
}

/// `GET /` answers, `POST /` tells how long the body is or why it did not come.
fn routes() -> Router {
    let length = |body: Body| async move {
        match body.collect().await {
            Ok(body) => (StatusCode::OK, body.to_bytes().len().to_string()),
            Err(error) => {
                let error = error.into_inner().downcast::<BodyError>().unwrap();
                (StatusCode::REQUEST_TIMEOUT, error.to_string())
            }
        }
    };
    Router::new()
        .route("/", get(|| async { "here" }).post(length))
        .route("/v2/health/live", get(|| async { "alive" }))
}

/// Work that goes on until it is let go.
#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    inside: Arc<AtomicUsize>,
}

impl Gate {
    fn new() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), inside: Arc::default() }
    }

    /// `GET /work` is answered when the gate lets one through.
    fn routes(&self) -> Router {
        let gate = self.clone();
        routes().route("/work", get(move || gate.clone().pass()))
    }

    async fn pass(self) -> &'static str {
        let _inside = Inside::new(self.inside);
        self.open.acquire().await.unwrap().forget();
        "done"
    }

    fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }
}

struct Inside(Arc<AtomicUsize>);

impl Inside {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until something is so.
#[track_caller]
fn until(what: &'static str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let deadline = Instant::now() + DEADLINE;
    std::future::poll_fn(move |cx| {
        if holds() {
            return std::task::Poll::Ready(());
        }
        assert!(Instant::now() < deadline, "{what}");
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
}
