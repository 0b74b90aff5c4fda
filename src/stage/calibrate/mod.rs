//! `calibrate`: writes the ranges that samples have into a model, as explicit quantization.
//!
//! Owns the settings and the order of steps. Where quantization goes is `onnx::quantize`, how a
//! range is chosen is `calibration`, how a model is run over samples is `observe`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::artifact::ArtifactKind;
use crate::backend::{self, tensorrt};
use crate::calibration::{CalibrationCache, Choice, Grid, Quantizer};
use crate::onnx::quantize::{Placement, Rules};
use crate::onnx::{self, Model, NodePatterns};

use super::convert::write_json;
use super::search::Search;
use super::{
    Accepts, CheckContext, FromRef, Input, Listing, Problem, Stage, StageContext, StageError,
    ToolProbe,
};

mod check;
mod keep;
mod ranges;
mod report;
mod settings;

pub use report::Report;
pub use settings::{Calibrate, EndLayer};

use keep::Quantized;
use ranges::Ranges;

/// The calibration cache's file.
const CACHE: &str = "calibration.cache";

/// The version that caches are written for: TensorRT's own check of it is a warning.
const CACHE_VERSION: u32 = 8600;

/// What percentile ranges leave out by default is one value in ten thousand.
const PERCENTILE: f64 = 99.99;

impl Calibrate {
    fn choice(&self) -> Choice {
        Choice {
            method: self.method.value,
            percentile: self.percentile.as_ref().map_or(PERCENTILE, |percentile| percentile.value),
            grid: self.dtype.value,
        }
    }

    /// What to quantize, but for some nodes that are kept.
    fn rules(&self, kept: &[&str]) -> Rules {
        let skip = self.skip.iter().map(|pattern| pattern.value.as_str());
        Rules {
            grid: self.dtype.value,
            min_channels: self.min_channels.value,
            per_channel: self.per_channel.value,
            skip: NodePatterns::new(skip.chain(kept.iter().copied()).map(str::to_owned)),
            keeps_first: self.first_layer.value == EndLayer::Keep,
            keeps_last: self.last_layer.value == EndLayer::Keep,
        }
    }

    fn quantizer(&self, range: crate::calibration::Range) -> Quantizer {
        if self.symmetric.value {
            Quantizer::symmetric(self.dtype.value, range.magnitude())
        } else {
            Quantizer::asymmetric(range)
        }
    }

    /// Scale and zero point of every activation.
    fn quantizers(&self, placement: &Placement, ranges: &Ranges) -> BTreeMap<String, Quantizer> {
        let quantizer = |tensor: &String| {
            let found = ranges.by_tensor.get(placement.source(tensor))?;
            Some((tensor.clone(), self.quantizer(found.range)))
        };
        placement.activations.keys().filter_map(quantizer).collect()
    }

    /// A pattern that chooses nothing is a slip.
    fn check_skip(&self, model: &Model) -> Result<(), StageError> {
        let patterns = self.rules(&[]).skip;
        let Some((at, help)) = patterns.slip(&model.graph) else { return Ok(()) };
        let pattern = &self.skip[at];
        let message = format!("`{pattern}` is no operator and no node of the model");
        Err(StageError::Setting { message, span: pattern.span, help: Some(help) })
    }

    /// The first opset that has what is inserted.
    fn least_opset(&self) -> i64 {
        match self.dtype.value {
            Grid::Int8 => 13,
            Grid::Fp8E4m3 => 19,
        }
    }
}

