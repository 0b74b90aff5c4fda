//! The range of every tensor that is quantized: from a calibration cache, or out of samples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::backend;
use crate::calibration::{CalibrationCache, Choice, Grid, Range, Statistics};
use crate::data::Dataset;
use crate::onnx::Model;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::quantize::Placement;
use crate::stage::observe::{Observation, Observed, Visitor};
use crate::stage::{StageContext, StageError};
use crate::tensor::{DType, TensorSpec, to_f64};

use super::settings::Calibrate;

/// Where a range comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Origin {
    Data,
    Cache,
}

/// The range of one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Found {
    /// The values to represent.
    pub(super) range: Range,
    /// The values that were seen; `None` where the range comes from a cache.
    pub(super) seen: Option<Range>,
    pub(super) from: Origin,
}

/// A model, and the file that has what is in it.
pub(super) type Source<'a> = (&'a Model, &'a Path);

/// What is known of the tensors.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    pub(super) by_tensor: BTreeMap<String, Found>,
    /// Tensors that are no float32, and what they are.
    pub(super) others: BTreeMap<String, DType>,
    pub(super) observed: Option<Observed>,
    /// The algorithm that the cache names, where there is one.
    pub(super) algorithm: Option<String>,
    /// The tensors that were looked for.
    asked: BTreeSet<String>,
}

impl Ranges {
    /// Finds what a placement needs beside what is known.
    pub(super) fn complete(
        &mut self,
        settings: &Calibrate,
        cx: &StageContext<'_>,
        source: Source<'_>,
        placement: &Placement,
    ) -> Result<(), StageError> {
        let mut sources = placement.activations.keys().map(|tensor| placement.source(tensor));
        if sources.all(|tensor| self.asked.contains(tensor)) {
            return Ok(());
        }
        let more = find(settings, cx, source, placement)?;
        self.by_tensor.extend(more.by_tensor);
        self.others.extend(more.others);
        self.asked.extend(more.asked);
        self.observed = self.observed.or(more.observed);
        self.algorithm = self.algorithm.take().or(more.algorithm);
        Ok(())
    }
}

/// Finds the range of every activation of a placement.
fn find(
    settings: &Calibrate,
    cx: &StageContext<'_>,
    (model, file): Source<'_>,
    placement: &Placement,
) -> Result<Ranges, StageError> {
    let mut ranges = Ranges::default();
    let own = |tensor: &&String| placement.source(tensor) == tensor.as_str();
    let mut wanted: Vec<String> = placement.activations.keys().filter(own).cloned().collect();
    ranges.asked.extend(wanted.iter().cloned());
    if settings.cache.is_some() {
        let cache = CalibrationCache::read(&cx.input("cache")?.path)
            .map_err(|error| settings.cache_error(error.to_string(), error.help()))?;
        take_cached(settings, &cache, &mut wanted, &mut ranges)?;
        ranges.algorithm = Some(cache.algorithm);
    }
    if !wanted.is_empty() {
        let data = Dataset::open(&cx.input("data")?.path, &settings.raw)?;
        observe(settings, cx, (model, file), &wanted, &data, &mut ranges)?;
    }
    Ok(ranges)
}

fn take_cached(
    settings: &Calibrate,
    cache: &CalibrationCache,
    wanted: &mut Vec<String>,
    ranges: &mut Ranges,
) -> Result<(), StageError> {
    let asked = wanted.len();
    if let Some((tensor, scale)) = cache.scales.iter().find(|(_, scale)| **scale < 0.0) {
        let message = format!("the scale of `{tensor}` in the calibration cache is {scale}");
        return Err(settings.cache_error(message, Some("calibrate anew, with `data`")));
    }
    wanted.retain(|tensor| {
        let Some(scale) = cache.scales.get(tensor) else { return true };
        let magnitude = (scale * Grid::Int8.largest()).min(f32::MAX);
        let range = Range { min: -magnitude, max: magnitude };
        let found = Found { range, seen: None, from: Origin::Cache };
        ranges.by_tensor.insert(tensor.clone(), found);
        false
    });
    let Some(missing) = wanted.first() else { return Ok(()) };
    if wanted.len() == asked {
        let message = format!(
            "the calibration cache was made for another network: it has no scale for any of the \
             {asked} tensors to quantize, such as `{missing}`"
        );
        return Err(settings.cache_error(message, Some("calibrate this network, with `data`")));
    }
    if settings.data.is_none() {
        let message = format!(
            "the calibration cache has no scale for {} of the {asked} tensors to quantize, such as \
             `{missing}`",
            wanted.len()
        );
        let help = "add `data:` to find the others, or `skip:` the nodes that read them";
        return Err(settings.cache_error(message, Some(help)));
    }
    Ok(())
}

