//! The onnx package's own node tests, where `tests/fixtures/make_node_tests.py` has written them
//! to the folder that `TRT_PIPELINE_NODE_TESTS` names. What may not happen is a wrong result: a
//! case either agrees or is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use prost::Message as _;

use crate::backend::conformance::{compiled, run};
use crate::backend::{Backend as _, BackendError, Engine};
use crate::onnx::Model;
use crate::onnx::proto::TensorProto;
use crate::tensor::{DType, Tensor};

use super::CpuBackend;

/// Cases whose expected values are random or that leave the result open.
const UNDEFINED: &[&str] = &["test_bernoulli", "test_training_dropout"];

/// Cases that are wrong because of their data, as `known_wrong` says: rows of nothing but -inf.
const ALL_MASKED: &[&str] = &["fullymasked", "structural_empty"];

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
    // One unit in the last place of bfloat16 is 1/128 of the value.
    let relative = if got.dtype() == DType::BFloat16 { 1.0 / 127.0 } else { 2e-3 };
    got.dtype() == expected.dtype()
        && got.shape() == expected.shape()
        && got.to_f64().into_iter().zip(expected.to_f64()).all(|(a, b)| {
            let near = (a - b).abs() <= 1e-4 + relative * b.abs();
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

#[test]
fn no_node_test_of_the_onnx_package_gives_a_wrong_result() {
    let Some(folder) = std::env::var_os("TRT_PIPELINE_NODE_TESTS") else {
        eprintln!("SKIPPED: TRT_PIPELINE_NODE_TESTS names no folder (see make_node_tests.py)");
        return;
    };
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            !UNDEFINED.iter().any(|undefined| name.starts_with(undefined))
        })
        .collect();
    cases.sort();
    let (mut agrees, mut masked) = (0, 0);
    let (mut refused, mut wrong) = (BTreeMap::new(), Vec::new());
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let model = case.join("model.onnx");
        let engines = [
            ("engine", compiled(&CpuBackend, &model)),
            ("reference", CpuBackend.reference(&model, &[])),
        ];
        for (role, engine) in engines {
            match judge(case, engine) {
                Verdict::Agrees => agrees += 1,
                Verdict::Refused(reason) => {
                    refused.insert(format!("{name} ({role})"), reason);
                }
                Verdict::Wrong(_) if ALL_MASKED.iter().any(|known| name.contains(known)) => {
                    masked += 1;
                }
                Verdict::Wrong(how) => wrong.push(format!("{name} ({role}): {how}")),
            }
        }
    }
    if std::env::var_os("TRT_PIPELINE_NODE_TESTS_VERBOSE").is_some() {
        for (case, reason) in &refused {
            eprintln!("refused {case}: {}", reason.lines().next().unwrap_or_default());
        }
    }
    eprintln!(
        "{} cases, engine and reference each: {agrees} agree, {} refused, \
         {masked} wrong on rows that are all masked, {} wrong",
        cases.len(),
        refused.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "wrong results:\n{}", wrong.join("\n"));
}
