//! [`Deployment`]: what to serve and how, the only value that passes from building to serving.
//!
//! Owns the format of `deployment.json`. Knows nothing of stages, backends or servers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::artifact::Digest;
use crate::tensor::{Shape, TensorSpec};

/// The most instances per device; far above what helps, far below what memory could hold.
pub const MOST_INSTANCES: usize = 1024;

/// The file's name in a deployment's artifact.
pub const FILE_NAME: &str = "deployment.json";

/// The format this version writes and reads.
pub const FORMAT: u32 = 1;

/// What to serve and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Format of the file.
    pub format: u32,
    /// The model.
    pub model: ModelConfig,
}

/// One served model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The name requests use.
    pub name: String,
    /// What answers them.
    pub engine: EngineConfig,
    /// How requests are joined; `null` where each runs alone.
    pub batching: Option<BatchingConfig>,
    /// How requests wait.
    #[serde(default)]
    pub queue: QueueConfig,
    /// What happens between loading and the first request.
    #[serde(default)]
    pub warmup: WarmupConfig,
    /// When this deployment may take the place of the one before it.
    #[serde(default)]
    pub reload: ReloadConfig,
    /// Execution contexts per device.
    pub instances: usize,
    /// The devices to use; `null` for all, or where the backend has none.
    pub devices: Option<Vec<u32>>,
    /// Which device runs a batch where several have a free context.
    #[serde(default)]
    pub placement: Placement,
    /// What to do when a device breaks for good.
    #[serde(default)]
    pub on_device_failure: OnDeviceFailure,
    /// Which runs are submitted as one CUDA graph.
    #[serde(default)]
    pub cuda_graphs: CudaGraphs,
    /// What had to pass: a digest of each required validation's request.
    pub requires: Vec<Digest>,
}

/// The engine of a model, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineConfig {
    /// Digest of its artifact.
    pub digest: Digest,
    /// The backend that loads it.
    pub backend: String,
    /// Inputs in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs in the model's order.
    pub outputs: Vec<TensorSpec>,
    /// Optimization profiles: the shapes each allows, by input.
    pub profiles: Vec<BTreeMap<String, ShapeRange>>,
}

/// The shapes one profile allows one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeRange {
    /// Smallest extents.
    pub min: Shape,
    /// Usual extents.
    pub opt: Shape,
    /// Largest extents.
    pub max: Shape,
}

/// How requests are joined into batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchingConfig {
    /// Most samples in a batch.
    pub max_batch: usize,
    /// Longest time a request waits for others, in milliseconds.
    pub max_delay_ms: f64,
    /// Batch sizes that run at once, without waiting for more; ascending.
    #[serde(default)]
    pub preferred_sizes: Vec<usize>,
    /// Whether answers leave in the order the requests came.
    #[serde(default)]
    pub preserve_ordering: bool,
    /// Whether requests of different shapes share a batch, the smaller ones padded with zeros.
    #[serde(default)]
    pub pad: bool,
}

/// How requests wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueConfig {
    /// Most requests that wait; one more is refused.
    pub limit: usize,
    /// Longest a request waits before it is refused, in milliseconds, unless it says so itself.
    pub timeout_ms: Option<f64>,
    /// Number of priority levels; 1 is the most urgent.
    pub priority_levels: u32,
    /// The level of requests that name none.
    pub default_priority: u32,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { limit: 1024, timeout_ms: None, priority_levels: 1, default_priority: 1 }
    }
}

/// What happens between loading and the first request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WarmupConfig {
    /// Runs of every instance, for every batch size it may be asked for.
    pub iterations: usize,
    /// The samples to run: a data file of the deployment's artifact; `null` for random ones.
    pub data: Option<String>,
}

impl Default for WarmupConfig {
    fn default() -> Self {
        Self { iterations: 10, data: None }
    }
}

/// When a deployment may take the place of the one before it, and for how long it is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadConfig {
    /// Recent requests to run on both versions before the change; 0 keeps none.
    pub samples: usize,
    /// Most memory that those requests may take, in bytes.
    pub sample_bytes: usize,
    /// How far the answers to them may differ; `null` for any.
    pub compare: Option<Tolerance>,
    /// Whether inputs and outputs may change in ways that requests of today do not survive.
    pub allow_interface_change: bool,
    /// What to do where old and new do not fit in memory together.
    pub on_low_memory: OnLowMemory,
    /// Seconds after the change in which the version is taken back if it breaks a limit below.
    pub watch_seconds: f64,
    /// Largest fraction of failed requests while watched, 0 to 1.
    pub max_error_rate: f64,
    /// Largest 99th percentile of the latency while watched, as a multiple of the version before.
    pub max_p99_ratio: Option<f64>,
    /// Largest 99th percentile of the latency while watched, in milliseconds.
    pub max_p99_ms: Option<f64>,
}

impl Default for ReloadConfig {
    fn default() -> Self {
        Self {
            samples: 32,
            sample_bytes: 16 << 20,
            compare: None,
            allow_interface_change: false,
            on_low_memory: OnLowMemory::Refuse,
            watch_seconds: 30.0,
            max_error_rate: 0.05,
            max_p99_ratio: None,
            max_p99_ms: None,
        }
    }
}