impl Stage for Calibrate {
    fn kind(&self) -> &'static str {
        "calibrate"
    }

    fn version(&self) -> u32 {
        // 2: smaller batches, in which kernels may add up in another order. 3: the report names the
        // cache's algorithm, and samples that are too few. 4: what is too small for a scale is left.
        4
    }

    fn makes(&self) -> ArtifactKind {
        ArtifactKind::Model
    }

    fn inputs(&self) -> Vec<Input> {
        let from = Input::new("from", FromRef::reference(&self.from), Accepts::Model);
        let files = [("data", &self.data), ("cache", &self.cache)].into_iter();
        let files = files.filter_map(|(role, file)| Some(Input::data(role, file.as_ref()?)));
        let search = self.search.iter().flat_map(Search::inputs);
        std::iter::once(from).chain(files).chain(search).collect()
    }

    fn settings(&self) -> Value {
        let mut settings = serde_json::Map::new();
        let mut set = |name: &str, is_default: bool, value: Value| {
            if !is_default {
                settings.insert(name.to_owned(), value);
            }
        };
        set("method", self.method.is_default(), json!(self.method));
        set("percentile", self.percentile.is_none(), json!(self.percentile));
        set("dtype", self.dtype.is_default(), json!(self.dtype));
        set("symmetric", self.symmetric.value, json!(self.symmetric));
        set("per_channel", self.per_channel.value, json!(self.per_channel));
        set("skip", self.skip.is_empty(), json!(self.skip));
        set("min_channels", self.min_channels == settings::sixteen(), json!(self.min_channels));
        set("first_layer", self.first_layer.is_default(), json!(self.first_layer));
        set("last_layer", self.last_layer.is_default(), json!(self.last_layer));
        set("search", self.search.is_none(), json!(self.search));
        set("backend", self.backend.is_default(), json!(self.backend));
        set("batch", self.batch.is_none(), json!(self.batch));
        set("samples", self.samples.is_none(), json!(self.samples));
        set("raw", self.raw.is_empty(), json!(self.raw));
        settings.into()
    }

    fn tools(&self, _probe: &dyn ToolProbe) -> Result<BTreeMap<String, String>, StageError> {
        if self.data.is_none() && self.search.is_none() {
            return Ok(BTreeMap::new());
        }
        Ok(backend::by_name(self.backend.name())?.tools(&tensorrt::Options::default())?)
    }

    /// Kernels add up in another order on another processor: what is seen in samples differs in
    /// the last bit there, and so do scales.
    fn deterministic(&self, _tools: &BTreeMap<String, String>) -> bool {
        self.data.is_none() && self.search.is_none()
    }

    fn keeps_signature_of(&self) -> Option<&'static str> {
        Some("from")
    }

    fn check(&self, cx: &CheckContext<'_>) -> Vec<Problem> {
        check::problems(self, cx)
    }

    fn run(&self, cx: &StageContext<'_>) -> Result<(), StageError> {
        cx.progress.report("checking", 0, None);
        let mut model = Model::load(&onnx::locate(&cx.input("from")?.path)?)?;
        model.check()?;
        self.check_skip(&model)?;
        let mut file = model.path().to_owned();
        if model.opset().is_some_and(|opset| opset < self.least_opset()) {
            model.raise_opset(self.least_opset())?;
            model.save(cx.scratch)?;
            file = onnx::locate(cx.scratch)?;
        }
        let source = (&model, file.as_path());
        let mut ranges = Ranges::default();
        let searched = match &self.search {
            Some(search) => Some(keep::search(self, search, cx, source, &mut ranges)?),
            None => None,
        };
        let kept = searched.iter().flat_map(|outcome| &outcome.kept).map(String::as_str);
        let kept: Vec<&str> = kept.collect();
        cx.progress.report("quantizing", 0, None);
        let Quantized { model, placement, quantizers, weights } =
            keep::quantize(self, cx, source, &kept, &mut ranges)?;
        cx.progress.report("writing", 0, None);
        model.save(cx.out)?;
        let report = Report::new(self, &placement, &ranges, &quantizers, weights);
        for note in &report.notes {
            tracing::warn!(stage = cx.name, "{note}");
        }
        let searched = searched.map_or(String::new(), |outcome| outcome.summary);
        cx.progress.summary(&format!("{}{searched}", report.summary(Listing::Short)));
        write_json(&cx.out.join(Report::FILE), &report)?;
        let cache = CalibrationCache {
            version: CACHE_VERSION,
            algorithm: self.method.cache_algorithm().to_owned(),
            scales: placement
                .activations
                .keys()
                .filter_map(|tensor| {
                    let source = placement.source(tensor);
                    let magnitude = ranges.by_tensor.get(source)?.range.magnitude();
                    Some((tensor.clone(), Quantizer::symmetric(Grid::Int8, magnitude).scale))
                })
                .collect(),
        };
        let path = cx.out.join(CACHE);
        std::fs::write(&path, cache.to_string()).map_err(StageError::io("write", path))
    }
}
