//! What is the library's own, beside what every backend must do. Skipped where it is missing.

use std::path::Path;
use std::sync::Arc;

use prost::Message as _;

use crate::backend::conformance::{Recorded, assert_close, compile, compiled, run};
use crate::backend::cpu::CpuBackend;
use crate::backend::small_models::{node, value, write};
use crate::backend::{Backend, BackendError, CompileRequest, Engine, tensorrt};
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
    attribute_proto,
};
use crate::process::CancelToken;
use crate::progress::NoProgress;
use crate::tensor::{DType, Tensor};

use super::{OnnxRuntimeBackend, discover};

/// Whether the library is here; says so where it is not.
fn available() -> bool {
    match discover::find() {
        Ok(_) => true,
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            false
        }
    }
}

mod conformance {
    use super::*;
    use crate::backend::conformance::conformance_tests;

    conformance_tests!(OnnxRuntimeBackend, if available());
}

fn outputs(engine: &Arc<dyn Engine>, inputs: &[Tensor]) -> Vec<Tensor> {
    let mut context = Arc::clone(engine).new_context().unwrap();
    run(engine.as_ref(), context.as_mut(), inputs).unwrap()
}

#[test]
fn low_precision_models_and_recurrences_give_what_was_recorded() {
    if !available() {
        return;
    }
    let models = ["half", "fp8_matmul", "int4_blocked", "lstm_reverse", "gru_reverse", "d2s_crd"];
    for name in models {
        let recorded = Recorded::new(name);
        let engines = [
            compiled(&OnnxRuntimeBackend, &recorded.model).unwrap(),
            OnnxRuntimeBackend.reference(&recorded.model, &[]).unwrap(),
        ];
        for engine in engines {
            let got = outputs(&engine, &recorded.inputs(engine.as_ref()));
            for (got, expected) in got.iter().zip(recorded.outputs(engine.as_ref())) {
                assert_close(got, &expected, 2e-3, 1e-3);
            }
        }
    }
}

#[test]
fn quantized_models_are_within_a_quantum_of_the_cpu_backend() {
    if !available() {
        return;
    }
    for (name, quantum) in [("qdq_cnn", 0.05), ("qdq_softmax", 1.0 / 255.0)] {
        let recorded = Recorded::new(name);
        let of = |backend: &dyn Backend| {
            let engine = compiled(backend, &recorded.model).unwrap();
            outputs(&engine, &recorded.inputs(engine.as_ref()))
        };
        for (ours, cpu) in of(&OnnxRuntimeBackend).iter().zip(of(&CpuBackend)) {
            assert_close(ours, &cpu, 0.0, quantum * 1.001);
        }
    }
}

#[test]
fn an_observer_differs_from_the_reference_by_rounding_only() {
    if !available() {
        return;
    }
    let recorded = Recorded::new("cnn");
    let model = crate::onnx::Model::load(&recorded.model).unwrap();
    let names: Vec<String> =
        model.graph.node.iter().flat_map(|node| &node.output).cloned().collect();
    assert!(names.len() > 3);
    let reference = OnnxRuntimeBackend.reference(&recorded.model, &names).unwrap();
    let observer = OnnxRuntimeBackend.observer(&recorded.model, &names).unwrap();
    let inputs = recorded.inputs(reference.as_ref());
    for (fast, exact) in outputs(&observer, &inputs).iter().zip(outputs(&reference, &inputs)) {
        assert_close(fast, &exact, 1e-5, 1e-5);
    }
}

#[test]
fn inputs_and_constants_can_be_observed_too() {
    if !available() {
        return;
    }
    let recorded = Recorded::new("mlp");
    let model = crate::onnx::Model::load(&recorded.model).unwrap();
    let constant = model.graph.initializer[0].name().to_owned();
    let names = ["x".to_owned(), constant, "x".to_owned()];
    let engine = OnnxRuntimeBackend.observer(&recorded.model, &names).unwrap();
    let inputs = recorded.inputs(engine.as_ref());
    let got = outputs(&engine, &inputs);
    assert_eq!(got[0].bytes(), inputs[0].bytes());
    assert_eq!(got[2].bytes(), inputs[0].bytes());
    assert_eq!(got[1].bytes(), model.values(&model.graph.initializer[0]).unwrap().bytes());
}

