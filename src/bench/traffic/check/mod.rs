//! [`Oracle`]: whether an answer is that of an engine run in this process, and of one only.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::backend::{BackendError, Engine, ExecutionContext};
use crate::bench::BenchError;
use crate::bench::endpoint::Output;
use crate::tensor::{Shape, Tensor, TensorSpec, to_f64};

#[cfg(test)]
mod tests;

/// Engines whose answers are right.
pub struct Oracle {
    engines: Vec<Reference>,
    /// Largest difference, as a fraction of the largest value of a sample; 0 for equal bytes.
    tolerance: f64,
    /// The engine that each version was seen to be.
    versions: BTreeMap<String, usize>,
    told: CheckReport,
}

struct Reference {
    outputs: Vec<TensorSpec>,
    inputs: Vec<TensorSpec>,
    context: Box<dyn ExecutionContext>,
}

/// What the engines answer: a tensor per output, by engine.
pub(super) struct Expected(Vec<Vec<Tensor>>);

/// How many answers were right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Answers looked at.
    pub checked: u64,
    /// Those that no engine gives.
    pub wrong: u64,
    /// Those whose samples come from several engines, or from another than the one that their
    /// version had before.
    pub mixed: u64,
    /// Those that several engines give: they cannot be told apart by it.
    pub ambiguous: u64,
    /// What was wrong with the first that was not right.
    pub first: Option<String>,
    /// The engine that answers for each version, counted from 0.
    pub versions: BTreeMap<String, usize>,
}

impl CheckReport {
    /// Whether every answer was right.
    pub fn all_right(&self) -> bool {
        self.wrong == 0 && self.mixed == 0
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Right { ambiguous: bool },
    Wrong(String),
    Mixed(String),
}

impl Oracle {
    /// Compares with these engines.
    pub fn new(engines: &[Arc<dyn Engine>], tolerance: f64) -> Result<Self, BackendError> {
        let reference = |engine: &Arc<dyn Engine>| {
            Ok(Reference {
                inputs: engine.inputs().to_vec(),
                outputs: engine.outputs().to_vec(),
                context: Arc::clone(engine).new_context()?,
            })
        };
        let engines = engines.iter().map(reference).collect::<Result<_, BackendError>>()?;
        Ok(Self { engines, tolerance, versions: BTreeMap::new(), told: CheckReport::default() })
    }

    /// Fails where an engine has an input that the model does not take.
    pub(super) fn check_inputs(&self, specs: &[TensorSpec]) -> Result<(), BenchError> {
        let known = |name: &String| specs.iter().any(|spec| spec.name == *name);
        let inputs = self.engines.iter().flat_map(|engine| &engine.inputs);
        match inputs.map(|input| &input.name).find(|name| !known(name)) {
            Some(name) => Err(BenchError::OtherEngine { input: name.clone() }),
            None => Ok(()),
        }
    }

    /// Runs the engines on the inputs of a request.
    pub(super) fn expect(
        &mut self,
        specs: &[TensorSpec],
        tensors: &[Tensor],
    ) -> Result<Expected, BackendError> {
        let run = |reference: &mut Reference| reference.run(specs, tensors);
        Ok(Expected(self.engines.iter_mut().map(run).collect::<Result<_, _>>()?))
    }

    /// Looks at an answer.
    pub(super) fn look(
        &mut self,
        request: u64,
        expected: &Expected,
        version: Option<&str>,
        outputs: &[Output],
    ) {
        self.told.checked += 1;
        let verdict = self.judge(expected, version, outputs);
        let what = match verdict {
            Verdict::Right { ambiguous } => {
                self.told.ambiguous += u64::from(ambiguous);
                return;
            }
            Verdict::Wrong(what) => {
                self.told.wrong += 1;
                what
            }
            Verdict::Mixed(what) => {
                self.told.mixed += 1;
                what
            }
        };
        self.told.first.get_or_insert_with(|| format!("request {request}: {what}"));
    }

    /// Counts an answer that cannot be read.
    pub(super) fn unreadable(&mut self, request: u64, why: &str) {
        self.told.checked += 1;
        self.told.wrong += 1;
        self.told.first.get_or_insert_with(|| format!("request {request}: {why}"));
    }

    /// What was found since the last report.
    pub(super) fn take_report(&mut self) -> CheckReport {
        CheckReport { versions: self.versions.clone(), ..std::mem::take(&mut self.told) }
    }

