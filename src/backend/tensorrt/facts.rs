//! What `engine.json` says of a TensorRT engine beyond its inputs and outputs.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::HardwareCompatibility;
use crate::backend::Profile;

/// Which of NVIDIA's two libraries.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// TensorRT, for data-centre and embedded GPUs.
    Standard,
    /// TensorRT-RTX, for RTX GPUs.
    Rtx,
}

impl Flavor {
    /// The product's name.
    pub fn product(self) -> &'static str {
        match self {
            Self::Standard => "TensorRT",
            Self::Rtx => "TensorRT-RTX",
        }
    }

    /// The word for it in specs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Rtx => "rtx",
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.product())
    }
}

/// What made an engine, for which GPU and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// Which library made it.
    pub flavor: Flavor,
    /// The library's version, such as `8.6.0.12`.
    pub version: String,
    /// The GPU it was built on; `None` where it was built without one.
    pub gpu: Option<String>,
    /// The compute capabilities it runs on, such as `9.0`.
    pub compute_capabilities: Vec<String>,
    /// The GPUs it runs on beside those like the one it was built on.
    #[serde(default)]
    pub hardware_compatibility: HardwareCompatibility,
    /// Whether later versions of the library run it too.
    #[serde(default)]
    pub version_compatible: bool,
    /// Device memory an execution context needs beyond inputs and outputs, in bytes, where known.
    pub device_memory: Option<u64>,
    /// Bytes of the plan.
    pub plan_bytes: u64,
    /// Whether weights can be exchanged.
    pub refittable: bool,
    /// Libraries of plug-ins that the plan needs, in the order in which to load them, relative to
    /// `engine.json`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PathBuf>,
    /// The model whose weights the plan lacks and gets when it is loaded, relative to
    /// `engine.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// The ranges of the values of inputs that hold shapes, per profile; empty where none does.
    /// The manifest's own profiles say nothing of such inputs: their shapes are fixed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shape_values: Vec<Profile>,
    /// How the build went.
    pub build: BuildFacts,
    /// The engine's layers as the engine inspector describes them, in order of execution.
    pub layers: Vec<serde_json::Value>,
}

impl EngineFacts {
    /// What made it and where, such as `TensorRT 8.6.0.12 on NVIDIA H200`.
    pub fn maker(&self) -> String {
        let gpu = self.gpu.as_deref().unwrap_or("a machine without a GPU");
        format!("{} {} on {gpu}", self.flavor, self.version)
    }
}

/// How a build went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuildFacts {
    /// Seconds of the build that was kept.
    pub seconds: f64,
    /// Bytes of timing cache at its start, where one was used.
    pub timing_cache_before: Option<u64>,
    /// Bytes of timing cache at its end.
    pub timing_cache_after: Option<u64>,
    /// The median latency of each engine that was built, in milliseconds, where several were.
    pub candidates_ms: Vec<f64>,
    /// Device memory that building allocated: peak bytes.
    pub peak_device_memory: Option<u64>,
}
