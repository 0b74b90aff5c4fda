//! Servers on ports of this machine, asked well and badly.

mod running;
mod slow;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};

use super::*;
use running::Running;

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(60);

fn config() -> ServerConfig {
    ServerConfig {
        http: None,
        grpc: None,
        admin: None,
        control: false,
        token: None,
        tls: None,
        insecure: false,
        shared_memory: false,
        limits: Limits::default(),
    }
}
