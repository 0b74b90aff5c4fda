//! [`Options`]: settings of a build that only TensorRT has.

use serde::{Deserialize, Serialize};

/// Settings of a build that only TensorRT has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// The compute capabilities to build for.
    pub compute_capabilities: Vec<String>,
}