fn observe(
    settings: &Calibrate,
    cx: &StageContext<'_>,
    (model, file): Source<'_>,
    wanted: &[String],
    data: &Dataset,
    ranges: &mut Ranges,
) -> Result<(), StageError> {
    let span = settings.data.as_ref().map_or(settings.from.span, |data| data.span);
    let observation = Observation {
        backend: backend::by_name(settings.backend.name())?,
        model: file,
        tensors: wanted,
        data,
        most_samples: settings.samples.map(|samples| samples.value),
        batch: settings.batch,
        span,
        progress: cx.progress,
        cancel: cx.cancel,
    };
    let choice = settings.choice();
    let (collectors, observed) =
        observation.run(|tensors| Collector::new(tensors, choice.method.needs_histogram()))?;
    cx.progress.report("ranges", 0, None);
    let mut collectors = collectors.into_iter();
    let Some(mut all) = collectors.next() else { return Ok(()) };
    collectors.for_each(|collector| all.merge(collector));
    let inputs: Vec<&str> = model.fed_inputs().map(ValueInfoProto::name).collect();
    if let Some((tensor, tally)) =
        wanted.iter().zip(&all.tallies).find(|(_, tally)| tally.first_fault.is_some())
    {
        return Err(settings.not_finite(
            tensor,
            tally,
            inputs.contains(&tensor.as_str()),
            data.path(),
        ));
    }
    let chosen = all.choose(choice);
    for ((tensor, tally), chosen) in wanted.iter().zip(&all.tallies).zip(chosen) {
        if tally.dtype != DType::Float32 {
            ranges.others.insert(tensor.clone(), tally.dtype);
        } else if let Some(range) = chosen {
            let found = Found { range, seen: tally.statistics.range(), from: Origin::Data };
            ranges.by_tensor.insert(tensor.clone(), found);
        }
    }
    ranges.observed = Some(observed);
    Ok(())
}

/// What is remembered of one tensor.
struct Tally {
    dtype: DType,
    statistics: Statistics,
    /// The first sample of the first batch that had a value that is not finite.
    first_fault: Option<usize>,
}

/// Remembers what tensors hold.
struct Collector {
    tallies: Vec<Tally>,
}

impl Collector {
    fn new(tensors: &[TensorSpec], with_histogram: bool) -> Self {
        let tally = |tensor: &TensorSpec| Tally {
            dtype: tensor.dtype,
            statistics: Statistics::new(with_histogram),
            first_fault: None,
        };
        Self { tallies: tensors.iter().map(tally).collect() }
    }

    fn merge(&mut self, other: Self) {
        for (own, theirs) in self.tallies.iter_mut().zip(other.tallies) {
            own.statistics.merge(theirs.statistics);
            own.first_fault = match (own.first_fault, theirs.first_fault) {
                (Some(own), Some(theirs)) => Some(own.min(theirs)),
                (own, theirs) => own.or(theirs),
            };
        }
    }

    /// The range of each tensor.
    fn choose(&self, choice: Choice) -> Vec<Option<Range>> {
        use rayon::prelude::*;
        self.tallies.par_iter().map(|tally| choice.range(&tally.statistics)).collect()
    }
}

impl Visitor for Collector {
    fn see(&mut self, tensor: usize, first: usize, bytes: &[u8]) -> Result<(), StageError> {
        let Some(tally) = self.tallies.get_mut(tensor) else { return Ok(()) };
        if tally.dtype != DType::Float32 {
            return Ok(());
        }
        let before = tally.statistics.seen();
        match bytemuck::try_cast_slice(bytes) {
            Ok(values) => tally.statistics.add(values),
            Err(_) => tally.statistics.add(&unaligned(bytes)),
        }
        let after = tally.statistics.seen();
        if (before.nans, before.infinities) != (after.nans, after.infinities) {
            let earliest = tally.first_fault.map_or(first, |fault| fault.min(first));
            tally.first_fault = Some(earliest);
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "they are float32")]
fn unaligned(bytes: &[u8]) -> Vec<f32> {
    to_f64(DType::Float32, bytes).into_iter().map(|value| value as f32).collect()
}

impl Calibrate {
    fn cache_error(&self, message: String, help: Option<&'static str>) -> StageError {
        let span = self.cache.as_ref().map_or(self.from.span, |cache| cache.span);
        StageError::Setting { message, span, help: help.map(str::to_owned) }
    }

    fn not_finite(&self, tensor: &str, tally: &Tally, is_input: bool, data: &Path) -> StageError {
        let seen = tally.statistics.seen();
        let mut found = Vec::new();
        for (count, what) in [(seen.nans, "NaN"), (seen.infinities, "infinite")] {
            if count > 0 {
                found.push(format!("{count} {what}"));
            }
        }
        let whose = if is_input { "the data's array" } else { "tensor" };
        let first = tally.first_fault.unwrap_or_default();
        let message = format!(
            "{whose} `{tensor}` has values that are not finite, in `{}` from the batch of sample \
             {first} on: {} of {}",
            data.display(),
            found.join(" and "),
            seen.values,
        );
        let help = if is_input {
            "remove these samples, or mend how they are prepared".to_owned()
        } else {
            format!(
                "look at the samples, and at the node that makes the tensor; `skip:` the nodes that \
                 read `{tensor}` if it is meant to be so"
            )
        };
        let span = self.data.as_ref().map_or(self.from.span, |data| data.span);
        StageError::Setting { message, span, help: Some(help) }
    }
}
