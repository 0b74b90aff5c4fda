#![expect(clippy::float_cmp, reason = "these values are exact in binary")]

use std::fs;
use std::path::Path;

use indexmap::IndexMap;
use tempfile::TempDir;

use super::settings::default_batch;
use super::*;
use crate::artifact::Digest;
use crate::backend::{BackendError, ExecutionContext, Profile, RunTimes, ShapeRange, conformance};
use crate::process::CancelToken;
use crate::progress::NoProgress;
use crate::source::{Span, Spanned};
use crate::stage::assess::{Findings, Nans};
use crate::stage::{FailureClass, FileRef, ModelSignature};
use crate::tensor::{DType, Dim, Shape};

mod latency;

/// y = 2 x, but for the samples it is told to spoil.
struct Doubler {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    profiles: Vec<Profile>,
    /// The value of x whose y becomes the second number.
    spoiled: Option<(f32, f32)>,
}

fn tensor(name: &str, dims: Vec<Dim>) -> TensorSpec {
    TensorSpec { name: name.into(), dtype: DType::Float32, dims: Some(dims) }
}

impl Doubler {
    fn new(batch: Dim) -> Self {
        Self {
            inputs: vec![tensor("x", vec![batch.clone(), Dim::Fixed(2)])],
            outputs: vec![tensor("y", vec![batch, Dim::Fixed(2)])],
            profiles: Vec::new(),
            spoiled: None,
        }
    }
}

impl Engine for Doubler {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }
    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }
    fn profiles(&self) -> &[Profile] {
        &self.profiles
    }
    fn new_context(self: Arc<Self>) -> Result<Box<dyn ExecutionContext>, BackendError> {
        Ok(Box::new(DoublerContext { engine: self, shape: Shape::default(), bytes: Vec::new() }))
    }
}

struct DoublerContext {
    engine: Arc<Doubler>,
    shape: Shape,
    bytes: Vec<u8>,
}

impl ExecutionContext for DoublerContext {
    fn input_mut(&mut self, _index: usize, shape: &Shape) -> Result<&mut [u8], BackendError> {
        if !self.engine.inputs[0].accepts(shape) {
            let reason = "fixed".to_owned();
            return Err(BackendError::Input { input: "x".into(), shape: shape.clone(), reason });
        }
        self.shape = shape.clone();
        self.bytes = vec![0; shape.checked_bytes(DType::Float32).unwrap()];
        Ok(&mut self.bytes)
    }
    fn run(&mut self) -> Result<RunTimes, BackendError> {
        for chunk in self.bytes.chunks_exact_mut(4) {
            let x = f32::from_le_bytes((&*chunk).try_into().unwrap());
            let y = match self.engine.spoiled {
                Some((from, to)) if from == x => to,
                _ => 2.0 * x,
            };
            chunk.copy_from_slice(&y.to_le_bytes());
        }
        Ok(RunTimes::default())
    }
    fn output(&self, _index: usize) -> Result<(&Shape, &[u8]), BackendError> {
        Ok((&self.shape, &self.bytes))
    }
}

fn write_npy(path: &Path, descr: &str, shape: &[usize], bytes: &[u8]) {
    let extents: Vec<String> = shape.iter().map(|extent| format!("{extent},")).collect();
    let dims = format!("({})", extents.concat());
    let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {dims}}}");
    let len = u16::try_from(dict.len()).unwrap().to_le_bytes();
    let parts = [b"\x93NUMPY\x01\0".as_slice(), &len, dict.as_bytes(), bytes];
    fs::write(path, parts.concat()).unwrap();
}

fn write_f32(path: &Path, shape: &[usize], values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    write_npy(path, "<f4", shape, &bytes);
}

/// Five samples of two values: 0, 1 | 2, 3 | .. | 8, 9.
fn five_samples() -> (TempDir, Dataset) {
    let folder = TempDir::new().unwrap();
    let values: Vec<f32> = (0..10_u8).map(f32::from).collect();
    write_f32(&folder.path().join("x.npy"), &[5, 2], &values);
    let data = Dataset::open(folder.path(), &IndexMap::new()).unwrap();
    (folder, data)
}

fn compare(tested: Doubler, reference: Option<Doubler>) -> Result<Findings, StageError> {
    let (_folder, data) = five_samples();
    let tested = Runnable::new(Arc::new(tested), &data)?;
    let reference = match reference {
        Some(engine) => Some(Runnable::new(Arc::new(engine), &data)?),
        None => None,
    };
    let mut lane = Lane { tested, reference };
    let question = Question {
        floors: BTreeMap::new(),
        labels: None,
        recorded: None,
        batch: 4,
        reference_span: Span::default(),
    };
    let watch = Watch { progress: &NoProgress, cancel: &CancelToken::default() };
    assess::run(std::slice::from_mut(&mut lane), &question, watch)
}

