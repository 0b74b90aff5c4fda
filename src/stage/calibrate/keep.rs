//! Quantizing with some nodes kept, and the search for those that must be.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::artifact::{Digest, Fingerprint};
use crate::backend;
use crate::calibration::Quantizer;
use crate::onnx::Model;
use crate::onnx::quantize::{Placement, QuantizedWeight, insert};
use crate::stage::search::{self, Outcome, Search, Task};
use crate::stage::{Stage, StageContext, StageError};

use super::ranges::{Ranges, Source};
use super::settings::Calibrate;

/// What quantizing came to.
pub(super) struct Quantized {
    pub(super) model: Model,
    pub(super) placement: Placement,
    pub(super) quantizers: BTreeMap<String, Quantizer>,
    pub(super) weights: Vec<QuantizedWeight>,
}

/// Where quantization goes with these nodes kept; finds the ranges that this needs.
fn place(
    settings: &Calibrate,
    cx: &StageContext<'_>,
    source: Source<'_>,
    kept: &[&str],
    ranges: &mut Ranges,
) -> Result<Placement, StageError> {
    let (model, _) = source;
    let mut placement = Placement::find(model, &settings.rules(kept))?;
    ranges.complete(settings, cx, source, &placement)?;
    for (tensor, dtype) in &ranges.others {
        placement.without(model, tensor, &format!("`{tensor}` is {dtype}, not float32"));
    }
    for (tensor, magnitude) in too_small(settings, &placement, ranges) {
        let reason = format!("`{tensor}` stays within {magnitude:e}, too small for a scale");
        placement.without(model, &tensor, &reason);
    }
    if cx.cancel.is_cancelled() {
        return Err(StageError::Cancelled);
    }
    Ok(placement)
}

/// The activations that are not zero, but have a range without a scale.
fn too_small(settings: &Calibrate, placement: &Placement, ranges: &Ranges) -> Vec<(String, f32)> {
    let magnitude = |tensor: &String| {
        let magnitude = ranges.by_tensor.get(placement.source(tensor))?.range.magnitude();
        Some((tensor.clone(), magnitude))
    };
    let found = placement.activations.keys().filter_map(magnitude);
    let grid = settings.dtype.value;
    found.filter(|(_, magnitude)| *magnitude > 0.0 && grid.vanishes(*magnitude)).collect()
}

/// Quantizes all of a model but these nodes and those of `skip`.
pub(super) fn quantize(
    settings: &Calibrate,
    cx: &StageContext<'_>,
    source: Source<'_>,
    kept: &[&str],
    ranges: &mut Ranges,
) -> Result<Quantized, StageError> {
    let mut placement = place(settings, cx, source, kept, ranges)?;
    let mut model = source.0.clone();
    let quantizers = settings.quantizers(&placement, ranges);
    let weights = insert(&mut model, &placement, &quantizers, settings.dtype.value)?;
    // What the rewriting breaks must not leave this stage.
    model.check()?;
    for decision in &mut placement.decisions {
        if kept.contains(&decision.node.as_str()) {
            "`search` keeps it".clone_into(&mut decision.reason);
        }
    }
    Ok(Quantized { model, placement, quantizers, weights })
}

/// Finds the nodes that must be kept for the objective of the search.
pub(super) fn search(
    settings: &Calibrate,
    search: &Search,
    cx: &StageContext<'_>,
    source: Source<'_>,
    ranges: &mut Ranges,
) -> Result<Outcome, StageError> {
    let candidates = place(settings, cx, source, &[], ranges)?.quantized_layers(source.0);
    let backend = backend::by_name(settings.backend.name())?;
    let ranges = RefCell::new(ranges);
    let task = Task {
        settings: search,
        backend,
        model: source.1,
        candidates: &candidates,
        make: &|kept, folder| {
            let quantized = quantize(settings, cx, source, kept, &mut ranges.borrow_mut())?;
            Ok(quantized.model.save(folder)?)
        },
        effect: &|kept| {
            let placement = place(settings, cx, source, kept, &mut ranges.borrow_mut())?;
            Ok(Digest::of(placement.places().to_string().as_bytes()))
        },
        made_of: Fingerprint {
            inputs: cx.inputs.iter().map(|(role, input)| (role.clone(), input.digest)).collect(),
            kind: settings.kind().to_owned(),
            settings: Calibrate { search: None, ..settings.clone() }.settings(),
            tools: backend.tools(&backend::tensorrt::Options::default())?,
            version: settings.version(),
        },
        list: "skip",
        lowered: "quantized",
        out_of_reach: search::LOWER_IT,
    };
    search::run(&task, cx)
}
