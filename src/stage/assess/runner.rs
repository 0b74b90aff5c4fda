//! Runs what is tested and its reference over the samples, batch by batch, and adds up what the
//! outputs say.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use crate::data::{Array, Column, Dataset};
use crate::difference::Difference;
use crate::source::Span;
use crate::stage::StageError;
use crate::suggest::did_you_mean;
use crate::tensor::TensorSpec;

use super::batches::{Batch, BatchSizes, cover};
use super::labels::Labels;
use super::runnable::{Feed, Runnable, Values, Watch, setting};
use super::score::Score;

/// What runs one batch after the other, beside other lanes: what is tested and, where that runs too,
/// its reference.
pub(crate) struct Lane<'a> {
    pub(crate) tested: Runnable<'a>,
    pub(crate) reference: Option<Runnable<'a>>,
}

/// What to find out about each output.
pub(crate) struct Question<'a> {
    pub(crate) floors: BTreeMap<String, f64>,
    pub(crate) labels: Option<Labels<'a>>,
    /// The reference, where it was recorded earlier and does not run.
    pub(crate) recorded: Option<&'a Dataset>,
    pub(crate) batch: usize,
    /// The setting to blame where the reference does not fit.
    pub(crate) reference_span: Span,
}

/// The NaN elements of one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nans {
    pub(crate) output: String,
    pub(crate) elements: u64,
    /// Sample and element of the first.
    pub(crate) first: Option<(usize, usize)>,
}

/// What was found out.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// By output that has a reference: the difference and the shape of one sample.
    pub(crate) differences: Vec<(String, Difference, Vec<usize>)>,
    /// Outputs that the recorded reference lacks.
    pub(crate) unreferenced: Vec<String>,
    /// Of outputs without a reference.
    pub(crate) nans: Vec<Nans>,
    pub(crate) score: Score,
    pub(crate) reference_score: Option<Score>,
    pub(crate) batch: usize,
}

/// Where the reference's values of one output come from.
enum Source<'a> {
    Output(usize),
    Array(&'a Array),
    None,
}

/// Runs everything over every sample, as many batches at the same time as there are lanes. What is
/// found does not depend on their number.
pub(crate) fn run(
    lanes: &mut [Lane<'_>],
    question: &Question<'_>,
    watch: Watch<'_>,
) -> Result<Findings, StageError> {
    for lane in &mut *lanes {
        std::iter::once(&mut lane.tested)
            .chain(&mut lane.reference)
            .for_each(|runnable| runnable.stop_at(watch.cancel));
    }
    let Some(lane) = lanes.first() else { return Ok(Findings::default()) };
    let outputs = lane.tested.engine.outputs().to_vec();
    let sources = sources(&outputs, lane, question)?;
    let samples = lane.tested.arrays().first().map_or(0, Column::samples);
    let (batches, batch) = plan(lane, samples, question)?;
    let mut findings = Findings { batch, ..Findings::default() };
    let mut totals: Vec<Total> = outputs
        .iter()
        .map(|output| Total::new(question.floors.get(&output.name).copied().unwrap_or(0.0)))
        .collect();
    let mut reference_score = Score::default();
    for together in batches.chunks(lanes.len()) {
        let first = together.first().map_or(0, |batch| batch.start);
        watch.step("samples", first, samples)?;
        let values = match (&mut *lanes, together) {
            ([lane, ..], [batch]) => vec![lane.run(*batch, &outputs, &sources)?],
            _ => lanes
                .par_iter_mut()
                .zip(together)
                .map(|(lane, batch)| lane.run(*batch, &outputs, &sources))
                .collect::<Result<Vec<_>, _>>()?,
        };
        for (&Batch { start, fresh, end }, values) in together.iter().zip(values) {
            let labels =
                question.labels.as_ref().map(|labels| labels.read(start, end)).transpose()?;
            let rows = Rows { first: start, fresh, count: end - start };
            for ((spec, total), (actual, expected)) in outputs.iter().zip(&mut totals).zip(values) {
                if let Some(expected) = expected.as_ref().filter(|it| it.shape != actual.shape) {
                    let message = format!(
                        "output `{}` has shape {} and its reference {}",
                        spec.name, actual.shape, expected.shape
                    );
                    let help = "compare with what the same model gives for the same samples";
                    return Err(setting(message, question.reference_span, Some(help.into())));
                }
                total.add(rows, &actual, expected.as_ref());
                if let (Some(asked), Some(labels)) = (&question.labels, &labels)
                    && asked.output == spec.name
                {
                    asked.count(rows, &actual, labels, &mut findings.score)?;
                    if let Some(expected) = &expected {
                        asked.count(rows, expected, labels, &mut reference_score)?;
                        findings.reference_score = Some(reference_score);
                    }
                }
            }
        }
    }
    for ((spec, total), source) in outputs.into_iter().zip(totals).zip(sources) {
        match source {
            Source::None => {
                findings.nans.push(Nans {
                    output: spec.name.clone(),
                    elements: total.nans,
                    first: total.first_nan,
                });
                if question.recorded.is_some() {
                    findings.unreferenced.push(spec.name);
                }
            }
            _ => findings.differences.push((spec.name, total.difference, total.sample_shape)),
        }
    }
    Ok(findings)
}

impl Lane<'_> {
    /// Runs one batch; gives every output and its reference.
    fn run(
        &mut self,
        Batch { start, end, .. }: Batch,
        outputs: &[TensorSpec],
        sources: &[Source<'_>],
    ) -> Result<Vec<(Values, Option<Values>)>, StageError> {
        let mut feed = Feed::new();
        self.tested.read(start, end, &mut feed)?;
        self.tested.run(&feed)?;
        if let Some(reference) = &mut self.reference {
            reference.read(start, end, &mut feed)?;
            reference.run(&feed)?;
        }
        let values = outputs.iter().zip(sources).enumerate().map(|(index, (spec, source))| {
            let expected = match (source, &self.reference) {
                (Source::Output(other), Some(runnable)) => {
                    Some(runnable.output(*other, &runnable.engine.outputs()[*other])?)
                }
                (Source::Array(array), _) => {
                    let rows = array.rows(start, end)?;
                    Some(Values { shape: rows.shape().clone(), values: rows.to_f64() })
                }
                _ => None,
            };
            Ok((self.tested.output(index, spec)?, expected))
        });
        values.collect()
    }
}

/// Finds the reference of every output. A model or engine must have them all, recorded outputs
/// at least one.
fn sources<'a>(
    outputs: &[TensorSpec],
    lane: &Lane<'_>,
    question: &Question<'a>,
) -> Result<Vec<Source<'a>>, StageError> {
    let span = question.reference_span;
    match (&lane.reference, question.recorded) {
        (None, None) => Ok(outputs.iter().map(|_| Source::None).collect()),
        (Some(runnable), _) => {
            let theirs = runnable.engine.outputs();
            let find = |output: &TensorSpec| {
                let at = theirs.iter().position(|other| other.name == output.name);
                at.map(Source::Output).ok_or_else(|| {
                    let names = theirs.iter().map(|other| other.name.as_str());
                    let help = did_you_mean(&output.name, names, "outputs of the reference");
                    let message = format!("the reference has no output `{}`", output.name);
                    setting(message, span, Some(help))
                })
            };
            outputs.iter().map(find).collect()
        }
        (None, Some(data)) => {
            let known: Vec<&str> = data.names().collect();
            let find = |output: &TensorSpec| {
                if known.contains(&output.name.as_str()) {
                    data.array(&output.name).map(Source::Array)
                } else {
                    Ok(Source::None)
                }
            };
            let sources = outputs.iter().map(find).collect::<Result<Vec<_>, _>>()?;
            if sources.iter().all(|source| matches!(source, Source::None)) {
                let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
                let message = format!(
                    "the recorded reference `{}` contains none of the outputs {}",
                    data.path().display(),
                    names.join(", ")
                );
                let help = format!("arrays that are there: {}", known.join(", "));
                return Err(setting(message, span, Some(help)));
            }
            Ok(sources)
        }
    }
}

