//! The onnx package's own node tests, where `tests/fixtures/make_node_tests.py` has written them
//! to the folder that `TRT_PIPELINE_NODE_TESTS` names, for every backend that runs here.
//!
//! A case passes where it agrees as it is or with all inputs but the first as constants. What came
//! of them is held against the counts in `tests/fixtures/node_tests.json`; `UPDATE_NODE_TESTS=1` writes it anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message as _;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::onnx::Model;
use crate::onnx::proto::TensorProto;
use crate::tensor::{DType, Tensor};

use super::conformance::{compiled, run};
use super::{Backend, BackendError, Engine, cpu, onnxruntime};

/// Cases whose expected values are random or that leave the result open.
const UNDEFINED: &[&str] = &["test_bernoulli", "test_training_dropout"];

/// What is committed.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Table {
    format: u32,
    /// The version of the onnx package.
    onnx: String,
    backends: BTreeMap<String, Results>,
}

/// What came of the cases with one backend.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Results {
    /// Which library ran them.
    library: String,
    cases: usize,
    /// Through `compile` and `load`.
    engine: Counts,
    /// Through `reference`.
    reference: Counts,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counts {
    passed: usize,
    refused: usize,
    /// What may not be: results that are not those of the package.
    wrong: Vec<String>,
}

enum Verdict {
    Agrees,
    Refused(String),
    Wrong(String),
}

fn tensors(folder: &Path, role: &str) -> Option<Vec<Tensor>> {
    let model = Model::load(&folder.join("model.onnx")).ok()?;
    let files = (0..).map(|index| folder.join(format!("{role}_{index}.pb")));
    let files = files.take_while(|path| path.exists());
    files
        .map(|path| {
            let proto = TensorProto::decode(std::fs::read(path).ok()?.as_slice()).ok()?;
            model.values(&proto).ok()
        })
        .collect()
}

fn agree(got: &Tensor, expected: &Tensor) -> bool {
    let integers = !got.dtype().is_float();
    // Where large terms cancel, what is left is as coarse as they were.
    let largest =
        expected.to_f64().into_iter().filter(|v| v.is_finite()).fold(0., |a, b| b.abs().max(a));
    let absolute = 1e-4_f64.max(1e-6 * largest);
    // One unit in the last place of bfloat16 is 1/128 of the value, and functions that are written
    // out as nodes round at each of them.
    let relative = if got.dtype() == DType::BFloat16 { 3.0 / 128.0 } else { 2e-3 };
    got.dtype() == expected.dtype()
        && got.shape() == expected.shape()
        && got.to_f64().into_iter().zip(expected.to_f64()).all(|(a, b)| {
            let near = (a - b).abs() <= absolute + relative * b.abs();
            a.to_bits() == b.to_bits()
                || (a.is_nan() && b.is_nan())
                || near && !(integers && (a - b).abs() > 0.0)
        })
}

fn judge(folder: &Path, engine: Result<Arc<dyn Engine>, BackendError>) -> Verdict {
    let engine = match engine {
        Ok(engine) => engine,
        Err(error) => return Verdict::Refused(error.to_string()),
    };
    let (Some(inputs), Some(expected)) = (tensors(folder, "input"), tensors(folder, "output"))
    else {
        return Verdict::Refused("values of a type that tensors do not have".to_owned());
    };
    let mut context = Arc::clone(&engine).new_context().unwrap();
    match run(engine.as_ref(), context.as_mut(), &inputs) {
        Err(error) => Verdict::Refused(error.to_string()),
        Ok(outputs) => {
            let wrong = outputs.iter().zip(&expected).find(|(got, want)| !agree(got, want));
            wrong.map_or(Verdict::Agrees, |(got, want)| {
                let head =
                    |tensor: &Tensor| tensor.to_f64().into_iter().take(6).collect::<Vec<_>>();
                Verdict::Wrong(format!(
                    "{} {:?} {:?}, expected {} {:?} {:?}",
                    got.dtype(),
                    got.shape(),
                    head(got),
                    want.dtype(),
                    want.shape(),
                    head(want)
                ))
            })
        }
    }
}

/// The cases: their names, and the folders of both ways to ask.
fn cases(folder: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut cases: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let name = name.strip_suffix(".constant").unwrap_or(&name).to_owned();
        if path.is_dir() && !UNDEFINED.iter().any(|undefined| name.starts_with(undefined)) {
            cases.entry(name).or_default().push(path);
        }
    }
    cases
}

