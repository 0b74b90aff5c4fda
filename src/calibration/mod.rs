//! From the values that a tensor takes to the range that its quantized form represents.
//!
//! Owns statistics of values (extremes and histograms that merge exactly, in any order), the
//! published ways to choose a range, the grids of quantized types, and the text in which TensorRT
//! keeps scales. Knows nothing of models, files of samples or backends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod bins;
mod cache;
mod entropy;
mod grid;
mod histogram;
mod mse;
mod percentile;
mod statistics;

pub use cache::{CacheError, CalibrationCache};
pub use grid::{Grid, Quantizer};
pub use statistics::{Seen, Statistics};

/// How the range of a tensor follows from its values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Everything that was seen, so that nothing is clipped.
    Minmax,
    /// The range whose 128 levels lose least of the distribution of 2048 bins, by their
    /// Kullback-Leibler divergence: the method of TensorRT's entropy calibrator (S. Migacz, 8-bit
    /// Inference with TensorRT, GTC 2017).
    #[default]
    Entropy,
    /// All but the largest magnitudes, such as 0.01 % of them.
    Percentile,
    /// The range with the least mean square error of the values themselves.
    Mse,
}

impl Method {
    /// Its name in specs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minmax => "minmax",
            Self::Entropy => "entropy",
            Self::Percentile => "percentile",
            Self::Mse => "mse",
        }
    }

    /// Whether it needs to know how values are distributed, beside their extremes.
    pub fn needs_histogram(self) -> bool {
        self != Self::Minmax
    }

    /// The name under which calibration caches know it; TensorRT reads the first two of its own,
    /// and has no calibrator for mean square error.
    pub fn cache_algorithm(self) -> &'static str {
        match self {
            Self::Entropy => "EntropyCalibration2",
            Self::Minmax => "MinMaxCalibration",
            Self::Percentile => "LegacyCalibration",
            Self::Mse => "MseCalibration",
        }
    }
}

/// The values that a quantized tensor represents without clipping.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The smallest.
    pub min: f32,
    /// The largest.
    pub max: f32,
}

impl Range {
    /// The largest magnitude.
    pub fn magnitude(self) -> f32 {
        self.min.abs().max(self.max.abs())
    }

    /// The part of it within a magnitude.
    #[must_use]
    pub fn within(self, magnitude: f32) -> Self {
        let magnitude = magnitude.abs();
        Self { min: self.min.max(-magnitude), max: self.max.min(magnitude) }
    }
}

/// How a range is to be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// By which method.
    pub method: Method,
    /// For [`Method::Percentile`]: the share of magnitudes to represent, in percent.
    pub percentile: f64,
    /// For [`Method::Mse`]: the grid to round to.
    pub grid: Grid,
}

impl Choice {
    /// The range to represent; `None` where no finite value was seen.
    pub fn range(&self, statistics: &Statistics) -> Option<Range> {
        let seen = statistics.range()?;
        let Some(histogram) = statistics.histogram() else { return Some(seen) };
        let largest = seen.magnitude();
        let magnitude = match self.method {
            Method::Minmax => None,
            Method::Entropy => entropy::magnitude(histogram, largest),
            Method::Percentile => percentile::magnitude(histogram, largest, self.percentile),
            Method::Mse => mse::magnitude(histogram, largest, self.grid),
        };
        Some(magnitude.map_or(seen, |magnitude| seen.within(magnitude)))
    }
}
