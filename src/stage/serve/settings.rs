//! The settings of `serve`: what to serve, how requests wait and are joined, and when a new
//! version may take the place of an old one.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::deployment::{
    self, CudaGraphs, OnDeviceFailure, OnLowMemory, Placement, QueueConfig, ReloadConfig,
    WarmupConfig,
};
use crate::source::Spanned;
use crate::stage::{FileRef, FromRef, Problem};

use super::devices::Devices;
use super::problem;

/// The longest time a setting may name, in milliseconds.
const LONGEST_MS: f64 = 3_600_000.0;
/// The longest delay of a request, in milliseconds.
const LONGEST_DELAY_MS: f64 = 60_000.0;
/// The most requests that may wait, priority levels, warm-up runs and recorded requests.
const LONGEST_QUEUE: usize = 1_000_000;
const MOST_LEVELS: u32 = 100;
const MOST_ITERATIONS: usize = 100_000;
const MOST_SAMPLES: usize = 10_000;
const MOST_SAMPLE_BYTES: usize = 1 << 30;

/// Describes a deployment of one model: what to serve and how, once its gates have passed.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Serve {
    /// The name requests use for the model; the pipeline's name by default.
    #[serde(default)]
    pub name: Option<Spanned<String>>,
    /// The engine: a stage that makes one, or `{ file: path, kind: engine }`.
    pub from: Spanned<FromRef>,
    /// Validate stages that must have passed.
    #[serde(default)]
    pub requires: Vec<Spanned<String>>,
    /// Joins requests that arrive together into one run. Without it every request runs alone.
    #[serde(default)]
    pub batching: Option<Batching>,
    /// How requests wait for a free instance.
    #[serde(default)]
    pub queue: Queue,
    /// What runs between loading and the first request.
    #[serde(default)]
    pub warmup: Warmup,
    /// When a new version may take the place of the one before it, and for how long it is watched.
    #[serde(default)]
    pub reload: Reload,
    /// Requests that run at the same time, on each device.
    #[serde(default = "one")]
    pub instances: Spanned<usize>,
    /// The devices to run on: their numbers, or `all`. Only for backends that have devices.
    #[serde(default)]
    pub devices: Spanned<Devices>,
    /// Which device runs a batch where several have a free instance: `least_outstanding` the one
    /// that runs the fewest batches, `round_robin` each in turn, `random` any, `memory_aware` the
    /// one with the least memory in use, `utilization` the one that was the least busy.
    #[serde(default)]
    pub placement: Spanned<Placement>,
    /// What to do when a device breaks for good: `degrade` goes on with those that are left and
    /// says so, `exit` answers the requests that wait and ends the server with a failure. In either
    /// case the requests that the device had are run once more, on another one.
    #[serde(default)]
    pub on_device_failure: Spanned<OnDeviceFailure>,
    /// Which runs are submitted to a GPU as one CUDA graph, which spares the host the work of
    /// submitting each kernel: `auto` those of shapes that come again and again, where that is
    /// faster; `on` all, with a warning where that is not possible; `off` none; or a list of batch
    /// sizes, as with `on`. A graph is used only once it has given the same answers as plain runs.
    #[serde(default)]
    pub cuda_graphs: Spanned<CudaGraphs>,
}

pub(super) fn one() -> Spanned<usize> {
    Spanned::unplaced(1)
}

/// How requests are joined into batches. Axis 0 of every input and output of the model must be
/// a dynamic batch axis.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batching {
    /// Most samples in a batch; no more than the engine takes.
    pub max_batch: Spanned<usize>,
    /// Longest time a request waits for others to join it, in milliseconds; 0 joins only those
    /// that wait already.
    #[serde(default, skip_serializing_if = "Spanned::is_default")]
    #[schemars(extend("default" = 0))]
    pub max_delay_ms: Spanned<f64>,
    /// Batch sizes that run at once, without waiting for more requests; for engines that are much
    /// faster at certain sizes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferred_sizes: Vec<Spanned<usize>>,
    /// Answers leave in the order the requests came.
    #[serde(default, skip_serializing_if = "Spanned::is_default")]
    #[schemars(extend("default" = false))]
    pub preserve_ordering: Spanned<bool>,
    /// Requests of different shapes share a batch, the smaller ones padded with zeros. Only for
    /// models whose answers do not depend on padding; outputs are cut to size along axes that
    /// carry the name of a padded axis.
    #[serde(default, skip_serializing_if = "Spanned::is_default")]
    #[schemars(extend("default" = false))]
    pub pad: Spanned<bool>,
}

