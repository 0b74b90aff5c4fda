//! What the page draws: everything about the models, as it is at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::process::resident_bytes;
use crate::runtime::{
    Model, ModelStatus, Phase, ReloadRecord, Snapshot, VersionState, VersionStatus,
};
use crate::server::{App, PipelineView};

use super::milliseconds;

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct PageState {
    now_ms: u64,
    server: ServerState,
    models: Vec<ModelView>,
    reloads: Vec<Arc<ReloadRecord>>,
    pipelines: Arc<Vec<PipelineView>>,
}

#[derive(Debug, Serialize)]
struct ServerState {
    version: &'static str,
    started_ms: u64,
    memory_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ModelView {
    name: String,
    state: &'static str,
    reason: Option<String>,
    backend: Option<String>,
    instances: Option<usize>,
    max_batch: Option<usize>,
    requires: Option<usize>,
    versions: Vec<VersionStatus>,
    can_roll_back: bool,
    live: Option<Live>,
}

/// The counters of the version that takes the requests. They only grow, so the page takes the
/// difference of two states.
#[derive(Debug, Serialize)]
struct Live {
    version: u32,
    answered: u64,
    failed: u64,
    queue_depth: usize,
    in_flight: u64,
    latency: Buckets,
    phases: BTreeMap<&'static str, Mean>,
    batch_sizes: Vec<Batches>,
}

/// How many requests took up to so long, bucket by bucket; the last one has no upper end.
#[derive(Debug, Serialize)]
struct Buckets {
    upper_ns: Vec<u64>,
    counts: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Mean {
    count: u64,
    total_ns: u64,
}

#[derive(Debug, Serialize)]
struct Batches {
    size: usize,
    runs: u64,
}

/// The bounds of the page's buckets: two per doubling from 4 microseconds to two minutes.
fn bounds() -> impl Iterator<Item = u64> {
    (12..=36).flat_map(|log2| [1 << log2, 3 << (log2 - 1)])
}

/// Reads the state.
pub(super) fn state(app: &App, started: SystemTime) -> PageState {
    PageState {
        now_ms: milliseconds(SystemTime::now()),
        server: ServerState {
            version: env!("CARGO_PKG_VERSION"),
            started_ms: milliseconds(started),
            memory_bytes: resident_bytes(),
        },
        models: app.registry.index().into_iter().map(|status| model(app, status)).collect(),
        reloads: app.registry.history(),
        pipelines: app.pipelines.load_full(),
    }
}

fn model(app: &App, status: ModelStatus) -> ModelView {
    let serving = app.registry.find(&status.name, None).ok();
    let versions = app.registry.versions(&status.name).unwrap_or_default();
    let config = serving.as_ref().map(|model| model.config());
    ModelView {
        state: status.state.name(),
        reason: status.reason,
        backend: config.map(|config| config.engine.backend.clone()),
        instances: config.map(|config| config.instances),
        max_batch: config.and_then(|config| config.batching.as_ref()).map(|b| b.max_batch),
        requires: config.map(|config| config.requires.len()),
        can_roll_back: versions.iter().any(|version| version.state != VersionState::Serving),
        versions,
        live: serving.as_deref().map(live),
        name: status.name,
    }
}

fn live(model: &Model) -> Live {
    let snapshot = model.statistics().snapshot();
    let phases = Phase::ALL.into_iter().filter(|phase| *phase != Phase::Total);
    Live {
        version: model.version(),
        answered: snapshot.succeeded().count,
        failed: snapshot.failed_in_all().count,
        queue_depth: model.queue_depth(),
        in_flight: snapshot.in_flight,
        latency: latency(&snapshot),
        phases: phases.map(|phase| (phase.name(), mean(&snapshot, phase))).collect(),
        batch_sizes: snapshot
            .batches
            .iter()
            .map(|batch| Batches { size: batch.size, runs: batch.executions })
            .collect(),
    }
}

fn mean(snapshot: &Snapshot, phase: Phase) -> Mean {
    let durations = snapshot.phase(phase);
    let total_ns = u64::try_from(durations.total().as_nanos()).unwrap_or(u64::MAX);
    Mean { count: durations.count(), total_ns }
}

fn latency(snapshot: &Snapshot) -> Buckets {
    let upper_ns: Vec<u64> = bounds().collect();
    let limits = upper_ns.iter().map(|&bound| Duration::from_nanos(bound));
    Buckets { counts: snapshot.phase(Phase::Total).between(limits), upper_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_reach_from_microseconds_to_minutes() {
        let bounds: Vec<u64> = bounds().collect();
        assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        assert!(bounds[0] < 10_000 && bounds[bounds.len() - 1] > 60_000_000_000);
    }
}
