//! `/metrics`: what there is to count, in the text format of `OpenMetrics` that Prometheus reads.
//!
//! Counts nothing itself: every value is read where it is kept, when it is asked for.

mod families;
mod model;
mod page;
mod process;

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use super::App;
use super::load::Load;
use super::status::error_response;
use super::tls::Certificate;
use page::Page;

const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the metrics of one server are read.
#[derive(Clone)]
pub(super) struct Scrape {
    app: Arc<App>,
    load: Load,
    certificate: Option<Arc<Certificate>>,
    started: SystemTime,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Scrape {
    /// The metrics of a server that starts now.
    pub(super) fn new(app: &Arc<App>, load: &Load, certificate: Option<Arc<Certificate>>) -> Self {
        let (app, load) = (Arc::clone(app), load.clone());
        Self { app, load, certificate, started: SystemTime::now() }
    }

    fn server(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauges(&families::BUILD, [([("version", env!("CARGO_PKG_VERSION"))], 1.0)])?;
        page.gauges(&families::OPEN, [([], count(self.load.traffic.open()))])?;
        page.counters(&families::REFUSED, [([], self.load.traffic.refused())])?;
        let counts = self.load.connections.iter();
        let counts: Vec<_> = counts.map(|(role, all)| (role.name(), all.counts())).collect();
        let open = counts.iter().map(|(role, now)| ([("listener", *role)], count(now.open)));
        page.gauges(&families::CONNECTIONS, open)?;
        let events = counts.iter().flat_map(|(role, counts)| {
            let event = |event, count| ([("listener", *role), ("event", event)], count);
            [
                event("accepted", counts.accepted),
                event("refused", counts.refused),
                event("evicted", counts.evicted),
            ]
        });
        page.counters(&families::CONNECTION_EVENTS, events)?;
        let expires = self.certificate.iter().map(|shown| ([], since_1970(shown.valid_to())));
        page.gauges(&families::CERTIFICATE, expires)
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page::new(encoder);
        self.server(&mut page)?;
        model::write(&self.app.registry, &mut page)?;
        process::write(self.started, &mut page)
    }
}

/// The route of the metrics.
pub(super) fn routes(scrape: Scrape) -> Router {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    Router::new().route("/metrics", get(show)).with_state(Arc::new(registry))
}

async fn show(State(registry): State<Arc<Registry>>) -> Response<Body> {
    let mut text = String::new();
    if let Err(error) = text::encode(&mut text, &registry) {
        let message = format!("the metrics cannot be written: {error}");
        return error_response(StatusCode::INTERNAL_SERVER_ERROR, &message, None);
    }
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FORMAT));
    response
}

fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "exact to 2^53")]
fn count(value: impl TryInto<u64>) -> f64 {
    value.try_into().unwrap_or(u64::MAX) as f64
}
