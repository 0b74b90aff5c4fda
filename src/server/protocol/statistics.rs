//! [`ModelStatistics`]: what was counted of a model, in the words of the statistics extension.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use crate::runtime::{BatchTotals, Model, ModelRegistry, Phase, Snapshot, Total};

use super::{ProtocolError, find};

/// What was counted of several models.
#[derive(Debug, Serialize)]
pub(crate) struct AllStatistics {
    pub(crate) model_stats: Vec<ModelStatistics>,
}

/// What was counted of one version of a model.
#[derive(Debug, Serialize)]
pub(crate) struct ModelStatistics {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Milliseconds since 1970; 0 for never.
    pub(crate) last_inference: u64,
    /// Samples that were answered.
    pub(crate) inference_count: u64,
    /// Batches that ran.
    pub(crate) execution_count: u64,
    pub(crate) inference_stats: InferenceStatistics,
    /// Of models that answer in parts; none here does.
    pub(crate) response_stats: BTreeMap<String, Times>,
    pub(crate) batch_stats: Vec<BatchStatistics>,
    pub(crate) memory_usage: Vec<u64>,
}

/// How often, and how long altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) ns: u64,
}

/// Where the time of requests went.
#[derive(Debug, Serialize)]
pub(crate) struct InferenceStatistics {
    pub(crate) success: Times,
    pub(crate) fail: Times,
    pub(crate) queue: Times,
    pub(crate) compute_input: Times,
    pub(crate) compute_infer: Times,
    pub(crate) compute_output: Times,
    pub(crate) cache_hit: Times,
    pub(crate) cache_miss: Times,
}

/// Where the time of batches of one size went.
#[derive(Debug, Serialize)]
pub(crate) struct BatchStatistics {
    pub(crate) batch_size: u64,
    pub(crate) compute_input: Times,
    pub(crate) compute_infer: Times,
    pub(crate) compute_output: Times,
}

impl AllStatistics {
    /// Of one version of a model; of the one that takes requests where there is no version; of all
    /// models that take requests where there is no name.
    pub(crate) fn of(
        registry: &ModelRegistry,
        name: &str,
        version: &str,
    ) -> Result<Self, ProtocolError> {
        if !name.is_empty() {
            let model = find(registry, name, version)?;
            return Ok(Self { model_stats: vec![ModelStatistics::of(&model)] });
        }
        let models = registry.index().into_iter();
        let serving = models.filter_map(|model| registry.find(&model.name, None).ok());
        Ok(Self { model_stats: serving.map(|model| ModelStatistics::of(&model)).collect() })
    }
}

impl ModelStatistics {
    fn of(model: &Model) -> Self {
        let counted = model.statistics().snapshot();
        let last = counted.last_request.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            name: model.config().name.clone(),
            version: model.version().to_string(),
            last_inference: last
                .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            inference_count: counted.inferences,
            execution_count: counted.executions,
            inference_stats: InferenceStatistics::of(&counted),
            response_stats: BTreeMap::new(),
            batch_stats: counted.batches.iter().map(BatchStatistics::of).collect(),
            memory_usage: Vec::new(),
        }
    }
}

impl InferenceStatistics {
    fn of(counted: &Snapshot) -> Self {
        let phase = |phase: Phase| {
            let spent = counted.phase(phase);
            let ns = u64::try_from(spent.total().as_nanos()).unwrap_or(u64::MAX);
            Times { count: spent.count(), ns }
        };
        Self {
            success: counted.succeeded().into(),
            fail: counted.failed_in_all().into(),
            queue: phase(Phase::Queue),
            compute_input: phase(Phase::Upload),
            compute_infer: phase(Phase::Compute),
            compute_output: phase(Phase::Download),
            cache_hit: Times::default(),
            cache_miss: Times::default(),
        }
    }
}

impl BatchStatistics {
    fn of(batch: &BatchTotals) -> Self {
        let times = |ns| Times { count: batch.executions, ns };
        Self {
            batch_size: batch.size as u64,
            compute_input: times(batch.upload_ns),
            compute_infer: times(batch.compute_ns),
            compute_output: times(batch.download_ns),
        }
    }
}

impl From<Total> for Times {
    fn from(total: Total) -> Self {
        Self { count: total.count, ns: total.ns }
    }
}
