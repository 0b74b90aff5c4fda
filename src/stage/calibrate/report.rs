//! What a calibration found and did: `calibrate.json`, and a summary for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::calibration::{Grid, Method, Quantizer, Range};
use crate::onnx::quantize::{Decision, Placement, QuantizedWeight};
use crate::stage::kept::{self, Listing, counted};

use super::ranges::{Found, Origin, Ranges};
use super::settings::Calibrate;

/// Ranges of fewer samples than this are not to be trusted.
const FEW: usize = 32;

/// What is written beside the model, as [`Report::FILE`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    format: u32,
    dtype: Grid,
    method: Method,
    /// Samples that were looked at; none where no range is out of samples.
    samples: Option<usize>,
    batch: Option<usize>,
    /// The algorithm that the cache names, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_algorithm: Option<String>,
    /// The cache's file: under another name it is the same.
    #[serde(skip)]
    cache: Option<String>,
    activations: Vec<Activation>,
    weights: Vec<QuantizedWeight>,
    nodes: Vec<Decision>,
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Activation {
    tensor: String,
    #[serde(flatten)]
    found: Found,
    #[serde(flatten)]
    quantizer: Quantizer,
}

impl Report {
    /// The file beside the model.
    pub const FILE: &str = "calibrate.json";

    pub(super) fn new(
        settings: &Calibrate,
        placement: &Placement,
        ranges: &Ranges,
        quantizers: &BTreeMap<String, Quantizer>,
        weights: Vec<QuantizedWeight>,
    ) -> Self {
        let activations: Vec<Activation> = placement
            .activations
            .keys()
            .filter_map(|tensor| {
                let (found, quantizer) =
                    (ranges.by_tensor.get(placement.source(tensor))?, quantizers.get(tensor)?);
                Some(Activation { tensor: tensor.clone(), found: *found, quantizer: *quantizer })
            })
            .collect();
        let mut notes = Vec::new();
        for activation in &activations {
            if activation.found.range.magnitude() == 0.0 {
                let tensor = &activation.tensor;
                let found = match activation.found.seen {
                    None => format!("the calibration cache has scale 0 for `{tensor}`"),
                    Some(seen) if seen.magnitude() == 0.0 => {
                        format!("`{tensor}` is zero in every sample")
                    }
                    Some(seen) => format!(
                        "`{tensor}` has the range 0 by {}, though {:e} was seen",
                        settings.method.value.name(),
                        seen.magnitude()
                    ),
                };
                notes.push(format!(
                    "{found}: its scale means nothing, and other values will be clipped"
                ));
            }
        }
        if let Some(samples) = ranges.observed.map(|observed| observed.samples)
            && samples < FEW
        {
            notes.push(format!(
                "ranges of {} are poor: give some hundred like those in use",
                counted(samples, "sample")
            ));
        }
        for weight in weights.iter().filter(|weight| weight.zero_channels == weight.scales) {
            notes.push(format!(
                "the weights `{}` are all zero, or too small for a scale",
                weight.tensor
            ));
        }
        if activations.is_empty() {
            let is_lowered = placement.decisions.iter().any(|one| one.reason.contains("float16"));
            notes.push(if is_lowered {
                "nothing was quantized: the model is of 16 bits; calibrate it in float32, then lower \
                 what is left, with `optimize: { precision: fp16 }`"
                    .to_owned()
            } else {
                "nothing was quantized: `nodes` in calibrate.json tells why".to_owned()
            });
        }
        Self {
            format: 1,
            dtype: settings.dtype.value,
            method: settings.method.value,
            samples: ranges.observed.map(|observed| observed.samples),
            batch: ranges.observed.map(|observed| observed.batch),
            cache_algorithm: ranges.algorithm.clone(),
            cache: settings.cache.as_ref().map(ToString::to_string),
            activations,
            weights,
            nodes: placement.decisions.clone(),
            notes,
        }
    }

    /// What was quantized, and where its ranges come from.
    fn head(&self) -> String {
        let cached = self.activations.iter().filter(|one| one.found.from == Origin::Cache).count();
        let dtype = self.dtype.name();
        let counts = format!(
            "{}, {}",
            counted(self.activations.len(), "activation"),
            counted(self.weights.len(), "weight")
        );
        let samples = self.samples.zip(self.batch).map(|(samples, batch)| {
            let method = self.method.name();
            format!("by {method} over {} in batches of {batch}", counted(samples, "sample"))
        });
        match (cached, samples) {
            (0, Some(samples)) => format!("{dtype} {samples}: {counts}"),
            (0, None) => format!("{dtype}: {counts}"),
            (cached, samples) => {
                let file = self.cache.as_ref().map_or(String::new(), |file| format!(" {file}"));
                let algorithm =
                    self.cache_algorithm.as_deref().unwrap_or("of an unknown algorithm");
                let others = samples.map_or(String::new(), |samples| {
                    format!(", {} {samples}", self.activations.len() - cached)
                });
                format!(
                    "{dtype}: {counts}; ranges: {cached} from the cache{file} ({algorithm}){others}"
                )
            }
        }
    }

    /// Every activation with the values that it represents and its scale.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (&str, Range, Quantizer)> {
        self.activations.iter().map(|one| (one.tensor.as_str(), one.found.range, one.quantizer))
    }

    /// A few lines for people.
    pub fn summary(&self, listing: Listing) -> String {
        let mut text = self.head() + "\n";
        // By operator: quantized, and all that could be.
        let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for node in &self.nodes {
            let count = counts.entry(&node.op).or_default();
            count.0 += usize::from(node.quantized);
            count.1 += 1;
        }
        let width = counts.keys().map(|op| op.len()).max().unwrap_or(0);
        for (op, (quantized, all)) in counts {
            let _ = writeln!(text, "{op:width$}  {quantized} of {all} quantized");
        }
        let kept = self.nodes.iter().filter(|node| !node.quantized);
        let kept = kept.map(|node| (node.node.as_str(), node.op.as_str(), node.reason.as_str()));
        for line in kept::lines(kept, Self::FILE, listing) {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report of as many activations with ranges out of a cache, and out of samples.
    fn report(cached: usize, seen: usize) -> Report {
        let range = Range { min: -1.0, max: 1.0 };
        let activation = |from| Activation {
            tensor: "x".to_owned(),
            found: Found { range, seen: None, from },
            quantizer: Quantizer::symmetric(Grid::Int8, 1.0),
        };
        let origins = [(Origin::Cache, cached), (Origin::Data, seen)];
        let activations = origins.map(|(from, count)| (0..count).map(move |_| activation(from)));
        Report {
            format: 1,
            dtype: Grid::Int8,
            method: Method::Minmax,
            samples: (seen > 0).then_some(128),
            batch: (seen > 0).then_some(8),
            cache_algorithm: Some("EntropyCalibration2".to_owned()),
            cache: Some("my.cache".to_owned()),
            activations: activations.into_iter().flatten().collect(),
            weights: Vec::new(),
            nodes: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn people_are_told_where_ranges_come_from() {
        let heads =
            [(0, 2), (2, 0), (2, 1), (0, 0)].map(|(cached, seen)| report(cached, seen).head());
        assert_eq!(
            heads,
            [
                "int8 by minmax over 128 samples in batches of 8: 2 activations, 0 weights",
                "int8: 2 activations, 0 weights; ranges: 2 from the cache my.cache \
                 (EntropyCalibration2)",
                "int8: 3 activations, 0 weights; ranges: 2 from the cache my.cache \
                 (EntropyCalibration2), 1 by minmax over 128 samples in batches of 8",
                "int8: 0 activations, 0 weights",
            ]
        );
    }
}
