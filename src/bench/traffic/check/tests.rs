//! Answers of two engines that add different numbers.

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
