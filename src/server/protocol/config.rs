//! [`ModelConfig`]: a model's settings in the words of the model configuration extension.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::deployment::BatchingConfig;
use crate::runtime::Model;
use crate::tensor::TensorSpec;

use super::config_datatype;
use super::metadata::extents_of;

/// A model's settings, as clients of other servers know them.
#[derive(Debug, Serialize)]
pub(crate) struct ModelConfig<'a> {
    pub(crate) name: &'a str,
    pub(crate) platform: &'static str,
    pub(crate) backend: &'a str,
    pub(crate) version_policy: VersionPolicy,
    /// Most samples of a batch; 0 where each request runs alone.
    pub(crate) max_batch_size: i32,
    pub(crate) input: Vec<TensorConfig<'a>>,
    pub(crate) output: Vec<TensorConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dynamic_batching: Option<DynamicBatching>,
    pub(crate) instance_group: Vec<InstanceGroup>,
    pub(crate) parameters: BTreeMap<String, String>,
}

/// Which versions are there.
#[derive(Debug, Serialize)]
pub(crate) struct VersionPolicy {
    pub(crate) latest: Latest,
}

/// The latest ones.
#[derive(Debug, Serialize)]
pub(crate) struct Latest {
    pub(crate) num_versions: u32,
}

/// One input or output.
#[derive(Debug, Serialize)]
pub(crate) struct TensorConfig<'a> {
    pub(crate) name: &'a str,
    pub(crate) data_type: &'static str,
    /// The extents of one sample: without the batch axis where the model is batched.
    pub(crate) dims: Vec<i64>,
}

/// How requests are joined and wait.
#[derive(Debug, Serialize)]
pub(crate) struct DynamicBatching {
    pub(crate) preferred_batch_size: Vec<i32>,
    pub(crate) max_queue_delay_microseconds: u64,
    pub(crate) preserve_ordering: bool,
    pub(crate) priority_levels: u64,
    pub(crate) default_priority_level: u64,
    pub(crate) default_queue_policy: QueuePolicy,
}

/// How requests wait.
#[derive(Debug, Serialize)]
pub(crate) struct QueuePolicy {
    pub(crate) timeout_action: &'static str,
    /// 0 where a request may wait for ever.
    pub(crate) default_timeout_microseconds: u64,
    pub(crate) allow_timeout_override: bool,
    pub(crate) max_queue_size: u32,
}

/// Where instances run.
#[derive(Debug, Serialize)]
pub(crate) struct InstanceGroup {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) count: i32,
    pub(crate) gpus: Vec<i32>,
}

impl<'a> ModelConfig<'a> {
    pub(crate) fn of(model: &'a Model) -> Self {
        let config = model.config();
        let batched = config.batching.is_some();
        let tensors = |specs: &'a [TensorSpec]| {
            specs.iter().map(|spec| TensorConfig::of(spec, batched)).collect()
        };
        let queue = QueuePolicy {
            timeout_action: "REJECT",
            default_timeout_microseconds: microseconds(config.queue.timeout_ms.unwrap_or(0.0)),
            allow_timeout_override: true,
            max_queue_size: config.queue.limit.try_into().unwrap_or(u32::MAX),
        };
        // One level is none, in these words.
        let levels = Some(config.queue.priority_levels).filter(|&levels| levels > 1);
        let dynamic = |batching: &BatchingConfig| DynamicBatching {
            preferred_batch_size: batching.preferred_sizes.iter().copied().map(count).collect(),
            max_queue_delay_microseconds: microseconds(batching.max_delay_ms),
            preserve_ordering: batching.preserve_ordering,
            priority_levels: levels.unwrap_or(0).into(),
            default_priority_level: levels.map_or(0, |_| config.queue.default_priority).into(),
            default_queue_policy: queue,
        };
        let devices = config.devices.as_deref();
        let gpus = devices.unwrap_or_default().iter();
        Self {
            name: &config.name,
            platform: "",
            backend: &config.engine.backend,
            version_policy: VersionPolicy { latest: Latest { num_versions: 1 } },
            max_batch_size: config.batching.as_ref().map_or(0, |b| count(b.max_batch)),
            input: tensors(model.inputs()),
            output: tensors(model.outputs()),
            dynamic_batching: config.batching.as_ref().map(dynamic),
            instance_group: vec![InstanceGroup {
                name: format!("{}_0", config.name),
                kind: if devices.is_some() { "KIND_GPU" } else { "KIND_AUTO" },
                count: count(config.instances),
                gpus: gpus.map(|&gpu| gpu.try_into().unwrap_or(i32::MAX)).collect(),
            }],
            parameters: BTreeMap::new(),
        }
    }
}

impl<'a> TensorConfig<'a> {
    fn of(spec: &'a TensorSpec, batched: bool) -> Self {
        let mut dims = extents_of(spec);
        if batched {
            dims.drain(..1.min(dims.len()));
        }
        Self { name: &spec.name, data_type: config_datatype(spec.dtype), dims }
    }
}

fn count(number: usize) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "such casts saturate, and times below zero are none"
)]
fn microseconds(milliseconds: f64) -> u64 {
    (milliseconds * 1000.0).round() as u64
}