/// Which device runs a batch where several have a free context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// The one that runs the fewest batches.
    #[default]
    LeastOutstanding,
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
    /// The one with the least memory in use.
    MemoryAware,
    /// The one that was busy for the least of the last second.
    Utilization,
}

/// What to do when a device breaks for good. Its requests run once more on another one in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDeviceFailure {
    /// Go on with the devices that are left, and say so.
    #[default]
    Degrade,
    /// Answer the requests that wait, then end the server with a failure, for whoever started it to
    /// start it again.
    Exit,
}

/// Which runs are submitted to a GPU as one CUDA graph, instead of kernel by kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CudaGraphs {
    /// Those of shapes that come again and again, where that is faster.
    #[default]
    Auto,
    /// All, and where that is not possible there is a warning.
    On,
    /// None.
    Off,
    /// Those of these batch sizes, as with `On`.
    Batches(Vec<usize>),
}

impl CudaGraphs {
    /// What texts may say.
    const EXPECTED: &str = "`auto`, `on`, `off` or a list of batch sizes";
}

impl Serialize for CudaGraphs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::On => serializer.serialize_str("on"),
            Self::Off => serializer.serialize_str("off"),
            Self::Batches(sizes) => sizes.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for CudaGraphs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = CudaGraphs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(CudaGraphs::EXPECTED)
            }

            // Some YAML tools write `on` and `off` as booleans.
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<CudaGraphs, E> {
                Ok(if on { CudaGraphs::On } else { CudaGraphs::Off })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CudaGraphs, E> {
                match text {
                    "auto" => Ok(CudaGraphs::Auto),
                    "on" => Ok(CudaGraphs::On),
                    "off" => Ok(CudaGraphs::Off),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CudaGraphs, A::Error> {
                let mut sizes = Vec::new();
                while let Some(size) = list.next_element()? {
                    sizes.push(size);
                }
                Ok(CudaGraphs::Batches(sizes))
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl JsonSchema for CudaGraphs {
    fn schema_name() -> Cow<'static, str> {
        "CudaGraphs".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "enum": ["auto", "on", "off"] },
            { "type": "array", "items": { "type": "integer", "minimum": 1 }, "minItems": 1 },
        ] })
    }
}

/// How far the outputs of two versions may differ, over all samples of an output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Largest absolute difference.
    pub max_abs: Option<f64>,
    /// Largest absolute difference, as a fraction of the old version's largest absolute value.
    pub max_relative_error: Option<f64>,
    /// Smallest cosine similarity.
    pub cosine: Option<f64>,
}

/// What to do where old and new version do not fit in memory together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLowMemory {
    /// Keep the old one and refuse the new one.
    #[default]
    Refuse,
    /// Let the old one finish its requests and unload it, then load the new one. Requests are
    /// refused in between.
    DrainFirst,
}

/// A text that is no deployment.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// It is not the JSON of a deployment.
    #[error("not a deployment: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It was written by a version that is not known.
    #[error("the deployment has format {found}, known is {FORMAT}")]
    Format {
        /// The format it says.
        found: u64,
    },
}

impl Deployment {
    /// Pairs a model with the current format.
    pub fn new(model: ModelConfig) -> Self {
        Self { format: FORMAT, model }
    }

    /// The text of `deployment.json`.
    pub fn to_json(&self) -> Result<String, DeploymentError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads the text of a `deployment.json`.
    pub fn from_json(text: &[u8]) -> Result<Self, DeploymentError> {
        let value: serde_json::Value = serde_json::from_slice(text)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(found) if found != u64::from(FORMAT) => Err(DeploymentError::Format { found }),
            _ => Ok(serde_json::from_value(value)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuda_graphs_are_a_word_a_boolean_or_a_list_of_sizes() {
        for (text, expected) in [
            (r#""auto""#, CudaGraphs::Auto),
            (r#""on""#, CudaGraphs::On),
            ("true", CudaGraphs::On),
            (r#""off""#, CudaGraphs::Off),
            ("[1, 8]", CudaGraphs::Batches(vec![1, 8])),
        ] {
            let graphs: CudaGraphs = serde_json::from_str(text).unwrap();
            assert_eq!(graphs, expected);
            let again = serde_json::to_string(&graphs).unwrap();
            assert_eq!(serde_json::from_str::<CudaGraphs>(&again).unwrap(), expected);
        }
        let error = serde_json::from_str::<CudaGraphs>(r#""never""#).unwrap_err().to_string();
        assert!(error.contains("expected `auto`, `on`, `off` or a list of batch sizes"), "{error}");
    }

    #[test]
    fn another_format_and_other_texts_are_refused_by_name() {
        let error = Deployment::from_json(br#"{"format": 2, "fleet": []}"#).unwrap_err();
        assert_eq!(error.to_string(), "the deployment has format 2, known is 1");
        for text in ["", "[]", "{}", r#"{"format": 1}"#] {
            let error = Deployment::from_json(text.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("not a deployment: "), "{error}");
        }
    }
}