fn plan(
    lane: &Lane<'_>,
    samples: usize,
    question: &Question<'_>,
) -> Result<(Vec<Batch>, usize), StageError> {
    let mut sizes = BatchSizes::of_engine(lane.tested.engine.as_ref());
    if let Some(other) = &lane.reference {
        let theirs = BatchSizes::of_engine(other.engine.as_ref());
        let both = sizes.and(&theirs);
        if both.nearest(1).is_none() {
            let message = format!(
                "no batch size fits both: the engine takes {sizes}, the reference {theirs}"
            );
            return Err(setting(message, question.reference_span, None));
        }
        sizes = both;
    }
    let size = sizes.nearest(question.batch.min(samples)).unwrap_or(0);
    match cover(samples, size, &sizes).filter(|_| size <= samples) {
        Some(batches) => Ok((batches, size)),
        None => Err(setting(
            format!("the engine takes batches of {sizes} samples, the data has {samples}"),
            question.reference_span,
            Some("give more samples, or build the engine for smaller batches".into()),
        )),
    }
}

/// The samples of one run.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) first: usize,
    pub(super) fresh: usize,
    pub(super) count: usize,
}

impl Rows {
    /// The fresh samples and their values; an output whose axis 0 is not the batch is one
    /// "sample", the first fresh one.
    pub(super) fn of(self, values: &Values) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let per_batch = values.shape.0.first() == Some(&self.count);
        let len = values.values.len();
        let (from, to, width) = if per_batch && self.count > 0 {
            (self.fresh - self.first, self.count, len / self.count)
        } else {
            (0, 1, len)
        };
        let offset = if per_batch { self.first } else { self.fresh };
        (from..to).map(move |row| (offset + row, row * width..(row + 1) * width))
    }
}

/// What adds up for one output.
struct Total {
    difference: Difference,
    sample_shape: Vec<usize>,
    nans: u64,
    first_nan: Option<(usize, usize)>,
}

impl Total {
    fn new(floor: f64) -> Self {
        let difference = Difference::new(floor);
        Self { difference, sample_shape: Vec::new(), nans: 0, first_nan: None }
    }

    fn add(&mut self, rows: Rows, actual: &Values, expected: Option<&Values>) {
        let per_batch = actual.shape.0.first() == Some(&rows.count);
        self.sample_shape = actual.shape.0[usize::from(per_batch)..].to_vec();
        for (sample, range) in rows.of(actual) {
            let own = &actual.values[range.clone()];
            if let Some(expected) = expected {
                self.difference.add(sample, own, &expected.values[range]);
            } else if let Some(element) = own.iter().position(|value| value.is_nan()) {
                self.nans += own.iter().filter(|value| value.is_nan()).count() as u64;
                self.first_nan.get_or_insert((sample, element));
            }
        }
    }
}
