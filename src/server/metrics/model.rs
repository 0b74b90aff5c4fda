//! Metrics of the models.

use std::fmt;
use std::sync::Arc;

use super::families;
use super::page::{Buckets, Page};
use crate::runtime::{DeviceStatus, ErrorKind, Model, ModelRegistry, ModelState, Phase, Snapshot};

/// One loaded version of a model.
struct Loaded {
    name: String,
    version: String,
    model: Arc<Model>,
    snapshot: Snapshot,
    /// Each under its number.
    devices: Vec<(String, DeviceStatus)>,
}

impl Loaded {
    fn labels(&self) -> [(&'static str, &str); 2] {
        [("model", &self.name), ("version", &self.version)]
    }

    fn labels_with<'a>(
        &'a self,
        name: &'static str,
        value: &'a str,
    ) -> [(&'static str, &'a str); 3] {
        let [model, version] = self.labels();
        [model, version, (name, value)]
    }

    /// Requests by what came of them.
    fn outcomes(&self) -> impl Iterator<Item = ([(&'static str, &str); 3], u64)> {
        let failed = ErrorKind::ALL.map(|kind| (kind.name(), self.snapshot.failed(kind).count));
        std::iter::once(("ok", self.snapshot.succeeded().count))
            .chain(failed)
            .map(|(outcome, count)| (self.labels_with("outcome", outcome), count))
    }

    fn phases(&self) -> impl Iterator<Item = ([(&'static str, &str); 3], Buckets)> {
        Phase::ALL.into_iter().map(|phase| {
            let buckets = Buckets::of_durations(self.snapshot.phase(phase));
            (self.labels_with("phase", phase.name()), buckets)
        })
    }

    fn batches(&self) -> Buckets {
        let batches = self.snapshot.batches.iter();
        let sizes: Vec<_> = batches.map(|batch| (batch.size, batch.executions)).collect();
        Buckets::of_sizes(&sizes)
    }

    fn copied(&self) -> [([(&'static str, &str); 3], u64); 2] {
        [
            (self.labels_with("direction", "in"), self.snapshot.copied_in),
            (self.labels_with("direction", "out"), self.snapshot.copied_out),
        ]
    }

    /// A value of each device.
    fn each_device<V>(
        &self,
        value: fn(&DeviceStatus) -> V,
    ) -> impl Iterator<Item = ([(&'static str, &str); 3], V)> {
        let devices = self.devices.iter();
        devices.map(move |(number, status)| (self.labels_with("device", number), value(status)))
    }

    /// Bytes it holds for each device by kind of memory.
    fn device_memory(&self) -> impl Iterator<Item = ([(&'static str, &str); 4], f64)> {
        self.devices.iter().flat_map(|(number, status)| {
            let [model, version, device] = self.labels_with("device", number);
            status.memory.into_iter().flat_map(move |memory| {
                [("device", memory.device), ("pinned", memory.pinned)].map(|(kind, held)| {
                    ([model, version, device, ("kind", kind)], super::count(held.current))
                })
            })
        })
    }

    /// Bytes it holds by kind of memory; the most it ever held where `peak`.
    fn memory(&self, peak: bool) -> impl Iterator<Item = ([(&'static str, &str); 3], f64)> {
        self.model.memory().into_iter().flat_map(move |memory| {
            [("device", memory.device), ("pinned", memory.pinned)].map(|(kind, held)| {
                let bytes = if peak { held.peak } else { held.current };
                (self.labels_with("kind", kind), super::count(bytes))
            })
        })
    }
}

/// Every version that is loaded.
fn loaded(registry: &ModelRegistry) -> Vec<Loaded> {
    let mut all = Vec::new();
    for status in registry.index() {
        for version in registry.versions(&status.name).unwrap_or_default() {
            let Ok(model) = registry.find(&status.name, Some(version.version)) else { continue };
            let snapshot = model.statistics().snapshot();
            let version = version.version.to_string();
            // A model of a backend without numbered devices has none to tell of.
            let numbered = |status: DeviceStatus| Some((status.device?.to_string(), status));
            let devices = model.devices().into_iter().filter_map(numbered).collect();
            all.push(Loaded { name: status.name.clone(), version, model, snapshot, devices });
        }
    }
    all
}

pub(super) fn write(registry: &ModelRegistry, page: &mut Page<'_>) -> fmt::Result {
    let all = loaded(registry);
    let each = |value: fn(&Loaded) -> f64| all.iter().map(move |it| (it.labels(), value(it)));
    page.counters(&families::REQUESTS, all.iter().flat_map(Loaded::outcomes))?;
    page.histograms(&families::PHASES, all.iter().flat_map(Loaded::phases))?;
    let samples = all.iter().map(|it| (it.labels(), it.snapshot.inferences));
    page.counters(&families::SAMPLES, samples)?;
    page.histograms(&families::BATCHES, all.iter().map(|it| (it.labels(), it.batches())))?;
    page.counters(&families::COPIED, all.iter().flat_map(Loaded::copied))?;
    page.gauges(&families::QUEUED, each(|it| super::count(it.model.queue_depth())))?;
    page.gauges(&families::IN_FLIGHT, each(|it| super::count(it.snapshot.in_flight)))?;
    page.gauges(&families::MODEL_MEMORY, all.iter().flat_map(|it| it.memory(false)))?;
    page.gauges(&families::MODEL_MEMORY_PEAK, all.iter().flat_map(|it| it.memory(true)))?;
    let up = all
        .iter()
        .flat_map(|it| it.each_device(|status| if status.lost.is_none() { 1.0 } else { 0.0 }));
    page.gauges(&families::DEVICE_UP, up)?;
    let batches = all.iter().flat_map(|it| it.each_device(|status| status.batches));
    page.counters(&families::DEVICE_BATCHES, batches)?;
    let outstanding =
        all.iter().flat_map(|it| it.each_device(|status| super::count(status.outstanding)));
    page.gauges(&families::DEVICE_OUTSTANDING, outstanding)?;
    page.gauges(&families::DEVICE_MEMORY, all.iter().flat_map(Loaded::device_memory))?;
    statuses(registry, page)
}

fn statuses(registry: &ModelRegistry, page: &mut Page<'_>) -> fmt::Result {
    let index = registry.index();
    let ready = index.iter().map(|status| {
        let ready = if status.state == ModelState::Ready { 1.0 } else { 0.0 };
        ([("model", status.name.as_str())], ready)
    });
    page.gauges(&families::READY, ready)?;
    let versions = index
        .iter()
        .filter_map(|status| Some(([("model", status.name.as_str())], f64::from(status.version?))));
    page.gauges(&families::VERSION, versions)?;
    let reloads = index.iter().flat_map(|status| {
        let counts = status.reloads;
        let counts = [
            ("accepted", counts.accepted),
            ("refused", counts.refused),
            ("rolled_back", counts.rolled_back),
        ];
        counts.map(|(outcome, count)| {
            ([("model", status.name.as_str()), ("outcome", outcome)], count)
        })
    });
    page.counters(&families::RELOADS, reloads)
}