    fn judge(&mut self, expected: &Expected, version: Option<&str>, outputs: &[Output]) -> Verdict {
        let samples = samples(outputs);
        let mut all: Vec<usize> = (0..self.engines.len()).collect();
        for sample in 0..samples {
            let mut why = String::new();
            let matches = (0..self.engines.len()).filter(|&engine| {
                let differs = self.differs(&expected.0[engine], engine, outputs, sample, samples);
                differs.map(|words| why = words).is_none()
            });
            let matches: Vec<usize> = matches.collect();
            if matches.is_empty() {
                return Verdict::Wrong(format!("sample {sample}: {why}"));
            }
            all.retain(|engine| matches.contains(engine));
            if all.is_empty() {
                return Verdict::Mixed(format!(
                    "sample {sample} is of another engine than those before"
                ));
            }
        }
        let Some(version) = version else { return Verdict::Right { ambiguous: all.len() > 1 } };
        match (self.versions.get(version), all[..].first()) {
            (Some(known), _) if !all.contains(known) => Verdict::Mixed(format!(
                "version {version} was engine {known} before and is engine {} now",
                all[0]
            )),
            (None, Some(&only)) if all.len() == 1 => {
                self.versions.insert(version.to_owned(), only);
                Verdict::Right { ambiguous: false }
            }
            _ => Verdict::Right { ambiguous: all.len() > 1 },
        }
    }

    /// How one sample differs from what an engine gives.
    fn differs(
        &self,
        expected: &[Tensor],
        engine: usize,
        outputs: &[Output],
        sample: usize,
        samples: usize,
    ) -> Option<String> {
        let specs = &self.engines[engine].outputs;
        specs.iter().zip(expected).find_map(|(spec, expected)| {
            let name = &spec.name;
            let Some(output) = outputs.iter().find(|output| output.name == *name) else {
                return Some(format!("output `{name}` is missing"));
            };
            if (output.dtype, &output.shape) != (expected.dtype(), expected.shape()) {
                let (dtype, shape) = (output.dtype, &output.shape);
                let (right, extents) = (expected.dtype(), expected.shape());
                return Some(format!("output `{name}` is {dtype} {shape}, not {right} {extents}"));
            }
            let row = output.bytes.len() / samples;
            let range = sample * row..(sample + 1) * row;
            let (found, expected) = (&output.bytes[range.clone()], &expected.bytes()[range]);
            if found == expected {
                return None;
            }
            let by = if spec.dtype.is_float() && self.tolerance > 0.0 {
                let distance = distance(&to_f64(spec.dtype, found), &to_f64(spec.dtype, expected));
                (distance > self.tolerance).then_some(distance)?
            } else {
                return Some(format!("output `{name}` has other bytes"));
            };
            Some(format!("output `{name}` differs by {by:.2e} of its largest value"))
        })
    }
}

/// The samples of an answer: axis 0 of its outputs where that counts the same, else 1.
fn samples(outputs: &[Output]) -> usize {
    let first = |output: &Output| output.shape.0.first().copied().filter(|&count| count > 0);
    let count = outputs.first().and_then(first);
    count.filter(|_| outputs.iter().all(|output| first(output) == count)).unwrap_or(1)
}

/// The largest difference as a fraction of the largest expected value; infinite where only one of
/// two numbers is one.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(expected).fold(0.0_f64, |worst, (a, b)| {
        let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        let apart = if same { 0.0 } else { (a - b).abs() };
        worst.max(if apart.is_nan() { f64::INFINITY } else { apart })
    });
    if largest > 0.0 { difference / largest } else { difference }
}

impl Reference {
    /// The outputs for these inputs, which it may have in another order.
    fn run(
        &mut self,
        specs: &[TensorSpec],
        tensors: &[Tensor],
    ) -> Result<Vec<Tensor>, BackendError> {
        for (index, input) in self.inputs.iter().enumerate() {
            let given = specs.iter().position(|spec| spec.name == input.name);
            let tensor =
                given.and_then(|at| tensors.get(at)).ok_or_else(|| BackendError::Input {
                    input: input.name.clone(),
                    shape: Shape::default(),
                    reason: "the model that is measured has no such input".to_owned(),
                })?;
            self.context.fill(index, &input.name, tensor)?;
        }
        self.context.run()?;
        let output = |(index, spec): (usize, &TensorSpec)| {
            let (shape, bytes) = self.context.output(index)?;
            Tensor::from_bytes(spec.dtype, shape.clone(), bytes)
                .map_err(|error| BackendError::Run { reason: error.to_string() })
        };
        self.outputs.iter().enumerate().map(output).collect()
    }
}
