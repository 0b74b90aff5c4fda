//! What a calibration found and did: `calibrate.json`, and a summary for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::calibration::{Grid, Method, Quantizer};
use crate::onnx::quantize::{Decision, Placement, QuantizedWeight};
use crate::stage::kept::{self, counted};

use super::ranges::{Found, Ranges};
use super::settings::Calibrate;

/// The file beside the model.
pub(super) const FILE: &str = "calibrate.json";

/// What is written beside the model, as [`FILE`].
#[derive(Debug, Serialize)]
pub(super) struct Report {
    format: u32,
    dtype: Grid,
    method: Method,
    /// Samples that were looked at; none where all ranges come from a cache.
    samples: Option<usize>,
    batch: Option<usize>,
    activations: Vec<Activation>,
    weights: Vec<QuantizedWeight>,
    nodes: Vec<Decision>,
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Activation {
    tensor: String,
    #[serde(flatten)]
    found: Found,
    #[serde(flatten)]
    quantizer: Quantizer,
}

impl Report {
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
            if let Some(seen) = activation.found.seen
                && seen.magnitude() == 0.0
            {
                notes.push(format!(
                    "`{}` is zero in every sample: its scale means nothing, and other values will \
                     be clipped",
                    activation.tensor
                ));
            }
        }
        for weight in weights.iter().filter(|weight| weight.zero_channels == weight.scales) {
            notes.push(format!("the weights `{}` are all zero", weight.tensor));
        }
        if activations.is_empty() {
            notes.push("nothing was quantized: `nodes` in calibrate.json tells why".to_owned());
        }
        Self {
            format: 1,
            dtype: settings.dtype.value,
            method: settings.method.value,
            samples: ranges.observed.map(|observed| observed.samples),
            batch: ranges.observed.map(|observed| observed.batch),
            activations,
            weights,
            nodes: placement.decisions.clone(),
            notes,
        }
    }

    /// A few lines for people.
    pub(super) fn summary(&self) -> String {
        let mut text = format!("{} by {}", self.dtype.name(), self.method.name());
        match (self.samples, self.batch) {
            (Some(samples), Some(batch)) => {
                let _ = write!(text, " over {samples} samples in batches of {batch}");
            }
            _ => text.push_str(", ranges from the cache"),
        }
        let _ = writeln!(
            text,
            ": {}, {}",
            counted(self.activations.len(), "activation"),
            counted(self.weights.len(), "weight")
        );
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
        for line in kept::lines(kept, FILE) {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}
