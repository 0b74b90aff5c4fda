//! [`Options`]: what a build asks of TensorRT beyond a model and its profiles.
//!
//! Plain values that cross to the compiling process as JSON, spelled as in specs. Owns what can be
//! said of them without a library ([`Options::contradictions`]) and of a library without calling
//! it ([`Options::unsupported`]). Paths are absolute here; resolving them is the stage's business.

use std::collections::BTreeSet;
use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backend::BackendError;
use crate::data::RawArray;

mod availability;
mod bytes;
mod choices;
mod contradictions;
mod settings;
#[cfg(test)]
mod tests;

pub use bytes::{ByteSize, InvalidByteSize};
pub use choices::{
    Calibrator, ComputeCapability, HardwareCompatibility, LayerPrecision, MessageLevel, Precision,
    PrecisionConstraints, ProfilingVerbosity, Refit, TacticSource, Tiling,
};
pub use settings::{PreviewFeatures, Settings};

/// Settings under `tensorrt` that cannot change the engine: the library found is in the key as a
/// tool, and the others change how long a build takes or what it says.
const NOT_IN_KEY: [&str; 5] = ["flavor", "version", "library", "timing_cache", "message_level"];

/// What a build asks of TensorRT beyond a model and its profiles.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The GPU architectures to build for; empty means the GPU of this machine.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub compute_capabilities: BTreeSet<ComputeCapability>,
    /// The precisions that layers may be lowered to, where the library decides that.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub precision: BTreeSet<Precision>,
    /// How INT8 ranges are found, where the library does that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int8: Option<Calibration>,
    /// Everything else.
    #[serde(rename = "tensorrt")]
    pub settings: Settings,
}

/// How INT8 ranges are found from samples. Where the samples are is in [`Files`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The way of choosing a range.
    pub calibrator: Calibrator,
    /// Samples in a batch; `None` means as the first profile's `opt`, or the model itself, says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Arrays of the data that are raw files.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub raw: IndexMap<String, RawArray>,
}

/// Files that a build reads beside the model, resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The samples for calibration.
    pub calibration_data: Option<PathBuf>,
    /// A calibration cache of TensorRT, which makes the samples unnecessary where it fits.
    pub calibration_cache: Option<PathBuf>,
    /// Libraries of plug-ins, in the order in which to load them.
    pub plugins: Vec<PathBuf>,
}

/// A setting that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The setting as specs write it, such as `tensorrt.tf32`.
    pub setting: &'static str,
    /// Why it cannot be had.
    pub reason: String,
    /// What to change.
    pub help: String,
}

impl From<SettingError> for BackendError {
    fn from(error: SettingError) -> Self {
        Self::Setting { setting: error.setting.to_owned(), reason: error.reason, help: error.help }
    }
}

impl Options {
    /// What of it can change the engine, without what is at its default: its part of the cache
    /// key.
    pub fn key_settings(&self) -> serde_json::Map<String, Value> {
        let mut options = self.as_written();
        if let Some(Value::Object(settings)) = options.get_mut("tensorrt") {
            settings.retain(|name, value| {
                !NOT_IN_KEY.contains(&name.as_str()) && !is_library_default(name, value)
            });
            if settings.is_empty() {
                options.remove("tensorrt");
            }
        }
        options
    }

    /// The settings as specs write them, without those at their default.
    fn as_written(&self) -> serde_json::Map<String, Value> {
        match serde_json::json!(self) {
            Value::Object(map) => map,
            _ => serde_json::Map::new(),
        }
    }
}

/// Whether a setting that is optional, because TensorRT has a default of its own, says just that.
fn is_library_default(name: &str, value: &Value) -> bool {
    match name {
        "tf32" => *value == true,
        "optimization_level" => *value == 3,
        "avg_timing_iterations" => *value == 1,
        _ => false,
    }
}
