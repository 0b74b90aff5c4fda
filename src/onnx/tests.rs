use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use prost::Message;

use super::proto::TensorProto;
use super::proto::tensor_proto::{DataLocation, DataType};
use super::*;
use crate::tensor::{DType, Dim, Shape, Tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx").join(name)
}

fn load(name: &str) -> Model {
    Model::load(&fixture(name)).unwrap()
}

/// The model with the values of its first initializer in `location`.
fn with_location(location: &str) -> Model {
    let mut model = load("external.onnx");
    model.graph.initializer[0].external_data[0].value = Some(location.into());
    model
}

#[test]
fn the_signature_leaves_initializers_out_and_keeps_symbols() {
    let mut model = load("mlp.onnx");
    let mut default = model.graph.input[0].clone();
    default.name = Some("w1".into());
    model.graph.input.push(default);
    let signature = model.signature().unwrap();
    assert_eq!(signature.inputs.len(), 1);
    assert_eq!(signature.inputs[0].to_string(), "x float32 [batch,4]");
    assert_eq!(signature.outputs[0].dims, Some(vec![Dim::Symbol("batch".into()), Dim::Fixed(3)]));
}

#[test]
fn the_summary_counts_nodes_of_subgraphs_and_parameters() {
    let summary = load("if_capture.onnx").summary().unwrap();
    assert_eq!(summary.nodes, 5);
    assert_eq!(summary.operators["Mul"], 1);
    assert_eq!((summary.parameters, summary.parameter_bytes), (4, 16));
    assert_eq!(summary.opsets["ai.onnx"], 17);
    assert_eq!(summary.producer, "make_fixtures");
}

#[test]
fn external_files_are_listed_without_the_files_being_there() {
    assert_eq!(external_files(&fixture("external.onnx")).unwrap(), ["external.data"]);
    assert_eq!(external_files(&fixture("bad_missing_external.onnx")).unwrap(), ["nowhere.data"]);
    assert!(external_files(&fixture("mlp.onnx")).unwrap().is_empty());
    assert!(matches!(
        external_files(&fixture("bad_truncated.onnx")),
        Err(OnnxError::Truncated { .. })
    ));
}

