use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use indexmap::IndexMap;
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::artifact::Digest;
use crate::backend;
use crate::data::write_npz;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use crate::onnx::{Model, from_tensor};
use crate::process::CancelToken;
use crate::progress::Progress;
use crate::source::Spanned;
use crate::stage::assess::{Accuracy, AccuracyMetric};
use crate::stage::{FailureClass, FileRef, ResolvedInput};
use crate::tensor::{Shape, Tensor};

/// A chain of additions of two numbers to `x`, each zero in the model as it was. One that is
/// lowered adds its noise.
const NOISE: [[f32; 2]; 5] = [[0.001, 0.0], [0.0, -0.001], [0.0, 40.0], [0.002, 0.0], [0.0, 0.002]];

struct Project {
    dir: TempDir,
    names: Vec<String>,
    /// The sets of which models were made.
    made: RefCell<Vec<Vec<String>>>,
    /// Cancelled when so many were made.
    patience: usize,
    /// Nodes in the middle that stay where one beside them is kept.
    following: Vec<usize>,
    cancel: CancelToken,
    told: Told,
}

#[derive(Default)]
struct Told(Mutex<Vec<(u64, Option<u64>)>>);

impl Progress for Told {
    fn report(&self, phase: &str, done: u64, total: Option<u64>) {
        assert_eq!(phase, "searching");
        self.0.lock().unwrap().push((done, total));
    }
}

fn value(name: &str) -> crate::onnx::proto::ValueInfoProto {
    use crate::onnx::proto::{TensorShapeProto, TypeProto, tensor_shape_proto, type_proto};
    let dim = |value| tensor_shape_proto::Dimension { value: Some(value), ..Default::default() };
    let shape = TensorShapeProto {
        dim: vec![
            dim(tensor_shape_proto::dimension::Value::DimParam("n".into())),
            dim(tensor_shape_proto::dimension::Value::DimValue(2)),
        ],
    };
    let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(shape) };
    crate::onnx::proto::ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            denotation: None,
        }),
        ..Default::default()
    }
}

/// The chain with what its nodes add.
fn chain(added: &[[f32; 2]]) -> Vec<u8> {
    let mut graph = GraphProto { name: Some("g".into()), ..GraphProto::default() };
    let mut last = "x".to_owned();
    for (index, added) in added.iter().enumerate() {
        let constant = format!("c{index}");
        let tensor = Tensor::from_f32(Shape(vec![2]), added).unwrap();
        graph.initializer.push(from_tensor(&constant, &tensor));
        let output = if index + 1 == NOISE.len() { "y".into() } else { format!("t{index}") };
        graph.node.push(NodeProto {
            name: Some(format!("/chain/{index}")),
            op_type: Some("Add".into()),
            input: vec![last, constant],
            output: vec![output.clone()],
            ..NodeProto::default()
        });
        last = output;
    }
    graph.input.push(value("x"));
    graph.output.push(value("y"));
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(17) };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset],
        graph: Some(graph),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

