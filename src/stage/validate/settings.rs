//! The settings of `validate`: what to run, on what, and the limits.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::RawArray;
use crate::source::Spanned;
use crate::stage::assess::Accuracy;
use crate::stage::{FileRef, FromRef};

/// Runs an engine or model over data and holds it to limits: difference to a reference, accuracy
/// on labels, latency. A broken limit fails the run with exit status 4; the report says by how
/// much and where.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    /// What is tested: a stage that makes an engine or a model, or
    /// `{ file: path, kind: model | engine }`.
    pub from: Spanned<FromRef>,
    /// What it is compared with: a stage that makes a model or an engine, an `.onnx` file, or a
    /// data file that holds recorded outputs (arrays named as the outputs).
    #[serde(default)]
    pub reference: Option<Spanned<FileRef>>,
    /// What runs models (not engines) here.
    #[serde(default)]
    pub reference_backend: Spanned<ReferenceBackend>,
    /// The samples: an `.npz` file, an `.npy` file, or a folder of `.npy` or raw files. Arrays are
    /// named as the model's inputs; axis 0 counts the samples.
    pub data: Spanned<FileRef>,
    /// Arrays of `data` that are raw files, by name: `NAME/*.bin` with one sample each in the
    /// order of their names, or `NAME.bin` with all samples. `.raw` does as well.
    #[serde(default)]
    pub raw: IndexMap<String, RawArray>,
    /// Samples per run; less where the engine takes fewer.
    #[serde(default = "default_batch")]
    pub batch: Spanned<usize>,
    /// Limits for the difference to `reference`.
    #[serde(default)]
    pub compare: Option<Compare>,
    /// Limits for the accuracy on labels.
    #[serde(default)]
    pub accuracy: Option<Accuracy>,
    /// Limits for the time a run takes.
    #[serde(default)]
    pub latency: Option<Latency>,
}

pub(super) fn default_batch() -> Spanned<usize> {
    Spanned::unplaced(32)
}

/// What runs models that are not compiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReferenceBackend {
    /// The embedded CPU backend.
    #[default]
    Cpu,
    /// ONNX Runtime, where it is installed: faster, and with nearly every operator.
    Onnxruntime,
}

impl ReferenceBackend {
    /// The backend's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Onnxruntime => "onnxruntime",
        }
    }
}

