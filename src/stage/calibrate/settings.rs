//! The settings of `calibrate`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calibration::{Grid, Method};
use crate::data::RawArray;
use crate::source::Spanned;
use crate::stage::search::Search;
use crate::stage::validate::ReferenceBackend;
use crate::stage::{FileRef, FromRef};

/// Quantizes a model: finds the range of every tensor that matters from real samples, and writes
/// it into the model as `QuantizeLinear` and `DequantizeLinear` pairs, placed where TensorRT fuses
/// them. Every TensorRT from 8.6 on builds such a model; no calibrator is needed there.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibrate {
    /// The model: the name of a stage that makes one, or `{ file: model.onnx, kind: model }`. In
    /// float32; give it to `optimize` first, which folds what stands between layers.
    pub from: Spanned<FromRef>,
    /// Real samples, some hundred like those in use: an `.npz` file, an `.npy` file, or a folder of
    /// `.npy` or raw files. Arrays are named as the model's inputs; axis 0 counts the samples.
    #[serde(default)]
    pub data: Option<Spanned<FileRef>>,
    /// Arrays of `data` that are raw files, by name: `NAME/*.bin` with one sample each in the
    /// order of their names, or `NAME.bin` with all samples. `.raw` does as well.
    #[serde(default)]
    pub raw: IndexMap<String, RawArray>,
    /// A calibration cache, as TensorRT or this stage writes it. What it has a scale for is not
    /// looked at in `data`, which is then needed only for the rest.
    #[serde(default)]
    pub cache: Option<Spanned<FileRef>>,
    /// How a range follows from the values seen.
    #[serde(default)]
    pub method: Spanned<Method>,
    /// For the method `percentile`: the share of values to represent, in percent; 99.99 by default.
    #[serde(default)]
    pub percentile: Option<Spanned<f64>>,
    /// The type to quantize to. `fp8_e4m3` needs a GPU of compute capability 8.9 or newer.
    #[serde(default)]
    pub dtype: Spanned<Grid>,
    /// Whether zero is in the middle of every range. TensorRT takes no other; `false` gives
    /// activations a zero point, for other runtimes.
    #[serde(default = "yes")]
    pub symmetric: Spanned<bool>,
    /// Whether each output channel of the weights has a scale of its own. For `int8`; weights in
    /// `fp8_e4m3` have one scale.
    #[serde(default = "yes")]
    pub per_channel: Spanned<bool>,
    /// Nodes that stay as they are: operator types such as `MatMul`, or node names, in which `*`
    /// stands for any text.
    #[serde(default)]
    pub skip: Vec<Spanned<String>>,
    /// Layers of fewer input or output channels than this stay as they are, for they gain nothing
    /// from 8 bits; first and depthwise convolutions of 8, 16, .. channels are quantized all the
    /// same. 1, the least, quantizes every layer.
    #[serde(default = "sixteen")]
    pub min_channels: Spanned<usize>,
    /// What becomes of the first layer with weights, which often is the most sensitive one.
    #[serde(default)]
    pub first_layer: Spanned<EndLayer>,
    /// What becomes of the last layer with weights.
    #[serde(default)]
    pub last_layer: Spanned<EndLayer>,
    /// Finds a smallest set of nodes that must stay as they are, beside those of `skip`, for the
    /// quantized model to reach an objective.
    #[serde(default)]
    pub search: Option<Search>,
    /// What runs the model over the samples.
    #[serde(default)]
    pub backend: Spanned<ReferenceBackend>,
    /// Samples per run, as many as the model takes; by default as many as have a mebibyte of input,
    /// at most 8.
    #[serde(default)]
    pub batch: Option<Spanned<usize>>,
    /// At most so many samples, from the first on; all by default.
    #[serde(default)]
    pub samples: Option<Spanned<usize>>,
}

pub(super) fn yes() -> Spanned<bool> {
    Spanned::unplaced(true)
}

pub(super) fn sixteen() -> Spanned<usize> {
    Spanned::unplaced(16)
}

/// What becomes of the first or last layer with weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndLayer {
    /// It is quantized as all others.
    #[default]
    Quantize,
    /// It keeps its precision.
    Keep,
}
