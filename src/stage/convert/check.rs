//! Compares an exported model with what its framework computed.

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
        let mut differences: Vec<Difference> =
            engine.outputs().iter().map(|_| Difference::new(0.0)).collect();
        let mut case = 0;
        while case < MOST_CASES && cases.join(case.to_string()).is_dir() {
            if cx.cancel.is_cancelled() {
                return Err(StageError::Cancelled);
            }
            cx.progress.report("comparing", case as u64, None);
            let folder = cases.join(case.to_string());
            run_case(case, &folder, engine.as_ref(), context.as_mut())?;
            add_case(case, &folder, engine.as_ref(), context.as_ref(), &mut differences)?;
            case += 1;
        }
        if case == 0 {
            let problem = "wrote no samples to compare on".to_owned();
            return Err(ConvertError::NotMade { problem, output: String::new() }.into());
        }
        let outputs = engine.outputs().iter().map(|output| output.name.as_str());
        let outputs: Vec<(&str, &Difference)> = outputs.zip(&differences).collect();
        hold(&self.check, &outputs)?;
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

fn open(case: usize, file: &Path) -> Result<Dataset, StageError> {
    Dataset::open(file, &IndexMap::new()).map_err(|error| unreadable(case, error))
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
        let inputs = open(case, &folder.join("inputs.npz"))?;
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
    differences: &mut [Difference],
) -> Result<(), StageError> {
    let expected = open(case, &folder.join("outputs.npz"))?;
    for (index, (output, difference)) in engine.outputs().iter().zip(differences).enumerate() {
        let reference = expected.whole(&output.name).map_err(|error| unreadable(case, error))?;
        let (shape, bytes) = context.output(index).map_err(not_run)?;
        if reference.shape() != shape {
            let problem = format!(
                "output `{}` has shape {shape} in the exported model, and {} in the framework",
                output.name,
                reference.shape()
            );
            return Err(ConvertError::Sample { case, problem }.into());
        }
        difference.add(case, &to_f64(output.dtype, bytes), &reference.to_f64());
    }
    Ok(())
}

/// Fails with every output that is beyond the limits.
fn hold(check: &Check, outputs: &[(&str, &Difference)]) -> Result<(), ConvertError> {
    let mut broken = Vec::new();
    for (name, difference) in outputs {
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

impl OutputComparison {
    fn of((name, difference): (&str, &Difference)) -> Self {
        Self { name: name.to_owned(), numbers: difference.numbers() }
    }
}