/// Declares a struct of limits, so that those for all outputs and those for one are the same.
macro_rules! limits {
    ($(#[$meta:meta])* $name:ident { $($(#[$extra_meta:meta])* $extra:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// At most this absolute difference, over all elements of all samples.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub max_abs: Option<Spanned<f64>>,
            /// At most this largest absolute difference, as a fraction of the reference's
            /// largest absolute value.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub max_relative_error: Option<Spanned<f64>>,
            /// At most this difference of one element as a fraction of that element, over the
            /// elements whose reference is above `floor`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub max_elementwise_relative: Option<Spanned<f64>>,
            /// Elements whose reference is at most this (absolutely) do not count for
            /// `max_elementwise_relative`; 0 by default.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub floor: Option<Spanned<f64>>,
            /// At most this mean absolute difference.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub mean_abs: Option<Spanned<f64>>,
            /// At most this root mean square difference.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub rmse: Option<Spanned<f64>>,
            /// At least this cosine similarity, -1 to 1.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub cosine: Option<Spanned<f64>>,
            /// At least this signal-to-noise ratio, in dB.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub snr_db: Option<Spanned<f64>>,
            $($(#[$extra_meta])* pub $extra: $type,)*
        }
    };
}

limits! {
    /// Limits for the difference of one output to the reference.
    Limits {}
}

limits! {
    /// Limits for the difference to the reference, for every output.
    Compare {
        /// Limits for single outputs, by name; they go before the common ones.
        #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
        outputs: IndexMap<String, Limits>,
    }
}

impl Limits {
    /// The limits that are set, with their names.
    pub fn set(&self) -> impl Iterator<Item = (&'static str, &Spanned<f64>)> {
        [
            ("max_abs", &self.max_abs),
            ("max_relative_error", &self.max_relative_error),
            ("max_elementwise_relative", &self.max_elementwise_relative),
            ("mean_abs", &self.mean_abs),
            ("rmse", &self.rmse),
            ("cosine", &self.cosine),
            ("snr_db", &self.snr_db),
        ]
        .into_iter()
        .filter_map(|(name, limit)| Some((name, limit.as_ref()?)))
    }
}

impl Compare {
    /// The limits for every output.
    pub fn common(&self) -> Limits {
        Limits {
            max_abs: self.max_abs,
            max_relative_error: self.max_relative_error,
            max_elementwise_relative: self.max_elementwise_relative,
            floor: self.floor,
            mean_abs: self.mean_abs,
            rmse: self.rmse,
            cosine: self.cosine,
            snr_db: self.snr_db,
        }
    }

    /// The limits for one output.
    pub fn of_output(&self, name: &str) -> Limits {
        let common = self.common();
        let Some(own) = self.outputs.get(name) else { return common };
        Limits {
            max_abs: own.max_abs.or(common.max_abs),
            max_relative_error: own.max_relative_error.or(common.max_relative_error),
            max_elementwise_relative: own
                .max_elementwise_relative
                .or(common.max_elementwise_relative),
            floor: own.floor.or(common.floor),
            mean_abs: own.mean_abs.or(common.mean_abs),
            rmse: own.rmse.or(common.rmse),
            cosine: own.cosine.or(common.cosine),
            snr_db: own.snr_db.or(common.snr_db),
        }
    }
}

/// Limits for the time of one run, measured on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Samples per measured run.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(extend("default" = one()))]
    pub batch: Spanned<usize>,
    /// Runs before the measurement starts.
    #[serde(default = "default_warmup", skip_serializing_if = "is_default_warmup")]
    #[schemars(extend("default" = default_warmup()))]
    pub warmup: Spanned<usize>,
    /// Measured runs.
    #[serde(default = "default_runs", skip_serializing_if = "is_default_runs")]
    #[schemars(extend("default" = default_runs()))]
    pub runs: Spanned<usize>,
    /// Half of the runs take at most this many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<Spanned<f64>>,
    /// 95 % of the runs take at most this many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<Spanned<f64>>,
    /// 99 % of the runs take at most this many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<Spanned<f64>>,
    /// At least this many samples per second, one run after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_throughput: Option<Spanned<f64>>,
    /// The engine must not be slower than this one: a stage that makes an engine, or
    /// `{ file: path, kind: engine }`. Both run the same samples in turns, in up to 20 blocks; the
    /// median ratio of their times must not be above 1 by more than the measurement's noise.
    #[serde(default, skip_serializing)]
    pub at_least_as_fast_as: Option<Spanned<FromRef>>,
    /// What to do where the measured times spread too much to be trusted.
    #[serde(default, skip_serializing_if = "Spanned::is_default")]
    #[schemars(extend("default" = OnNoise::default()))]
    pub on_noise: Spanned<OnNoise>,
}

impl Latency {
    /// The limits on percentiles: name, percentile, limit in milliseconds.
    pub fn percentiles(&self) -> impl Iterator<Item = (&'static str, f64, &Spanned<f64>)> {
        [
            ("p50_ms", 50.0, &self.p50_ms),
            ("p95_ms", 95.0, &self.p95_ms),
            ("p99_ms", 99.0, &self.p99_ms),
        ]
        .into_iter()
        .filter_map(|(name, percent, limit)| Some((name, percent, limit.as_ref()?)))
    }

    /// Whether anything is limited.
    pub fn sets_limit(&self) -> bool {
        self.percentiles().next().is_some()
            || self.min_throughput.is_some()
            || self.at_least_as_fast_as.is_some()
    }
}

/// What to do where measured times spread too much to be trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnNoise {
    /// Say so and judge by the times as they are.
    #[default]
    Warn,
    /// Fail.
    Fail,
}

fn one() -> Spanned<usize> {
    Spanned::unplaced(1)
}

fn default_warmup() -> Spanned<usize> {
    Spanned::unplaced(10)
}

fn default_runs() -> Spanned<usize> {
    Spanned::unplaced(100)
}

fn is_one(value: &Spanned<usize>) -> bool {
    *value == one()
}

fn is_default_warmup(value: &Spanned<usize>) -> bool {
    *value == default_warmup()
}

fn is_default_runs(value: &Spanned<usize>) -> bool {
    *value == default_runs()
}
