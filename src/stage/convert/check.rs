//! Compares an exported model with what its framework computed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;

use crate::backend::{self, BackendError, Engine, ExecutionContext};
use crate::data::{DataError, Dataset};
use crate::difference::{Difference, Numbers};
use crate::onnx::Model;
use crate::stage::assess::SLACK;
use crate::stage::{StageContext, StageError};
use crate::tensor::to_f64;

use super::answer::on_one_line;
use super::settings::Check;
use super::{Convert, ConvertError};

/// More samples prove nothing more.
const MOST_CASES: usize = 256;

/// How far an exported model is from its framework.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    /// What ran the exported model.
    backend: &'static str,
    /// How many samples both computed.
    cases: usize,
    limits: Limits,
    outputs: Vec<OutputComparison>,
}

#[derive(Debug, Serialize)]
struct Limits {
    max_relative_error: f64,
    max_abs: Option<f64>,
}

#[derive(Debug, Serialize)]
struct OutputComparison {
    name: String,
    #[serde(flatten)]
    numbers: Numbers,
}

/// What the samples say of one output.
struct Tally {
    difference: Difference,
    /// Elements that both sides gave, numbers or not.
    elements: usize,
}

impl Comparison {
    /// One line: what exported the model, and the output that is farthest off.
    pub(super) fn in_words(&self, exporter: &str, opset: Option<i64>) -> String {
        let relative = |output: &&OutputComparison| output.numbers.max_relative_error;
        let worst = self.outputs.iter().max_by(|a, b| relative(a).total_cmp(&relative(b)));
        let opset = opset.map_or(String::new(), |opset| format!(", opset {opset}"));
        let worst = worst.map_or(String::new(), |output| {
            let name = on_one_line(&output.name);
            match relative(&output) {
                0.0 => "; it computes exactly what its framework does".to_owned(),
                error => format!("; max_relative_error is {error:.1e}, of `{name}`"),
            }
        });
        format!("exported by {}{opset}{worst}", on_one_line(exporter))
    }
}

impl Convert {
    /// Runs the exported model on every sample and holds it to the limits.
    pub(super) fn compare(
        &self,
        model: &Model,
        cases: &Path,
        cx: &StageContext<'_>,
    ) -> Result<Comparison, StageError> {
        let backend = backend::by_name(self.check.backend.name())?;
        let engine = backend.another(model.path()).map_err(not_run)?;
        let mut context = Arc::clone(&engine).new_context().map_err(not_run)?;
        context.stop_at(cx.cancel);
        let new = || Tally { difference: Difference::new(0.0), elements: 0 };
        let mut tallies: Vec<Tally> = engine.outputs().iter().map(|_| new()).collect();
        let mut case = 0;
        while case < MOST_CASES && cases.join(case.to_string()).is_dir() {
            if cx.cancel.is_cancelled() {
                return Err(StageError::Cancelled);
            }
            cx.progress.report("comparing", case as u64, None);
            let folder = cases.join(case.to_string());
            run_case(case, &folder, engine.as_ref(), context.as_mut())?;
            add_case(case, &folder, engine.as_ref(), context.as_ref(), &mut tallies)?;
            case += 1;
        }
        if case == 0 {
            let problem = "wrote no samples to compare on".to_owned();
            return Err(ConvertError::NotMade { problem, output: String::new() }.into());
        }
        let outputs = engine.outputs().iter().map(|output| output.name.as_str());
        let outputs: Vec<(&str, &Tally)> = outputs.zip(&tallies).collect();
        hold(&self.check, &outputs)?;
        has_compared(&outputs)?;
        Ok(Comparison {
            backend: self.check.backend.name(),
            cases: case,
            limits: Limits {
                max_relative_error: self.check.max_relative_error.value,
                max_abs: self.check.max_abs.as_ref().map(|limit| limit.value),
            },
            outputs: outputs.into_iter().map(OutputComparison::of).collect(),
        })
    }
}

fn not_run(source: BackendError) -> StageError {
    match source {
        BackendError::Cancelled => StageError::Cancelled,
        BackendError::Unavailable { .. } => source.into(),
        _ => ConvertError::NotRun { source }.into(),
    }
}