impl Batching {
    pub(super) fn problems(&self) -> Vec<Problem> {
        let (max, delay) = (&self.max_batch, &self.max_delay_ms);
        let mut problems = Vec::new();
        if max.value == 0 {
            let message = "`max_batch` is 0, expected 1 or more".to_owned();
            problems.push(problem("serve::max_batch", message, max.span, None));
        }
        if !(0.0..=LONGEST_DELAY_MS).contains(&delay.value) {
            let message = format!("`max_delay_ms` is {delay}, expected 0 to {LONGEST_DELAY_MS}");
            problems.push(problem("serve::max_delay", message, delay.span, None));
        }
        let mut least = 1;
        for size in &self.preferred_sizes {
            if !(least..=max.value).contains(&size.value) {
                let message = format!(
                    "a preferred size is {size}, expected sizes in rising order up to `max_batch`"
                );
                problems.push(problem("serve::preferred_sizes", message, size.span, None));
            }
            least = size.value.saturating_add(1);
        }
        problems
    }
}

/// How requests wait for a free instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Most requests that wait; one more is refused at once.
    pub limit: Spanned<usize>,
    /// Longest a request waits before it is refused, in milliseconds, unless it names a time of
    /// its own; without it, requests wait as long as the server keeps them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<Spanned<f64>>,
    /// Number of priority levels that requests may name; 1 is the most urgent.
    pub priority_levels: Spanned<u32>,
    /// The level of requests that name none.
    pub default_priority: Spanned<u32>,
}

impl Default for Queue {
    fn default() -> Self {
        let config = QueueConfig::default();
        Self {
            limit: Spanned::unplaced(config.limit),
            timeout_ms: None,
            priority_levels: Spanned::unplaced(config.priority_levels),
            default_priority: Spanned::unplaced(config.default_priority),
        }
    }
}