impl Project {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for folder in ["out", "scratch", "kept"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("model.onnx"), chain(&[[0.0; 2]; 5])).unwrap();
        // Ten samples, of which the first number is the larger one in seven.
        let values: Vec<f32> =
            (0..10).flat_map(|sample| if sample < 7 { [9.0, 1.0] } else { [1.0, 9.0] }).collect();
        let x = Tensor::from_f32(Shape(vec![10, 2]), &values).unwrap();
        let mut label = Tensor::zeros(crate::tensor::DType::Int64, Shape(vec![10])).unwrap();
        for element in label.bytes_mut().chunks_exact_mut(8).skip(7) {
            element[0] = 1;
        }
        write_npz(&dir.path().join("data.npz"), [("x", &x), ("label", &label)]).unwrap();
        let names = (0..5).map(|index| format!("/chain/{index}")).collect();
        let (cancel, told) = (CancelToken::default(), Told::default());
        let (made, patience, following) = (RefCell::default(), usize::MAX, Vec::new());
        Self { dir, names, made, patience, following, cancel, told }
    }

    fn make(&self, kept: &[&str], folder: &Path) -> Result<(), StageError> {
        let mut made = self.made.borrow_mut();
        made.push(kept.iter().map(|&name| name.to_owned()).collect());
        if made.len() >= self.patience {
            self.cancel.cancel();
        }
        let stays = self.stays(kept);
        let added: Vec<[f32; 2]> =
            (0..5).map(|index| if stays[index] { [0.0; 2] } else { NOISE[index] }).collect();
        let path = folder.join("model.onnx");
        fs::write(&path, chain(&added)).map_err(StageError::io("write", &path))
    }

    /// Which nodes stay as they are: those kept, and those that follow where one beside them is.
    fn stays(&self, kept: &[&str]) -> [bool; 5] {
        let is_kept = |index: usize| kept.contains(&format!("/chain/{index}").as_str());
        std::array::from_fn(|index| {
            let follows = self.following.contains(&index);
            is_kept(index) || (follows && (is_kept(index - 1) || is_kept(index + 1)))
        })
    }

    fn run(&self, settings: &Search) -> Result<Outcome, StageError> {
        let problems = settings.problems(None);
        assert!(problems.is_empty(), "{problems:?}");
        let path = self.dir.path().join("data.npz");
        let data = ResolvedInput { path, digest: Digest::of(b""), kind: None };
        let folder = |name: &str| -> PathBuf { self.dir.path().join(name) };
        let cx = StageContext {
            name: "int8",
            spec_dir: self.dir.path(),
            inputs: &BTreeMap::from([(DATA.to_owned(), data)]),
            out: &folder("out"),
            scratch: &folder("scratch"),
            kept: &folder("kept"),
            progress: &self.told,
            cancel: &self.cancel,
        };
        let task = Task {
            settings,
            backend: backend::by_name("cpu").unwrap(),
            model: &folder("model.onnx"),
            candidates: &self.names,
            make: &|kept, folder| self.make(kept, folder),
            effect: &|kept| Ok(Digest::of(format!("{:?}", self.stays(kept)).as_bytes())),
            made_of: Fingerprint {
                inputs: BTreeMap::new(),
                kind: "calibrate".into(),
                settings: Value::Null,
                tools: BTreeMap::new(),
                version: 1,
            },
            list: "skip",
            lowered: "quantized",
            out_of_reach: LOWER_IT,
        };
        super::run(&task, &cx)
    }

    fn report(&self) -> String {
        fs::read_to_string(self.dir.path().join("out/search.json")).unwrap()
    }
}

fn search(objective: Objective) -> Search {
    Search {
        data: Spanned::unplaced(FileRef::Path("data.npz".into())),
        raw: IndexMap::new(),
        batch: Spanned::unplaced(4),
        objective: Spanned::unplaced(objective),
        budget: Spanned::unplaced(20),
    }
}

fn snr_db(limit: f64) -> Objective {
    Objective { snr_db: Some(Spanned::unplaced(limit)), accuracy: None }
}

fn top1(at_least: Option<f64>, max_drop: Option<f64>) -> Objective {
    let accuracy = Accuracy {
        metric: Spanned::unplaced(AccuracyMetric::Top1),
        labels: Spanned::unplaced("label".into()),
        output: None,
        at_least: at_least.map(Spanned::unplaced),
        max_drop: max_drop.map(Spanned::unplaced),
    };
    Objective { accuracy: Some(accuracy), snr_db: None }
}

#[test]
fn the_noisy_node_is_found_and_the_list_to_paste_told() {
    let project = Project::new();
    let outcome = project.run(&search(snr_db(40.0))).unwrap();
    assert_eq!(outcome.kept, ["/chain/2"]);
    insta::assert_snapshot!(format!("{}---\n{}", outcome.summary, project.report()));
    assert_eq!(project.told.0.lock().unwrap()[..2], [(0, Some(20)), (1, Some(20))]);
    let left = fs::read_dir(project.dir.path().join("scratch")).unwrap().count();
    assert_eq!(left, 0, "models that were tried are deleted");
}

