//! [`Oracle`]: whether an answer is that of an engine run in this process, and of one only.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::backend::{BackendError, Engine, ExecutionContext};
use crate::bench::endpoint::Output;
use crate::tensor::{Shape, Tensor, TensorSpec, to_f64};

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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::backend::RunTimes;
    use crate::tensor::{DType, Dim};

    /// Adds a number to each element.
    struct Plus {
        number: f32,
        input: Vec<u8>,
        output: Vec<u8>,
        shape: Shape,
    }

    impl ExecutionContext for Plus {
        fn input_mut(&mut self, _: usize, shape: &Shape) -> Result<&mut [u8], BackendError> {
            self.shape = shape.clone();
            self.input.resize(shape.checked_bytes(DType::Float32).unwrap(), 0);
            Ok(&mut self.input)
        }

        fn run(&mut self) -> Result<RunTimes, BackendError> {
            let values = self.input.as_chunks::<4>().0.iter();
            let sums =
                values.flat_map(|&value| (f32::from_le_bytes(value) + self.number).to_le_bytes());
            self.output = sums.collect();
            Ok(RunTimes::default())
        }

        fn output(&self, _: usize) -> Result<(&Shape, &[u8]), BackendError> {
            Ok((&self.shape, &self.output))
        }
    }

    struct Adder(f32, Vec<TensorSpec>);

    impl Engine for Adder {
        fn inputs(&self) -> &[TensorSpec] {
            &self.1
        }
        fn outputs(&self) -> &[TensorSpec] {
            &self.1
        }
        fn profiles(&self) -> &[crate::backend::Profile] {
            &[]
        }
        fn new_context(self: Arc<Self>) -> Result<Box<dyn ExecutionContext>, BackendError> {
            let (input, output, shape) = (Vec::new(), Vec::new(), Shape::default());
            Ok(Box::new(Plus { number: self.0, input, output, shape }))
        }
    }

    fn specs() -> Vec<TensorSpec> {
        vec![TensorSpec { name: "x".into(), dtype: DType::Float32, dims: Some(vec![Dim::Any]) }]
    }

    /// An oracle of engines that add these numbers, and what they say of 1 and 2.
    fn oracle(numbers: &[f32], tolerance: f64) -> (Oracle, Expected) {
        let engine = |&number: &f32| Arc::new(Adder(number, specs())) as Arc<dyn Engine>;
        let engines: Vec<_> = numbers.iter().map(engine).collect();
        let mut oracle = Oracle::new(&engines, tolerance).unwrap();
        let input = Tensor::from_f32(vec![2].into(), &[1.0, 2.0]).unwrap();
        let expected = oracle.expect(&specs(), &[input]).unwrap();
        (oracle, expected)
    }

    fn answer(values: &[f32]) -> Vec<Output> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (name, shape) = ("x".to_owned(), Shape(vec![values.len()]));
        vec![Output { name, dtype: DType::Float32, shape, bytes: Bytes::from(bytes) }]
    }

    #[test]
    fn an_answer_of_no_engine_is_wrong_and_says_where() {
        let (mut oracle, expected) = oracle(&[10.0], 0.0);
        assert_eq!(
            oracle.judge(&expected, Some("1"), &answer(&[11.0, 12.0])),
            Verdict::Right { ambiguous: false }
        );
        let mut wrong = |outputs: &[Output]| match oracle.judge(&expected, Some("1"), outputs) {
            Verdict::Wrong(why) => why,
            other => panic!("{other:?}"),
        };
        let seen = [wrong(&answer(&[11.0, 12.1])), wrong(&answer(&[11.0])), wrong(&[])];
        insta::assert_snapshot!(seen.join("\n"), @r"
        sample 1: output `x` has other bytes
        sample 0: output `x` is float32 [1], not float32 [2]
        sample 0: output `x` is missing
        ");
    }

    #[test]
    fn differences_count_against_the_largest_value_of_a_sample() {
        let (mut oracle, expected) = oracle(&[10.0], 1e-3);
        let mut is_right = |values: &[f32]| {
            matches!(oracle.judge(&expected, None, &answer(values)), Verdict::Right { .. })
        };
        assert!(is_right(&[11.01, 12.0]));
        assert!(!is_right(&[11.02, 12.0]));
        assert!(!is_right(&[f32::NAN, 12.0]));
        assert_eq!(distance(&[f64::NAN, f64::INFINITY], &[f64::NAN, f64::INFINITY]).to_bits(), 0);
    }

    #[test]
    fn samples_of_two_engines_and_versions_that_change_are_mixed() {
        let (mut oracle, expected) = oracle(&[10.0, 20.0], 1e-6);
        let right = Verdict::Right { ambiguous: false };
        assert_eq!(oracle.judge(&expected, Some("1"), &answer(&[11.0, 12.0])), right);
        assert_eq!(oracle.judge(&expected, Some("2"), &answer(&[21.0, 22.0])), right);
        assert_eq!(oracle.judge(&expected, Some("3"), &answer(&[11.0, 12.0])), right);
        for (version, values) in [("1", [21.0, 22.0]), ("4", [11.0, 22.0])] {
            let verdict = oracle.judge(&expected, Some(version), &answer(&values));
            assert!(matches!(verdict, Verdict::Mixed(_)), "{verdict:?}");
        }
        assert_eq!(
            oracle.take_report().versions,
            BTreeMap::from([("1".to_owned(), 0), ("2".to_owned(), 1), ("3".to_owned(), 0)])
        );
    }

    #[test]
    fn an_answer_that_two_engines_give_tells_nothing_of_a_version() {
        let (mut oracle, expected) = oracle(&[10.0, 10.0], 0.0);
        oracle.look(0, &expected, Some("1"), &answer(&[11.0, 12.0]));
        let report = oracle.take_report();
        assert_eq!((report.checked, report.ambiguous, report.versions.len()), (1, 1, 0));
        assert!(report.all_right());
        oracle.look(7, &expected, Some("1"), &answer(&[0.0, 12.0]));
        assert_eq!(
            oracle.take_report().first.unwrap(),
            "request 7: sample 0: output `x` has other bytes"
        );
    }
}