impl Queue {
    pub(super) fn config(&self) -> QueueConfig {
        QueueConfig {
            limit: self.limit.value,
            timeout_ms: self.timeout_ms.map(|timeout| timeout.value),
            priority_levels: self.priority_levels.value,
            default_priority: self.default_priority.value,
        }
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let levels = self.priority_levels.value;
        [
            within("queue.limit", &self.limit, 1..=LONGEST_QUEUE),
            self.timeout_ms
                .as_ref()
                .and_then(|value| within("queue.timeout_ms", value, positive(LONGEST_MS))),
            within("queue.priority_levels", &self.priority_levels, 1..=MOST_LEVELS),
            within("queue.default_priority", &self.default_priority, 1..=levels.max(1)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What runs between loading and the first request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Warmup {
    /// Runs of every instance, for every batch size it may be asked for.
    pub iterations: Spanned<usize>,
    /// The samples to run: an `.npz` file or a folder of `.npy` files with arrays named as the
    /// model's inputs; axis 0 counts the samples, the first ones are taken. Random numbers by
    /// default.
    #[serde(skip_serializing)]
    pub data: Option<Spanned<FileRef>>,
}

impl Default for Warmup {
    fn default() -> Self {
        Self { iterations: Spanned::unplaced(WarmupConfig::default().iterations), data: None }
    }
}

impl Warmup {
    pub(super) fn iterations_are_default(&self) -> bool {
        self.iterations == Self::default().iterations
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        within("warmup.iterations", &self.iterations, 0..=MOST_ITERATIONS).into_iter().collect()
    }
}

/// When a new version may take the place of the one before it, and for how long it is watched. A
/// version that does not pass, or that is taken back, leaves the one before it in place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// Recent requests that are kept and run on both versions before the change; 0 keeps none.
    pub samples: Spanned<usize>,
    /// Most memory that those requests may take, in bytes; the newest are kept.
    pub sample_bytes: Spanned<usize>,
    /// How far the answers to them may differ; any difference is fine by default, as a model
    /// trained anew answers differently.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<Tolerance>,
    /// Lets inputs and outputs change in ways that requests of today's clients do not survive:
    /// tensors that go, other element types, fewer shapes.
    pub allow_interface_change: Spanned<bool>,
    /// What to do where old and new version do not fit in memory together.
    pub on_low_memory: Spanned<OnLowMemory>,
    /// Seconds after the change in which the version is taken back if it breaks a limit below.
    pub watch_seconds: Spanned<f64>,
    /// Largest fraction of requests that may fail while it is watched, 0 to 1.
    pub max_error_rate: Spanned<f64>,
    /// Largest 99th percentile of the latency while it is watched, as a multiple of that of the
    /// version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_p99_ratio: Option<Spanned<f64>>,
    /// Largest 99th percentile of the latency while it is watched, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_p99_ms: Option<Spanned<f64>>,
}

impl Default for Reload {
    fn default() -> Self {
        let config = ReloadConfig::default();
        Self {
            samples: Spanned::unplaced(config.samples),
            sample_bytes: Spanned::unplaced(config.sample_bytes),
            compare: None,
            allow_interface_change: Spanned::unplaced(config.allow_interface_change),
            on_low_memory: Spanned::unplaced(config.on_low_memory),
            watch_seconds: Spanned::unplaced(config.watch_seconds),
            max_error_rate: Spanned::unplaced(config.max_error_rate),
            max_p99_ratio: None,
            max_p99_ms: None,
        }
    }
}

impl Reload {
    pub(super) fn config(&self) -> ReloadConfig {
        ReloadConfig {
            samples: self.samples.value,
            sample_bytes: self.sample_bytes.value,
            compare: self.compare.as_ref().map(Tolerance::config),
            allow_interface_change: self.allow_interface_change.value,
            on_low_memory: self.on_low_memory.value,
            watch_seconds: self.watch_seconds.value,
            max_error_rate: self.max_error_rate.value,
            max_p99_ratio: self.max_p99_ratio.map(|ratio| ratio.value),
            max_p99_ms: self.max_p99_ms.map(|limit| limit.value),
        }
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let compare = self.compare.iter().flat_map(Tolerance::problems);
        [
            within("reload.samples", &self.samples, 0..=MOST_SAMPLES),
            within("reload.sample_bytes", &self.sample_bytes, 0..=MOST_SAMPLE_BYTES),
            within("reload.watch_seconds", &self.watch_seconds, 0.0..=LONGEST_MS / 1e3),
            within("reload.max_error_rate", &self.max_error_rate, 0.0..=1.0),
            self.max_p99_ratio
                .as_ref()
                .and_then(|value| within("reload.max_p99_ratio", value, positive(1e6))),
            self.max_p99_ms
                .as_ref()
                .and_then(|value| within("reload.max_p99_ms", value, positive(LONGEST_MS))),
        ]
        .into_iter()
        .flatten()
        .chain(compare)
        .collect()
    }
}

/// How far the outputs of two versions may differ, over all recorded requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// At most this absolute difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_abs: Option<Spanned<f64>>,
    /// At most this largest absolute difference, as a fraction of the old version's largest
    /// absolute value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_relative_error: Option<Spanned<f64>>,
    /// At least this cosine similarity, -1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine: Option<Spanned<f64>>,
}

impl Tolerance {
    fn config(&self) -> deployment::Tolerance {
        let value = |limit: Option<Spanned<f64>>| limit.map(|limit| limit.value);
        deployment::Tolerance {
            max_abs: value(self.max_abs),
            max_relative_error: value(self.max_relative_error),
            cosine: value(self.cosine),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        [
            self.max_abs.as_ref().and_then(|v| within("reload.compare.max_abs", v, 0.0..)),
            self.max_relative_error
                .as_ref()
                .and_then(|v| within("reload.compare.max_relative_error", v, 0.0..)),
            self.cosine.as_ref().and_then(|v| within("reload.compare.cosine", v, -1.0..=1.0)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The problem of a value that a range does not contain; what is no number is in none.
fn within<T: PartialOrd + fmt::Display>(
    setting: &str,
    value: &Spanned<T>,
    range: impl RangeBounds<T>,
) -> Option<Problem> {
    if range.contains(&value.value) {
        return None;
    }
    let expected = match (range.start_bound(), range.end_bound()) {
        (Bound::Included(least), Bound::Included(most)) => format!("{least} to {most}"),
        (Bound::Excluded(above), Bound::Included(most)) => {
            format!("more than {above}, at most {most}")
        }
        (Bound::Included(least) | Bound::Excluded(least), _) => format!("{least} or more"),
        (Bound::Unbounded, _) => "another value".to_owned(),
    };
    let message = format!("`{setting}` is {value}, expected {expected}");
    Some(problem("serve::range", message, value.span, None))
}

/// Above 0.
fn positive(most: f64) -> (Bound<f64>, Bound<f64>) {
    (Bound::Excluded(0.0), Bound::Included(most))
}