#[test]
fn external_files_are_found_in_attributes_and_subgraphs() {
    let folder = tempfile::tempdir().unwrap();
    let tensor = |location| with_location(location).graph.initializer[0].clone();
    let mut model = load("if_capture.onnx");
    let node = model.graph.node.last_mut().unwrap();
    let body = node.attribute[0].g.as_mut().unwrap();
    body.initializer.push(tensor("in_body"));
    let attribute = proto::AttributeProto { t: Some(tensor("a/in_t")), ..Default::default() };
    body.node[0].attribute.push(attribute.clone());
    let sparse = proto::SparseTensorProto {
        values: Some(tensor("in_values")),
        indices: Some(tensor("in_indices")),
        dims: vec![],
    };
    model.graph.sparse_initializer.push(sparse);
    model.header.functions.push(proto::FunctionProto {
        node: vec![proto::NodeProto {
            attribute: vec![proto::AttributeProto {
                tensors: vec![tensor("in_function")],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    });
    let path = folder.path().join("model.onnx");
    fs::write(&path, model.encode()).unwrap();
    assert_eq!(
        external_files(&path).unwrap(),
        ["a/in_t", "in_body", "in_function", "in_indices", "in_values"]
    );
}

#[test]
fn weights_of_a_gigabyte_are_not_read_to_find_external_files() {
    /// Counts what is read of a file that is mostly a hole.
    struct Counting(fs::File, u64);
    impl Read for Counting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1 += count as u64;
            Ok(count)
        }
    }
    impl Seek for Counting {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let weights = 1_u64 << 30;
    let external = load("external.onnx").graph.encode_to_vec();
    // graph { initializer { raw_data: <weights> } .. }
    let field = |tag: u8, len: u64| {
        let mut bytes = vec![tag];
        prost::encoding::encode_varint(len, &mut bytes);
        bytes
    };
    let raw = field(0x4a, weights);
    let tensor = field(0x2a, raw.len() as u64 + weights);
    let graph_len = tensor.len() as u64 + raw.len() as u64 + weights + external.len() as u64;
    let head = [field(0x3a, graph_len), tensor, raw].concat();
    let mut file = fs::File::create_new(&path).unwrap();
    file.write_all(&head).unwrap();
    file.seek_relative(i64::try_from(weights).unwrap()).unwrap();
    file.write_all(&external).unwrap();
    assert_eq!(external_files(&path).unwrap(), ["external.data"]);

    let mut input = io::BufReader::new(Counting(fs::File::open(&path).unwrap(), 0));
    let size = file.metadata().unwrap().len();
    assert_eq!(scan::locations(&mut input, size).unwrap().len(), 1);
    assert!(input.get_ref().1 < 64 * 1024, "{} bytes were read", input.get_ref().1);
}

#[test]
fn unknown_fields_of_every_wire_type_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    // Field 99 as a number, 8 bytes, a text, a group with a number in it, and 4 bytes.
    let mut bytes = vec![0x98, 6, 1, 0x99, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0x9a, 6, 2, 65, 66];
    bytes.extend([0x9b, 6, 0x08, 1, 0x9c, 6, 0x9d, 6, 0, 0, 0, 0]);
    bytes.extend(fs::read(fixture("external.onnx")).unwrap());
    fs::write(&path, &bytes).unwrap();
    Model::load(&path).unwrap();
    assert_eq!(external_files(&path).unwrap(), ["external.data"]);
}

#[test]
fn locations_outside_the_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(folder.path().join("secret"), [0; 128]).unwrap();
    std::os::unix::fs::symlink("../secret", inner.join("link")).unwrap();
    let path = inner.join("model.onnx");
    for location in ["/etc/passwd", "../secret", "a/../../secret", "link", "..", "."] {
        fs::write(&path, with_location(location).encode()).unwrap();
        let error = external_files(&path).unwrap_err();
        let OnnxError::ExternalData { tensor, problem, .. } = &error else { panic!("{error}") };
        assert_eq!(tensor, "w");
        assert!(matches!(problem, ExternalProblem::Escapes { .. }), "{location}: {problem}");
        assert!(Model::load(&path).unwrap().check().is_err());
    }
}

#[test]
fn saving_gathers_external_data_and_gives_the_same_values_and_bytes() {
    let source = load("external.onnx");
    let mut contents = Vec::new();
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let mut model = source.clone();
        let big = Tensor::from_f32(Shape(vec![300]), &[1.5; 300]).unwrap();
        model.graph.initializer.push(from_tensor("big", &big));
        model.save(folder.path()).unwrap();
        let saved = Model::load(&folder.path().join("model.onnx")).unwrap();
        saved.check().unwrap();
        let place = external_ref(&saved.graph.initializer[1]).unwrap().unwrap();
        assert_eq!((place.location.as_str(), place.length), ("model.onnx.data", Some(1200)));
        for (old, new) in model.graph.initializer.iter().zip(&saved.graph.initializer) {
            let (old, new) = (model.values(old).unwrap(), saved.values(new).unwrap());
            assert_eq!(old.bytes(), new.bytes());
        }
        contents.push((
            fs::read(folder.path().join("model.onnx")).unwrap(),
            fs::read(folder.path().join("model.onnx.data")).unwrap(),
        ));
    }
    assert_eq!(contents[0], contents[1]);
}