#[test]
fn an_accuracy_is_an_objective_too_and_both_must_hold() {
    let project = Project::new();
    let outcome = project.run(&search(top1(None, Some(0.0)))).unwrap();
    assert_eq!(outcome.kept, ["/chain/2"]);
    let report: Value = serde_json::from_str(&project.report()).unwrap();
    assert_eq!(report["nothing_kept"]["accuracy"], 0.3);
    assert_eq!(report["result"]["accuracy"], 1.0);
    assert_eq!(report["result"]["accuracy_before"], 1.0);
    assert!(outcome.summary.contains("the model as it was: top1 1.0000"), "{}", outcome.summary);
    let both = Objective { snr_db: Some(Spanned::unplaced(70.0)), ..top1(Some(0.9), None) };
    let outcome = project.run(&search(both)).unwrap();
    assert!(outcome.kept.len() > 1, "{:?}", outcome.kept);
    let outcome = project.run(&search(top1(Some(0.3), None))).unwrap();
    assert!(outcome.kept.is_empty());
    assert!(outcome.summary.ends_with("`search` can go from the spec\n"), "{}", outcome.summary);
}

#[test]
fn an_objective_out_of_reach_is_an_error_with_what_is_reached() {
    let mut project = Project::new();
    fs::write(project.dir.path().join("model.onnx"), chain(&[[0.0, 100.0]; 5])).unwrap();
    let both = Objective { snr_db: Some(Spanned::unplaced(20.0)), ..top1(Some(0.9), None) };
    let error = project.run(&search(both)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model misses the objective even where all 5 nodes are kept: it reaches SNR 0.1 dB, top1 \
         1.0000"
    );
    assert_eq!(error.class(), FailureClass::Failed);
    project.names.clear();
    let error = project.run(&search(snr_db(20.0))).unwrap_err().to_string();
    assert!(error.starts_with("nothing of the model is quantized, and it misses"), "{error}");
}

#[test]
fn a_search_that_was_cancelled_goes_on_and_ends_as_if_it_had_not_been() {
    let whole = Project::new();
    let expected = whole.run(&search(snr_db(60.0))).unwrap();
    let trials = whole.made.borrow().len();
    let mut project = Project::new();
    for _ in 1..trials {
        // One trial more than the run before, and cancelled in the next.
        project.patience = project.made.borrow().len() + 2;
        project.cancel = CancelToken::default();
        let error = project.run(&search(snr_db(60.0))).unwrap_err();
        assert_eq!(error.class(), FailureClass::Cancelled, "{error}");
        assert!(!project.dir.path().join("out/search.json").exists());
    }
    project.patience = usize::MAX;
    project.cancel = CancelToken::default();
    let outcome = project.run(&search(snr_db(60.0))).unwrap();
    assert_eq!(outcome.kept, expected.kept);
    let remembered = format!("found in {trials} trials, {} of them remembered;", trials - 1);
    let told = expected.summary.replace(&format!("found in {trials} trials;"), &remembered);
    assert_eq!(outcome.summary, told);
    assert_eq!(project.report(), whole.report());
    // The run that is cancelled while it measures keeps nothing of that one trial.
    let mut made = project.made.borrow().clone();
    made.dedup();
    assert_eq!(made, *whole.made.borrow());
}

#[test]
fn another_limit_makes_no_known_trial_again_and_other_samples_make_all() {
    let project = Project::new();
    project.run(&search(snr_db(40.0))).unwrap();
    let trials = project.made.borrow().len();
    project.run(&search(snr_db(39.0))).unwrap();
    assert_eq!(project.made.borrow().len(), trials);
    let batch = Search { batch: Spanned::unplaced(5), ..search(snr_db(40.0)) };
    project.run(&batch).unwrap();
    assert_eq!(project.made.borrow().len(), 2 * trials);
}

