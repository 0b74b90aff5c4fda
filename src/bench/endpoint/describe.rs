//! What a server says of itself, its model and what it counted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::kserve::from_datatype;
use crate::tensor::{Dim, TensorSpec};

use super::EndpointError;

/// Who answers, and what the model takes.
#[derive(Debug, Clone)]
pub struct Description {
    /// Name and version of the server.
    pub server: String,
    /// The model's name.
    pub model: String,
    /// The versions that are served.
    pub versions: Vec<String>,
    /// What the model takes.
    pub inputs: Vec<TensorSpec>,
}

/// The model that is meant where none is named: the only one there is.
pub(super) fn only(mut known: Vec<String>, origin: &str) -> Result<String, EndpointError> {
    match known.pop() {
        Some(model) if known.is_empty() => Ok(model),
        last => {
            known.extend(last);
            Err(EndpointError::WhichModel { address: origin.to_owned(), known })
        }
    }
}

/// What happened so often, and how long it took altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counter {
    /// How often.
    pub count: u64,
    /// Nanoseconds altogether.
    pub ns: u64,
}

impl Counter {
    /// The mean, where it ever happened.
    pub fn mean(self) -> Option<Duration> {
        self.ns.checked_div(self.count).map(Duration::from_nanos)
    }
}

/// What a server counted for a model, all versions together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Samples that were computed.
    pub inferences: u64,
    /// Batches in which they were.
    pub executions: u64,
    /// The parts of requests by their names in the protocol: `queue`, `compute_infer` ..
    pub phases: BTreeMap<String, Counter>,
}

impl Counters {
    /// What was counted since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let phases = self.phases.iter().map(|(name, now)| {
            let before = before.phases.get(name).copied().unwrap_or_default();
            let count = now.count.saturating_sub(before.count);
            (name.clone(), Counter { count, ns: now.ns.saturating_sub(before.ns) })
        });
        Self {
            inferences: self.inferences.saturating_sub(before.inferences),
            executions: self.executions.saturating_sub(before.executions),
            phases: phases.collect(),
        }
    }

    /// Adds those of another version, or of another time.
    pub fn add(&mut self, other: &Self) {
        self.inferences += other.inferences;
        self.executions += other.executions;
        for (name, counter) in &other.phases {
            let sum = self.phases.entry(name.clone()).or_default();
            sum.count += counter.count;
            sum.ns += counter.ns;
        }
    }

    /// The samples of a batch, on average.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub fn mean_batch(&self) -> Option<f64> {
        (self.executions > 0).then(|| self.inferences as f64 / self.executions as f64)
    }
}

/// A tensor as metadata has it: -1 is any extent.
pub(super) fn tensor(
    name: String,
    datatype: &str,
    shape: &[i64],
) -> Result<TensorSpec, EndpointError> {
    let Some(dtype) = from_datatype(datatype) else {
        return Err(EndpointError::Datatype { tensor: name, datatype: datatype.to_owned() });
    };
    let dim = |&extent: &i64| usize::try_from(extent).map_or(Dim::Any, Dim::Fixed);
    Ok(TensorSpec { name, dtype, dims: Some(shape.iter().map(dim).collect()) })
}
