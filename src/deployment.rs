//! [`Deployment`]: what to serve and how, the only value that passes from building to serving.
//!
//! Owns the format of `deployment.json`. Knows nothing of stages, backends or servers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::artifact::Digest;
use crate::tensor::{Shape, TensorSpec};

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
    /// Execution contexts per device.
    pub instances: usize,
    /// The devices to use; `null` for all, or where the backend has none.
    pub devices: Option<Vec<u32>>,
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchingConfig {
    /// Most samples in a batch.
    pub max_batch: usize,
    /// Longest time a request waits for others, in milliseconds.
    pub max_delay_ms: f64,
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
    fn another_format_and_other_texts_are_refused_by_name() {
        let error = Deployment::from_json(br#"{"format": 2, "fleet": []}"#).unwrap_err();
        assert_eq!(error.to_string(), "the deployment has format 2, known is 1");
        for text in ["", "[]", "{}", r#"{"format": 1}"#] {
            let error = Deployment::from_json(text.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("not a deployment: "), "{error}");
        }
    }
}