type Load = fn(&dyn Backend, &Path) -> Result<Arc<dyn Engine>, BackendError>;

fn count(backend: &dyn Backend, cases: &BTreeMap<String, Vec<PathBuf>>, load: Load) -> Counts {
    let judged: Vec<(&String, Verdict)> = cases
        .par_iter()
        .map(|(name, ways)| {
            let verdicts =
                ways.iter().map(|way| judge(way, load(backend, &way.join("model.onnx"))));
            // Wrong is wrong, whatever the other way gives.
            let verdict = verdicts.reduce(|a, b| match (a, b) {
                (Verdict::Wrong(how), _) | (_, Verdict::Wrong(how)) => Verdict::Wrong(how),
                (Verdict::Refused(_), other) => other,
                (Verdict::Agrees, _) => Verdict::Agrees,
            });
            (name, verdict.unwrap_or(Verdict::Agrees))
        })
        .collect();
    let mut counts = Counts::default();
    for (name, verdict) in judged {
        match verdict {
            Verdict::Agrees => counts.passed += 1,
            Verdict::Refused(reason) => {
                counts.refused += 1;
                if std::env::var_os("TRT_PIPELINE_NODE_TESTS_VERBOSE").is_some() {
                    eprintln!("refused {name}: {}", reason.lines().next().unwrap_or_default());
                }
            }
            Verdict::Wrong(how) => {
                eprintln!("wrong {name}: {how}");
                counts.wrong.push(name.clone());
            }
        }
    }
    counts
}

/// The library behind a backend, as its cache key names it.
fn library(backend: &dyn Backend) -> Option<String> {
    let tools = backend.tools(&super::tensorrt::Options::default()).ok()?;
    let (name, version) =
        ["tract", "onnxruntime"].iter().find_map(|name| Some((name, tools.get(*name)?)))?;
    Some(format!("{name} {version}"))
}

#[test]
fn the_node_tests_of_the_onnx_package_give_what_they_gave() {
    let Some(folder) = std::env::var_os("TRT_PIPELINE_NODE_TESTS").map(PathBuf::from) else {
        eprintln!("SKIPPED: TRT_PIPELINE_NODE_TESTS names no folder (see make_node_tests.py)");
        return;
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/node_tests.json");
    let committed = std::fs::read(&path).ok();
    let committed: Option<Table> = committed.map(|text| serde_json::from_slice(&text).unwrap());
    let onnx = std::fs::read_to_string(folder.join("version")).unwrap();
    let cases = cases(&folder);
    let mut backends = BTreeMap::new();
    let all: [&dyn Backend; 2] = [&cpu::CpuBackend, &onnxruntime::OnnxRuntimeBackend];
    for backend in all {
        let Some(library) = library(backend) else {
            eprintln!("SKIPPED: backend {} is not available here", backend.name());
            continue;
        };
        let results = Results {
            library,
            cases: cases.len(),
            engine: count(backend, &cases, |backend, model| compiled(backend, model)),
            reference: count(backend, &cases, |backend, model| backend.reference(model, &[])),
        };
        eprintln!("{}: {results:#?}", backend.name());
        backends.insert(backend.name().to_owned(), results);
    }
    if std::env::var_os("UPDATE_NODE_TESTS").is_some() {
        let table = Table { format: 1, onnx, backends };
        std::fs::write(&path, serde_json::to_string_pretty(&table).unwrap() + "\n").unwrap();
        return;
    }
    let committed = committed.expect("UPDATE_NODE_TESTS=1 writes the table");
    assert_eq!(onnx, committed.onnx, "the table is of another onnx package");
    for (name, results) in &backends {
        let before = committed.backends.get(name).expect("a backend of the table");
        let roles = [
            ("engine", &results.engine, &before.engine),
            ("reference", &results.reference, &before.reference),
        ];
        for (role, now, before) in roles {
            let new: Vec<&String> =
                now.wrong.iter().filter(|w| !before.wrong.contains(w)).collect();
            assert!(new.is_empty(), "{name}, {role}: newly wrong: {new:?}");
            let (now, before) = (now.passed, before.passed);
            assert!(now >= before, "{name}, {role}: {now} cases pass where {before} did");
            if now > before {
                eprintln!("{name}, {role}: {now} pass, more than {before}: UPDATE_NODE_TESTS=1");
            }
        }
    }
}