#[test]
fn a_model_without_external_data_is_saved_as_one_file() {
    let folder = tempfile::tempdir().unwrap();
    load("conv_bn.onnx").save(folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(
        fs::read(folder.path().join("model.onnx")).unwrap(),
        fs::read(fixture("conv_bn.onnx")).unwrap(),
        "the fixtures are written in field order too"
    );
}

#[test]
fn tensors_of_every_element_type_travel_both_ways() {
    let model = load("mlp.onnx");
    for kind in DType::ALL {
        let bytes: Vec<u8> = [0, 1].repeat(3 * kind.size());
        let tensor = Tensor::from_bytes(kind, Shape(vec![2, 3]), &bytes).unwrap();
        let stored = from_tensor("t", &tensor);
        assert_eq!(dtype(stored.data_type()), Some(kind));
        let back = model.values(&stored).unwrap();
        assert_eq!((back.dtype(), back.shape(), back.bytes()), (kind, tensor.shape(), &bytes[..]));
    }
}

#[test]
fn typed_fields_hold_values_as_the_standard_says() {
    let model = load("mlp.onnx");
    let stored = |data_type: DataType, fill: fn(&mut TensorProto)| {
        let mut tensor =
            TensorProto { dims: vec![2], data_type: Some(data_type as i32), ..Default::default() };
        fill(&mut tensor);
        model.values(&tensor).unwrap().to_f64()
    };
    assert_eq!(stored(DataType::Float, |t| t.float_data = vec![1.5, -2.0]), [1.5, -2.0]);
    assert_eq!(stored(DataType::Double, |t| t.double_data = vec![1.5, -2.0]), [1.5, -2.0]);
    assert_eq!(stored(DataType::Int64, |t| t.int64_data = vec![3, -4]), [3.0, -4.0]);
    assert_eq!(stored(DataType::Uint64, |t| t.uint64_data = vec![3, 4]), [3.0, 4.0]);
    assert_eq!(stored(DataType::Uint32, |t| t.uint64_data = vec![3, 4]), [3.0, 4.0]);
    let two = |t: &mut TensorProto| t.int32_data = vec![1, -2];
    assert_eq!(stored(DataType::Int32, two), [1.0, -2.0]);
    assert_eq!(stored(DataType::Int8, two), [1.0, -2.0]);
    assert_eq!(stored(DataType::Bool, |t| t.int32_data = vec![1, 0]), [1.0, 0.0]);
    // 0x3c00 is 1.0 and 0xc000 -2.0 as binary16; the same bits as bfloat16 differ.
    let halves = |t: &mut TensorProto| t.int32_data = vec![0x3c00, 0xc000];
    assert_eq!(stored(DataType::Float16, halves), [1.0, -2.0]);
    assert_eq!(stored(DataType::Bfloat16, |t| t.int32_data = vec![0x3f80, 0xc000]), [1.0, -2.0]);
    assert_eq!(stored(DataType::Float8e4m3fn, |t| t.int32_data = vec![0x38, 0xc0]), [1.0, -2.0]);
}

#[test]
fn values_that_are_not_all_there_are_an_error() {
    let mut model = load("external.onnx");
    let tensor = model.graph.initializer[0].clone();
    assert_eq!(model.values(&tensor).unwrap().elements(), 32);
    model.graph.initializer[0].dims = vec![i64::MAX, 4];
    assert!(model.values(&model.graph.initializer[0]).is_err());
    model.graph.initializer[0].dims = vec![-1];
    assert!(model.values(&model.graph.initializer[0]).is_err());
    model.graph.initializer[0].dims = vec![33];
    assert!(matches!(
        model.values(&model.graph.initializer[0]),
        Err(OnnxError::ExternalData { problem: ExternalProblem::TooShort { .. }, .. })
    ));
    model.graph.initializer[0].dims = vec![31];
    assert!(matches!(
        model.values(&model.graph.initializer[0]),
        Err(OnnxError::ExternalData {
            problem: ExternalProblem::OtherLength { needed: 124, found: 128, .. },
            ..
        })
    ));
    assert!(model.check().is_err());
    model.graph.initializer[0].data_location = Some(DataLocation::Default as i32);
    assert!(matches!(model.values(&model.graph.initializer[0]), Err(OnnxError::Values { .. })));
}

/// Everything that reads a model, on bytes from anywhere.
fn read_everything(bytes: Vec<u8>) {
    struct Nothing;
    impl passes::Evaluator for Nothing {
        fn evaluate(&self, _model: &Model) -> Result<Vec<Tensor>, String> {
            Err(String::new())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.onnx");
    fs::write(&path, &bytes).unwrap();
    let scanned = external_files(&path);
    let Ok(mut model) = Model::parse(&bytes.into(), &path) else { return };
    // Whoever can be decoded can be scanned: a cache that cannot see external data is stale.
    let excused = |error: &OnnxError| {
        matches!(error, OnnxError::ExternalData { .. } | OnnxError::OtherFile { .. })
    };
    assert!(scanned.as_ref().err().is_none_or(excused), "{scanned:?}");
    let _ = model.summary();
    let checked = model.check().is_ok();
    let _ = passes::run(&mut model, &Nothing);
    if checked {
        model.check().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_everything(bytes);
    }

    #[test]
    fn mutated_models_never_panic(
        which in 0_usize..6,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let names = ["mlp", "conv_bn", "if_capture", "constant_chain", "external", "two_inputs"];
        let mut bytes = fs::read(fixture(&format!("{}.onnx", names[which]))).unwrap();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_everything(bytes);
    }
}