fn dynamic() -> Doubler {
    Doubler::new(Dim::Symbol("n".into()))
}

#[test]
fn the_worst_sample_is_counted_over_all_batches() {
    let tested = Doubler { spoiled: Some((9.0, 10.0)), ..dynamic() };
    let findings = compare(tested, Some(dynamic())).unwrap();
    let (name, difference, shape) = &findings.differences[0];
    assert_eq!((name.as_str(), shape.as_slice()), ("y", [2].as_slice()));
    assert_eq!(difference.elements(), 10);
    let worst = difference.worst().unwrap();
    assert_eq!((worst.sample, worst.element), (4, 1));
    assert_eq!((worst.actual, worst.reference), (10.0, 18.0));
    assert_eq!(difference.max_abs(), 8.0);
}

#[test]
fn batches_that_run_at_the_same_time_are_counted_in_their_order() {
    let (_folder, data) = five_samples();
    let question = Question {
        floors: BTreeMap::new(),
        labels: None,
        recorded: None,
        batch: 1,
        reference_span: Span::default(),
    };
    let watch = Watch { progress: &NoProgress, cancel: &CancelToken::default() };
    let found = |lanes: usize| {
        let spoiled = Doubler { spoiled: Some((5.0, 11.0)), ..dynamic() };
        let (tested, other) = (Arc::new(spoiled), Arc::new(dynamic()));
        let lane = |_| Lane {
            tested: Runnable::new(Arc::clone(&tested) as Arc<dyn Engine>, &data).unwrap(),
            reference: Some(Runnable::new(Arc::clone(&other) as Arc<dyn Engine>, &data).unwrap()),
        };
        let mut lanes: Vec<Lane<'_>> = (0..lanes).map(lane).collect();
        format!("{:?}", assess::run(&mut lanes, &question, watch).unwrap())
    };
    let one = found(1);
    assert!(one.contains("sample: 2"), "{one}");
    for lanes in 2..8 {
        assert_eq!(found(lanes), one);
    }
}

#[test]
fn an_engine_of_fixed_batch_sees_every_sample_once() {
    let tested = Doubler { spoiled: Some((6.0, 0.0)), ..Doubler::new(Dim::Fixed(2)) };
    let findings = compare(tested, Some(dynamic())).unwrap();
    let (_, difference, _) = &findings.differences[0];
    assert_eq!(findings.batch, 2);
    assert_eq!(difference.elements(), 10, "sample 3 runs twice and counts once");
    assert_eq!(difference.mean_abs(), 1.2);
    assert_eq!(difference.worst().unwrap().sample, 3);
}

#[test]
fn batches_that_nothing_takes_are_refused_with_the_sizes() {
    let error = compare(Doubler::new(Dim::Fixed(7)), None).unwrap_err();
    assert_eq!(error.to_string(), "the engine takes batches of 7 samples, the data has 5");
    let error = compare(Doubler::new(Dim::Fixed(2)), Some(Doubler::new(Dim::Fixed(3))));
    assert_eq!(
        error.unwrap_err().to_string(),
        "no batch size fits both: the engine takes 2, the reference 3"
    );
    let shape = |batch| Shape(vec![batch, 2]);
    let range = ShapeRange { min: shape(1), opt: shape(2), max: shape(3) };
    let profiled =
        Doubler { profiles: vec![Profile::from([("x".to_owned(), range)])], ..dynamic() };
    assert_eq!(compare(profiled, None).unwrap().batch, 3);
}

#[test]
fn nan_counts_with_and_without_a_reference() {
    let spoiled = |to| Doubler { spoiled: Some((3.0, to)), ..dynamic() };
    let alone = compare(spoiled(f32::NAN), None).unwrap();
    assert_eq!(alone.nans, [Nans { output: "y".into(), elements: 1, first: Some((1, 1)) }]);
    let against = compare(spoiled(f32::NAN), Some(dynamic())).unwrap();
    assert_eq!(against.differences[0].1.nonfinite(), 1);
    let both = compare(spoiled(f32::INFINITY), Some(spoiled(f32::INFINITY))).unwrap();
    assert_eq!(both.differences[0].1.nonfinite(), 0);
}