#[test]
fn float8_and_boolean_tensors_go_in_and_come_out() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    let cast = |input, output, to: DataType| NodeProto {
        attribute: vec![AttributeProto {
            name: Some("to".to_owned()),
            r#type: Some(attribute_proto::AttributeType::Int as i32),
            i: Some(to as i64),
            ..AttributeProto::default()
        }],
        ..node("Cast", &[input], output)
    };
    let (f8, f32, bool) = (DataType::Float8e4m3fn, DataType::Float, DataType::Bool);
    let graph = GraphProto {
        node: vec![cast("x", "q", f8), cast("p", "y", f32), node("Not", &["b"], "n")],
        input: vec![value("x", f32, &[3]), value("p", f8, &[3]), value("b", bool, &[3])],
        output: vec![value("q", f8, &[3]), value("y", f32, &[3]), value("n", bool, &[3])],
        ..GraphProto::default()
    };
    write(&path, graph);
    let engine = compiled(&OnnxRuntimeBackend, &path).unwrap();
    let numbers = Tensor::from_f32(vec![3].into(), &[1.0, -448.0, 0.3]).unwrap();
    let eighths = Tensor::from_bytes(DType::Float8E4M3, vec![3].into(), &[0x38, 0x7e, 1]).unwrap();
    // What is not 0 is true, and the library sees 1 for it.
    let flags = Tensor::from_bytes(DType::Bool, vec![3].into(), &[0, 1, 2]).unwrap();
    let got = outputs(&engine, &[numbers, eighths, flags]);
    assert_eq!(got[0].to_f64(), [1.0, -448.0, 0.3125]);
    assert_eq!(got[1].to_f64(), [1.0, 448.0, 2f64.powi(-9)]);
    assert_eq!(got[2].bytes(), [1, 0, 0]);
}

/// A model that takes rows out of a table of so many rows of 1024 numbers, in a file beside it.
fn table(folder: &Path, rows: i64) -> std::path::PathBuf {
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    let weights = TensorProto {
        name: Some("table".to_owned()),
        data_type: Some(DataType::Float as i32),
        dims: vec![rows, 1024],
        data_location: Some(DataLocation::External as i32),
        external_data: vec![entry("location", "table.data")],
        ..TensorProto::default()
    };
    let graph = GraphProto {
        node: vec![node("Gather", &["table", "i"], "row"), node("Neg", &["row"], "y")],
        initializer: vec![weights],
        input: vec![value("i", DataType::Int64, &[1])],
        output: vec![value("y", DataType::Float, &[1, 1024])],
        ..GraphProto::default()
    };
    // A file with a hole takes no space.
    let file = std::fs::File::create(folder.join("table.data")).unwrap();
    file.set_len(u64::try_from(rows).unwrap() * 4096).unwrap();
    let last = 1.5_f32.to_le_bytes();
    std::os::unix::fs::FileExt::write_all_at(&file, &last, u64::try_from(rows).unwrap() * 4096 - 4)
        .unwrap();
    let path = folder.join("m.onnx");
    write(&path, graph);
    path
}

#[test]
fn a_model_with_more_than_two_gigabytes_beside_it_is_loaded_with_inner_tensors_out() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let rows = 550_000;
    let path = table(dir.path(), rows);
    let index = Tensor::from_i64(vec![1].into(), &[rows - 1]).unwrap();
    let names = ["row".to_owned(), "y".to_owned()];
    let engine = OnnxRuntimeBackend.reference(&path, &names).unwrap();
    let got = outputs(&engine, &[index]);
    assert_eq!((got[0].to_f64()[1023], got[1].to_f64()[1023]), (1.5, -1.5));
}

#[test]
fn a_model_with_external_data_becomes_an_engine_with_it() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let engine = compiled(&OnnxRuntimeBackend, &table(dir.path(), 2)).unwrap();
    let got = outputs(&engine, &[Tensor::from_i64(vec![1].into(), &[1]).unwrap()]);
    assert_eq!(got[0].to_f64().last(), Some(&-1.5));
}