/// Opens one side of a sample. Only a regular file is opened: a pipe would be waited for.
fn open(case: usize, folder: &Path, name: &str) -> Result<Dataset, StageError> {
    let file = folder.join(name);
    if fs::symlink_metadata(&file).is_ok_and(|found| !found.is_file()) {
        let problem = format!("its `{name}` is no regular file");
        return Err(ConvertError::Sample { case, problem }.into());
    }
    Dataset::open(&file, &IndexMap::new()).map_err(|error| unreadable(case, error))
}

fn unreadable(case: usize, source: DataError) -> StageError {
    ConvertError::SampleData { case, source }.into()
}

/// Runs the exported model on what the framework was given.
fn run_case(
    case: usize,
    folder: &Path,
    engine: &dyn Engine,
    context: &mut dyn ExecutionContext,
) -> Result<(), StageError> {
    if !engine.inputs().is_empty() {
        let inputs = open(case, folder, "inputs.npz")?;
        for (index, input) in engine.inputs().iter().enumerate() {
            let tensor = inputs.tensor_for(input).map_err(|error| unreadable(case, error))?;
            context.fill(index, &input.name, &tensor).map_err(not_run)?;
        }
    }
    context.run().map(drop).map_err(not_run)
}

/// Adds how far the outputs are from the framework's.
fn add_case(
    case: usize,
    folder: &Path,
    engine: &dyn Engine,
    context: &dyn ExecutionContext,
    tallies: &mut [Tally],
) -> Result<(), StageError> {
    let expected = open(case, folder, "outputs.npz")?;
    for (index, (output, tally)) in engine.outputs().iter().zip(tallies).enumerate() {
        let unreadable = |error| unreadable(case, error);
        let (shape, bytes) = context.output(index).map_err(not_run)?;
        let declared = expected.shape(&output.name).map_err(unreadable)?;
        if declared != shape {
            let name = on_one_line(&output.name);
            let problem = format!(
                "output `{name}` has shape {shape} in the exported model, and {declared} in the \
                 framework"
            );
            return Err(ConvertError::Sample { case, problem }.into());
        }
        let reference = expected.whole(&output.name).map_err(unreadable)?.to_f64();
        tally.elements += reference.len();
        tally.difference.add(case, &to_f64(output.dtype, bytes), &reference);
    }
    Ok(())
}

/// Fails with every output that is beyond the limits.
fn hold(check: &Check, outputs: &[(&str, &Tally)]) -> Result<(), ConvertError> {
    let mut broken = Vec::new();
    for (name, Tally { difference, .. }) in outputs {
        let name = on_one_line(name);
        if difference.nonfinite() > 0 {
            let first = difference.first_nonfinite();
            let place = first.map_or(String::new(), |place| {
                format!(
                    ", first in sample {}, element {}: {} for {}",
                    place.sample, place.element, place.actual, place.reference
                )
            });
            let count = difference.nonfinite();
            broken
                .push(format!("output `{name}`: {count} values are not finite on one side{place}"));
        }
        let limits = [
            (
                "max_relative_error",
                difference.max_relative_error(),
                Some(&check.max_relative_error),
            ),
            ("max_abs", difference.max_abs(), check.max_abs.as_ref()),
        ];
        for (metric, value, limit) in limits {
            let Some(limit) = limit.filter(|limit| value > limit.value * (1.0 + SLACK)) else {
                continue;
            };
            let place = difference.worst().map_or(String::new(), |place| {
                format!(
                    "; worst in sample {}, element {}: {} for {}",
                    place.sample, place.element, place.actual, place.reference
                )
            });
            broken
                .push(format!("output `{name}`: {metric} is {value:.3e}, at most {limit}{place}"));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(ConvertError::Differs { broken }) }
}

/// Fails where the limits hold only because no two numbers were compared.
fn has_compared(outputs: &[(&str, &Tally)]) -> Result<(), ConvertError> {
    let all_empty = outputs.iter().all(|(_, tally)| tally.elements == 0);
    let mut blank = Vec::new();
    for (name, Tally { difference, elements }) in outputs {
        let name = on_one_line(name);
        if all_empty {
            blank.push(format!("output `{name}` has no elements"));
        } else if *elements > 0 && difference.elements() == 0 {
            blank.push(format!("output `{name}` is NaN or infinite everywhere, on both sides"));
        }
    }
    if blank.is_empty() { Ok(()) } else { Err(ConvertError::NothingCompared { blank }) }
}

impl OutputComparison {
    fn of((name, Tally { difference, .. }): (&str, &Tally)) -> Self {
        Self { name: name.to_owned(), numbers: difference.numbers() }
    }
}