#[test]
fn a_reference_without_the_output_is_refused_with_a_suggestion() {
    let mut other = dynamic();
    other.outputs[0].name = "yy".into();
    let error = compare(dynamic(), Some(other)).unwrap_err();
    assert_eq!(error.to_string(), "the reference has no output `y`");
    assert!(error.help().is_some());
}

/// The model `cnn` of the fixtures: three images, three rows of four scores.
struct Cnn {
    dir: TempDir,
    inputs: BTreeMap<String, ResolvedInput>,
    cancel: CancelToken,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cpu").join(name)
}

fn resolved(path: PathBuf, kind: Option<ArtifactKind>) -> ResolvedInput {
    ResolvedInput { path, digest: Digest::of(b""), kind }
}

impl Cnn {
    /// With the scores as they were recorded, but for `change`.
    fn new(change: impl Fn(&mut [f32])) -> Self {
        let dir = TempDir::new().unwrap();
        for folder in ["data", "recorded", "out", "scratch"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let fixtures = Dataset::open(&fixture("cnn.npz"), &IndexMap::new()).unwrap();
        let x = fixtures.array("in.x").unwrap().rows(0, 3).unwrap();
        write_npy(&dir.path().join("data/x.npy"), "<f4", &x.shape().0, x.bytes());
        let y = fixtures.array("out.y").unwrap().rows(0, 3).unwrap();
        let scores: Vec<f32> = y.as_slice().unwrap().to_vec();
        let labels: Vec<u8> = scores
            .chunks(4)
            .flat_map(|row| {
                let best = (0..4).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
                i64::try_from(best).unwrap().to_le_bytes()
            })
            .collect();
        write_npy(&dir.path().join("data/label.npy"), "<i8", &[3], &labels);
        let mut changed = scores;
        change(&mut changed);
        write_f32(&dir.path().join("recorded/y.npy"), &[3, 4], &changed);
        let inputs = BTreeMap::from([
            ("from".to_owned(), resolved(fixture("cnn.onnx"), Some(ArtifactKind::Model))),
            ("data".to_owned(), resolved(dir.path().join("data"), None)),
            ("reference".to_owned(), resolved(dir.path().join("recorded"), None)),
        ]);
        Self { dir, inputs, cancel: CancelToken::default() }
    }

    fn run(&self, validate: &Validate) -> Result<(), StageError> {
        let problems = validate.check(&CheckContext::default());
        assert!(problems.is_empty(), "{problems:?}");
        validate.run(&StageContext {
            name: "checked",
            spec_dir: self.dir.path(),
            inputs: &self.inputs,
            out: &self.dir.path().join("out"),
            scratch: &self.dir.path().join("scratch"),
            kept: &self.dir.path().join("scratch"),
            progress: &NoProgress,
            cancel: &self.cancel,
        })
    }

    fn report(&self) -> serde_json::Value {
        let text = fs::read(self.dir.path().join("out/report.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn markdown(&self) -> String {
        fs::read_to_string(self.dir.path().join("out/report.md")).unwrap()
    }
}

fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::unplaced(value)
}

fn validate() -> Validate {
    Validate {
        from: unplaced(FromRef::Stage("onnx".into())),
        reference: Some(unplaced(FileRef::Path("recorded".into()))),
        reference_backend: Spanned::default(),
        data: unplaced(FileRef::Path("data".into())),
        raw: IndexMap::new(),
        batch: default_batch(),
        compare: Some(Compare { max_relative_error: Some(unplaced(1e-4)), ..Compare::default() }),
        accuracy: None,
        latency: None,
    }
}

fn accuracy(at_least: f64) -> Accuracy {
    Accuracy {
        metric: unplaced(AccuracyMetric::Top1),
        labels: unplaced("label".into()),
        output: None,
        at_least: Some(unplaced(at_least)),
        max_drop: Some(unplaced(0.0)),
    }
}

fn latency(p99_ms: f64) -> Latency {
    Latency {
        batch: unplaced(2),
        warmup: unplaced(1),
        runs: unplaced(5),
        p50_ms: None,
        p95_ms: None,
        p99_ms: Some(unplaced(p99_ms)),
        min_throughput: None,
        at_least_as_fast_as: None,
        on_noise: Spanned::default(),
    }
}

#[test]
fn a_model_that_does_what_was_recorded_passes_every_gate() {
    let cnn = Cnn::new(|_| {});
    let everything =
        Validate { accuracy: Some(accuracy(1.0)), latency: Some(latency(60_000.0)), ..validate() };
    cnn.run(&everything).unwrap();
    let report = cnn.report();
    assert_eq!(report["format"], 1);
    assert_eq!(report["passed"], true);
    assert_eq!(report["samples"], 3);
    assert_eq!(report["accuracy"]["right"], 3);
    assert_eq!(report["accuracy"]["output"], "y");
    assert_eq!(report["outputs"][0]["elements"], 12);
    assert_eq!(report["latency"]["runs"], 5);
    let gates: Vec<&str> = report["gates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gate| gate["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        gates,
        [
            "nonfinite_elements",
            "max_relative_error",
            "accuracy top1",
            "accuracy drop top1",
            "latency p99"
        ]
    );
    assert!(cnn.markdown().starts_with("# Validation passed\n"), "{}", cnn.markdown());
}

#[test]
fn a_compiled_engine_is_compared_with_the_model_it_came_from() {
    let mut cnn = Cnn::new(|_| {});
    let folder = cnn.dir.path().join("engine");
    fs::create_dir(&folder).unwrap();
    let shape = |batch| Shape(vec![batch, 1, 8, 8]);
    let range = ShapeRange { min: shape(1), opt: shape(2), max: shape(2) };
    let profiles = [Profile::from([("x".to_owned(), range)])];
    let model = fixture("cnn.onnx");
    let cpu = backend::by_name("cpu").unwrap();
    let manifest = conformance::compile(cpu, &model, &profiles, &folder).unwrap();
    fs::write(folder.join("engine.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    cnn.inputs.insert("from".into(), resolved(folder, Some(ArtifactKind::Engine)));
    cnn.inputs.insert("reference".into(), resolved(model, None));
    cnn.run(&validate()).unwrap();
    let report = cnn.report();
    assert_eq!(report["batch"], 2, "the profile's largest");
    assert_eq!(report["tested"]["kind"], "engine");
    assert_eq!(report["reference"]["kind"], "model");
    let wide = Validate {
        latency: Some(Latency { batch: unplaced(3), ..latency(60_000.0) }),
        ..validate()
    };
    assert_eq!(
        cnn.run(&wide).unwrap_err().to_string(),
        "`latency.batch` is 3, the engine takes batches of 1 to 2"
    );
}

#[test]
fn a_broken_limit_names_output_sample_and_amount_and_keeps_the_report() {
    let cnn = Cnn::new(|scores| {
        scores.fill(0.0);
        scores[6] = 1000.0;
    });
    let strict =
        Validate { accuracy: Some(Accuracy { max_drop: None, ..accuracy(1.0) }), ..validate() };
    let error = cnn.run(&strict).unwrap_err();
    assert_eq!(error.class(), FailureClass::Gate);
    let text = error.to_string();
    assert!(
        text.starts_with("max_relative_error of output `y` is ")
            && text.contains("allowed is at most 1.000e-4 (sample 1, element [2]: ")
            && text.ends_with(" instead of 1000)"),
        "{text}"
    );
    assert!(error.help().unwrap().ends_with("report.md"));
    let report = cnn.report();
    assert_eq!(report["passed"], false);
    let gate = &report["gates"][1];
    assert_eq!((&gate["passed"], &gate["place"]["sample"]), (&false.into(), &1.into()));
    assert!(cnn.markdown().contains("| **failed**: sample 1, element [2]: "), "{}", cnn.markdown());
}

#[test]
fn accuracy_and_latency_fail_with_their_numbers() {
    let cnn = Cnn::new(<[f32]>::reverse);
    let bytes: Vec<u8> = [0_i64, 0, 0].iter().flat_map(|label| label.to_le_bytes()).collect();
    let label = cnn.dir.path().join("data/label.npy");
    let right = fs::read(&label).unwrap();
    write_npy(&label, "<i8", &[3], &bytes);
    let only = |accuracy, latency| Validate { compare: None, accuracy, latency, ..validate() };
    let asked = Accuracy { max_drop: None, ..accuracy(1.0) };
    let before: Vec<i64> = right[right.len() - 24..]
        .as_chunks::<8>()
        .0
        .iter()
        .map(|b| i64::from_le_bytes(*b))
        .collect();
    assert!(before.iter().any(|label| *label != 0), "the fixture's labels are not all 0");
    let error = cnn.run(&only(Some(asked.clone()), None)).unwrap_err();
    assert!(error.to_string().starts_with("accuracy top1 is 0"), "{error}");
    assert_eq!(error.class(), FailureClass::Gate);
    let error = cnn.run(&only(None, Some(latency(1e-9)))).unwrap_err();
    assert!(error.to_string().starts_with("latency p99 is "), "{error}");
    assert!(error.to_string().contains("ms, allowed is at most 1.000e-9 ms"), "{error}");
    write_npy(&label, "<i8", &[3], &[9; 24]);
    let error = cnn.run(&only(Some(asked), None)).unwrap_err();
    assert!(error.to_string().starts_with("label of sample 0 is "), "{error}");
    assert!(error.to_string().ends_with("output `y` has classes 0 to 3"), "{error}");
}

#[test]
fn what_the_data_lacks_is_an_error_and_no_gate() {
    let cnn = Cnn::new(|_| {});
    let named = Accuracy { output: Some(unplaced("z".into())), ..accuracy(1.0) };
    let error = cnn.run(&Validate { accuracy: Some(named), ..validate() }).unwrap_err();
    assert_eq!(error.to_string(), "there is no output `z`");
    fs::remove_file(cnn.dir.path().join("recorded/y.npy")).unwrap();
    write_f32(&cnn.dir.path().join("recorded/other.npy"), &[3, 4], &[0.0; 12]);
    let error = cnn.run(&validate()).unwrap_err();
    assert!(error.to_string().ends_with("contains none of the outputs y"), "{error}");
    let named = Limits { max_abs: Some(unplaced(1.0)), ..Limits::default() };
    let absent =
        Compare { outputs: IndexMap::from([("q".to_owned(), named)]), ..Compare::default() };
    let error = cnn.run(&Validate { compare: Some(absent), ..validate() }).unwrap_err();
    assert_eq!(error.to_string(), "`compare.outputs` names `q`, which is no output");
    write_f32(&cnn.dir.path().join("recorded/y.npy"), &[3, 2], &[0.0; 6]);
    let error = cnn.run(&validate()).unwrap_err();
    assert_eq!(error.to_string(), "output `y` has shape [3,4] and its reference [3,2]");
    fs::remove_file(cnn.dir.path().join("data/x.npy")).unwrap();
    let error = cnn.run(&validate()).unwrap_err();
    assert!(error.to_string().ends_with("contains no array `x`"), "{error}");
}

impl Cnn {
    fn report_is_absent(&self) -> bool {
        !self.dir.path().join("out/report.json").exists()
    }
}

#[test]
fn a_cancelled_validation_stops_between_batches() {
    let cnn = Cnn::new(|_| {});
    cnn.cancel.cancel();
    assert_eq!(cnn.run(&validate()).unwrap_err().class(), FailureClass::Cancelled);
    assert!(cnn.report_is_absent());
}

#[test]
fn every_mistake_in_the_settings_is_a_problem_of_its_own() {
    let model = ModelSignature {
        inputs: vec![tensor("x", vec![Dim::Any])],
        outputs: vec![tensor("logits", vec![Dim::Any]), tensor("boxes", vec![Dim::Any])],
    };
    let all = |validate: &Validate| {
        let problems =
            validate.check(&CheckContext { model: Some(&model), ..CheckContext::default() });
        problems
            .iter()
            .map(|problem| {
                let help = problem.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
                format!("{}: {}{help}\n", problem.code, problem.message)
            })
            .collect::<Vec<_>>()
            .concat()
    };
    let wrong = Validate {
        reference: None,
        batch: unplaced(0),
        compare: Some(Compare {
            max_abs: Some(unplaced(-1.0)),
            cosine: Some(unplaced(2.0)),
            outputs: IndexMap::from([(
                "logit".to_owned(),
                Limits { rmse: Some(unplaced(f64::NAN)), ..Limits::default() },
            )]),
            ..Compare::default()
        }),
        accuracy: Some(accuracy(97.0)),
        latency: Some(Latency { runs: unplaced(0), p99_ms: None, ..latency(1.0) }),
        ..validate()
    };
    let nothing = Validate { compare: None, reference: None, ..validate() };
    let empty = Validate { compare: Some(Compare::default()), ..validate() };
    insta::assert_snapshot!(format!("{}---\n{}---\n{}", all(&wrong), all(&nothing), all(&empty)));
}

#[test]
fn settings_at_their_default_do_not_reach_the_key() {
    let plain = Validate { latency: Some(latency(5.0)), ..validate() };
    assert_eq!(
        plain.settings(),
        serde_json::json!({
            "compare": { "max_relative_error": 1e-4 },
            "latency": { "batch": 2, "warmup": 1, "runs": 5, "p99_ms": 5.0 },
        })
    );
}
