//! The page for people: its files, and the state that they draw once a second.
//!
//! Everything is in the program: no other site is asked for anything.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::routing::get;

use super::App;

mod state;
#[cfg(test)]
mod tests;

/// The page and what it loads: path, content type, text.
const FILES: [(&str, &str, &str); 7] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("/page.js", SCRIPT, include_str!("page.js")),
    ("/chart.js", SCRIPT, include_str!("chart.js")),
    ("/dom.js", SCRIPT, include_str!("dom.js")),
    ("/graph.js", SCRIPT, include_str!("graph.js")),
    ("/units.js", SCRIPT, include_str!("units.js")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Nothing comes from elsewhere, nothing goes elsewhere, and no other page shows this one.
/// Elements are given their widths and colours in `style`.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; \
     style-src 'self' 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

const GUARDS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// The page, its files, and `/api/state`.
pub(super) fn routes(app: Arc<App>) -> Router {
    let started = SystemTime::now();
    let state = move |State(app): State<Arc<App>>| async move {
        // Reading counters of many models takes a while, and so may the registry.
        let read = tokio::task::spawn_blocking(move || {
            serde_json::to_string(&state::state(&app, started)).unwrap_or_default()
        });
        answer("application/json", read.await.unwrap_or_default())
    };
    let mut router = Router::new().route("/api/state", get(state));
    for (path, content_type, text) in FILES {
        router = router.route(path, get(move || async move { answer(content_type, text) }));
    }
    router.with_state(app)
}

fn answer(content_type: &'static str, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in GUARDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
