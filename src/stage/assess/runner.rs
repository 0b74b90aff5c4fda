//! Runs what is tested and its reference over the samples, batch by batch, and adds up what the
//! outputs say.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::data::{Array, Dataset};
use crate::difference::Difference;
use crate::source::Span;
use crate::stage::StageError;
use crate::suggest::did_you_mean;
use crate::tensor::TensorSpec;

use super::batches::{Batch, BatchSizes, cover};
use super::labels::Labels;
use super::runnable::{Feed, Runnable, Values, Watch, setting};
use super::score::Score;

/// What the tested outputs are compared with.
pub(crate) enum Reference<'a> {
    /// Runs on the same samples.
    Runs(Runnable<'a>),
    /// Was recorded earlier.
    Recorded(&'a Dataset),
}

/// What to find out about each output.
pub(crate) struct Question<'a> {
    pub(crate) floors: BTreeMap<String, f64>,
    pub(crate) labels: Option<Labels<'a>>,
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

/// Runs everything over every sample.
pub(crate) fn run(
    tested: &mut Runnable<'_>,
    reference: &mut Option<Reference<'_>>,
    question: &Question<'_>,
    watch: Watch<'_>,
) -> Result<Findings, StageError> {
    let outputs = tested.engine.outputs().to_vec();
    let sources = sources(&outputs, reference.as_ref(), question.reference_span)?;
    let samples = tested.arrays().first().map_or(0, |array| array.samples());
    let (batches, batch) = plan(tested, reference.as_ref(), samples, question)?;
    let mut findings = Findings { batch, ..Findings::default() };
    let mut totals: Vec<Total> = outputs
        .iter()
        .map(|output| Total::new(question.floors.get(&output.name).copied().unwrap_or(0.0)))
        .collect();
    let mut reference_score = Score::default();
    for Batch { start, fresh, end } in batches {
        watch.step("samples", start, samples)?;
        let mut feed = Feed::new();
        tested.read(start, end, &mut feed)?;
        tested.run(&feed)?;
        if let Some(Reference::Runs(other)) = reference {
            other.read(start, end, &mut feed)?;
            other.run(&feed)?;
        }
        let labels = question.labels.as_ref().map(|labels| labels.read(start, end)).transpose()?;
        for (index, (spec, total)) in outputs.iter().zip(&mut totals).enumerate() {
            let actual = tested.output(index, spec)?;
            let expected = match (&sources[index], &reference) {
                (Source::Output(other), Some(Reference::Runs(runnable))) => {
                    let spec = &runnable.engine.outputs()[*other];
                    Some(runnable.output(*other, spec)?)
                }
                (Source::Array(array), _) => {
                    let rows = array.rows(start, end)?;
                    Some(Values { shape: rows.shape().clone(), values: rows.to_f64() })
                }
                _ => None,
            };
            if let Some(expected) = expected.as_ref().filter(|other| other.shape != actual.shape) {
                let message = format!(
                    "output `{}` has shape {} and its reference {}",
                    spec.name, actual.shape, expected.shape
                );
                let help = "compare with what the same model gives for the same samples";
                return Err(setting(message, question.reference_span, Some(help.into())));
            }
            let rows = Rows { first: start, fresh, count: end - start };
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
    for ((spec, total), source) in outputs.into_iter().zip(totals).zip(sources) {
        match source {
            Source::None => {
                findings.nans.push(Nans {
                    output: spec.name.clone(),
                    elements: total.nans,
                    first: total.first_nan,
                });
                if reference.is_some() {
                    findings.unreferenced.push(spec.name);
                }
            }
            _ => findings.differences.push((spec.name, total.difference, total.sample_shape)),
        }
    }
    Ok(findings)
}

/// Finds the reference of every output. A model or engine must have them all, recorded outputs
/// at least one.
fn sources<'a>(
    outputs: &[TensorSpec],
    reference: Option<&Reference<'a>>,
    span: Span,
) -> Result<Vec<Source<'a>>, StageError> {
    match reference {
        None => Ok(outputs.iter().map(|_| Source::None).collect()),
        Some(Reference::Runs(runnable)) => {
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
        Some(Reference::Recorded(data)) => {
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
    tested: &Runnable<'_>,
    reference: Option<&Reference<'_>>,
    samples: usize,
    question: &Question<'_>,
) -> Result<(Vec<Batch>, usize), StageError> {
    let mut sizes = BatchSizes::of_engine(tested.engine.as_ref());
    if let Some(Reference::Runs(other)) = reference {
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