#[test]
fn data_outside_the_models_folder_is_refused() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), 2);
    let inner = dir.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let moved = inner.join("m.onnx");
    let mut model = ModelProto::decode(std::fs::read(&path).unwrap().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.initializer[0].external_data[0].value = Some("../table.data".to_owned());
    std::fs::write(&moved, model.encode_to_vec()).unwrap();
    for names in [vec![], vec!["row".to_owned()]] {
        assert!(OnnxRuntimeBackend.reference(&moved, &names).is_err());
    }
    assert!(compiled(&OnnxRuntimeBackend, &moved).is_err());
}

#[test]
fn an_engine_says_which_library_made_it() {
    if !available() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let model = Recorded::new("mlp").model;
    let manifest = compile(&OnnxRuntimeBackend, &model, &[], out.path()).unwrap();
    let version = &discover::find().unwrap().version;
    assert_eq!(manifest.library.get("onnxruntime"), Some(version));
}

#[test]
fn negative_values_do_not_pass_a_relu_on_their_way_to_eight_bits() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let constant = |name: &str, of: DataType, bytes: &[u8]| TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(of as i32),
        raw_data: Some(bytes.to_vec().into()),
        ..TensorProto::default()
    };
    let grids = [
        (DataType::Float8e4m3fn, 0, 2.0),
        (DataType::Int8, 0, 2.0),
        (DataType::Int8, 0x80, 2.0),
        (DataType::Uint8, 0, 2.0),
    ];
    for (grid, zero_point, expected) in grids {
        let path = dir.path().join("m.onnx");
        let graph = GraphProto {
            node: vec![
                node("Relu", &["x"], "r"),
                node("QuantizeLinear", &["r", "scale", "zero"], "q"),
                node("DequantizeLinear", &["q", "scale", "zero"], "y"),
            ],
            initializer: vec![
                constant("scale", DataType::Float, &0.5_f32.to_le_bytes()),
                constant("zero", grid, &[zero_point]),
            ],
            input: vec![value("x", DataType::Float, &[2])],
            output: vec![value("y", DataType::Float, &[2])],
            ..GraphProto::default()
        };
        write(&path, graph);
        let x = Tensor::from_f32(vec![2].into(), &[-3.0, 2.0]).unwrap();
        for engine in [
            compiled(&OnnxRuntimeBackend, &path).unwrap(),
            OnnxRuntimeBackend.observer(&path, &[]).unwrap(),
        ] {
            let got = outputs(&engine, std::slice::from_ref(&x));
            assert_eq!(got[0].to_f64(), [0.0, expected], "{grid:?} from {zero_point}");
        }
    }
}

#[test]
fn a_cancelled_compilation_is_told_as_one() {
    if !available() {
        return;
    }
    let (out, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cancel = CancelToken::default();
    cancel.cancel();
    let request = CompileRequest {
        model: &Recorded::new("mlp").model,
        profiles: &[],
        tensorrt: &tensorrt::Options::default(),
        files: &tensorrt::Files::default(),
        builds: 1,
        timeout: None,
        out: out.path(),
        scratch: scratch.path(),
        kept: scratch.path(),
        progress: &NoProgress,
        cancel: &cancel,
    };
    assert!(matches!(OnnxRuntimeBackend.compile(&request), Err(BackendError::Cancelled)));
}

#[test]
fn an_operator_without_a_kernel_is_told_by_its_node() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    let of = DataType::Bfloat16;
    let graph = GraphProto {
        node: vec![NodeProto { name: Some("sum".to_owned()), ..node("Add", &["a", "a"], "y") }],
        input: vec![value("a", of, &[1])],
        output: vec![value("y", of, &[1])],
        ..GraphProto::default()
    };
    write(&path, graph);
    let error = compiled(&OnnxRuntimeBackend, &path).err().expect("a refusal");
    assert!(
        matches!(&error, BackendError::Unsupported { node, op, .. } if node == "sum" && op == "Add"),
        "{error}"
    );
}