#[test]
fn a_small_budget_gives_a_passing_set_and_says_that_it_may_not_be_smallest() {
    let project = Project::new();
    let few = Search { budget: Spanned::unplaced(2), ..search(snr_db(40.0)) };
    let outcome = project.run(&few).unwrap();
    assert_eq!(outcome.kept.len(), 5);
    let told = "the budget of 2 ended the search, a smaller set may do";
    assert!(outcome.summary.contains(told), "{}", outcome.summary);
    let report: Value = serde_json::from_str(&project.report()).unwrap();
    assert_eq!(report["complete"], false);
}

#[test]
fn what_is_not_lowered_alone_takes_no_trial_and_has_no_sensitivity() {
    let project = Project { following: vec![1, 3], ..Project::new() };
    let outcome = project.run(&search(snr_db(40.0))).unwrap();
    assert_eq!(outcome.kept, ["/chain/2"]);
    let mut models: Vec<[bool; 5]> = project
        .made
        .borrow()
        .iter()
        .map(|kept| project.stays(&kept.iter().map(String::as_str).collect::<Vec<_>>()))
        .collect();
    let trials = models.len();
    models.sort_unstable();
    models.dedup();
    assert_eq!(models.len(), trials, "no model is made twice");
    assert!(!outcome.summary.contains("/chain/1"), "{}", outcome.summary);
    let told = "  2 more are quantized only together with neighbours\n";
    assert!(outcome.summary.contains(told), "{}", outcome.summary);
    let report: Value = serde_json::from_str(&project.report()).unwrap();
    assert_eq!(report["sensitivities"].as_array().unwrap().len(), 3);
}

#[test]
fn what_the_data_lacks_is_an_error_before_anything_is_tried() {
    let project = Project::new();
    let mut named = top1(Some(0.9), None);
    named.accuracy.as_mut().unwrap().labels = Spanned::unplaced("labels".into());
    let error = project.run(&search(named)).unwrap_err();
    assert!(error.to_string().ends_with("contains no array `labels`"), "{error}");
    assert!(project.made.borrow().is_empty());
}

#[test]
fn every_mistake_is_a_problem_of_its_own() {
    let texts = |search: &Search| -> Vec<String> {
        search.problems(None).into_iter().map(|problem| problem.message).collect()
    };
    let wrong = Search {
        batch: Spanned::unplaced(0),
        budget: Spanned::unplaced(1),
        ..search(Objective { snr_db: Some(Spanned::unplaced(f64::NAN)), ..top1(Some(97.0), None) })
    };
    assert_eq!(
        texts(&wrong),
        [
            "`search.batch` is 0",
            "`search.budget` is 1, expected 2 or more",
            "`at_least` is 97, expected a fraction from 0 to 1",
            "`snr_db` is NaN, expected a number",
        ]
    );
    assert_eq!(texts(&search(Objective::default())), ["`search.objective` sets no limit"]);
    let unlimited = search(top1(None, None)).problems(None);
    assert_eq!(unlimited[0].message, "`accuracy` sets no limit");
    assert_eq!(unlimited[0].help.as_deref(), Some("set `at_least` or `max_drop`"));
}

#[test]
fn names_are_quoted_so_that_a_spec_reads_them_back() {
    for name in ["/a/b", "*: # \"x\"", "tab\t", "ü", "- ", "no"] {
        let quoted = report::quoted(name);
        let read: Vec<String> = serde_yaml::from_str(&format!("- {quoted}\n")).unwrap();
        assert_eq!(read, [name]);
    }
    assert_eq!(report::quoted("a${b}"), "\"a$${b}\"");
}

#[test]
fn the_chain_is_a_model_that_passes_the_check() {
    let bytes = chain(&NOISE).into();
    Model::parse(&bytes, Path::new("chain.onnx")).unwrap().check().unwrap();
}
