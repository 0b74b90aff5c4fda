//! What every backend must pass, written against the traits alone. [`conformance_tests!`] makes one
//! test of each check; [`Recorded`] holds a model with the outputs another engine gave for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::onnx::proto::GraphProto;
use crate::onnx::proto::tensor_proto::DataType;
use crate::tensor::{ALIGNMENT, DType, Shape, Tensor};

use super::{
    Backend, BackendError, CompileRequest, Engine, EngineManifest, ExecutionContext, LoadOptions,
    Profile, tensorrt,
};
use crate::backend::small_models::{node, value, write};
use crate::process::CancelToken;
use crate::progress::NoProgress;

/// One test per check, for a backend that is a constant expression; skipped where a condition does
/// not hold.
macro_rules! conformance_tests {
    ($backend:expr) => {
        $crate::backend::conformance::conformance_tests!($backend, if true);
    };
    ($backend:expr, if $available:expr) => {
        $crate::backend::conformance::conformance_tests!(@ $backend, $available,
            recorded_outputs_come_back_from_engine_and_reference,
            contexts_of_one_engine_agree_and_do_not_share_memory,
            contexts_run_concurrently_with_the_results_they_give_alone,
            every_batch_size_gives_the_rows_it_gives_alone,
            an_earlier_input_gives_its_output_again,
            a_shape_that_does_not_fit_is_an_input_error_that_names_the_input,
            axes_of_one_name_must_agree_between_inputs,
            an_index_past_the_end_is_an_error,
            there_are_no_outputs_before_a_run_or_after_a_failed_one,
            running_without_every_input_is_an_error,
            staging_is_aligned_and_keeps_what_was_written,
            not_a_number_passes_through,
            an_empty_batch_is_an_error_or_an_empty_result,
            a_loaded_engine_lists_what_its_manifest_lists,
            a_model_that_is_no_model_is_refused_with_its_path,
            intermediate_tensors_come_out_of_reference_and_observer,
            a_run_that_is_told_to_stop_ends_before_its_last_node,
        );
    };
    (@ $backend:expr, $available:expr, $($check:ident),+ $(,)?) => {
        $(
            #[test]
            fn $check() {
                if $available {
                    $crate::backend::conformance::$check(&$backend);
                }
            }
        )+
    };
}
pub(crate) use conformance_tests;

/// A model of `tests/fixtures/cpu` with inputs and the outputs onnxruntime gave for them.
pub(crate) struct Recorded {
    pub(crate) model: PathBuf,
    arrays: PathBuf,
}

impl Recorded {
    pub(crate) fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cpu");
        Self {
            model: folder.join(format!("{name}.onnx")),
            arrays: folder.join(format!("{name}.npz")),
        }
    }

    /// The recorded array, which must have that element type.
    pub(crate) fn array(&self, name: &str, dtype: DType) -> Tensor {
        let mut archive = npyz::npz::NpzArchive::open(&self.arrays).unwrap();
        let array = archive.by_name(name).unwrap().expect("an array of that name");
        let shape: Vec<usize> =
            array.shape().iter().map(|&e| usize::try_from(e).unwrap()).collect();
        macro_rules! bytes {
            ($ty:ty) => {
                array.into_vec::<$ty>().unwrap().iter().flat_map(|v| v.to_le_bytes()).collect()
            };
        }
        let bytes: Vec<u8> = match dtype {
            DType::Float64 => bytes!(f64),
            DType::Float32 => bytes!(f32),
            DType::Float16 => bytes!(half::f16),
            DType::Int64 => bytes!(i64),
            DType::Int32 => bytes!(i32),
            DType::UInt64 => bytes!(u64),
            DType::Int8 => bytes!(i8),
            DType::UInt8 => bytes!(u8),
            DType::Bool => array.into_vec::<bool>().unwrap().into_iter().map(u8::from).collect(),
            other => panic!("no fixture holds {other}"),
        };
        Tensor::from_bytes(dtype, shape.into(), &bytes).unwrap()
    }

    pub(crate) fn inputs(&self, engine: &dyn Engine) -> Vec<Tensor> {
        let specs = engine.inputs().iter();
        specs.map(|spec| self.array(&format!("in.{}", spec.name), spec.dtype)).collect()
    }

    pub(crate) fn outputs(&self, engine: &dyn Engine) -> Vec<Tensor> {
        let specs = engine.outputs().iter();
        specs.map(|spec| self.array(&format!("out.{}", spec.name), spec.dtype)).collect()
    }
}

/// Compiles a model with default settings, watched by nobody.
pub(crate) fn compile(
    backend: &dyn Backend,
    model: &Path,
    profiles: &[Profile],
    out: &Path,
) -> Result<EngineManifest, BackendError> {
    let scratch = tempfile::tempdir().unwrap();
    backend.compile(&CompileRequest {
        model,
        profiles,
        tensorrt: &tensorrt::Options::default(),
        files: &tensorrt::Files::default(),
        builds: 1,
        timeout: None,
        out,
        scratch: scratch.path(),
        kept: scratch.path(),
        progress: &NoProgress,
        cancel: &CancelToken::default(),
    })
}

/// Compiles a model and loads what came of it.
pub(crate) fn compiled(
    backend: &dyn Backend,
    model: &Path,
) -> Result<Arc<dyn Engine>, BackendError> {
    let out = tempfile::tempdir().unwrap();
    let manifest = compile(backend, model, &[], out.path())?;
    assert!(out.path().join(&manifest.file).is_file(), "the manifest names a file that is there");
    assert_eq!(manifest.backend, backend.name());
    backend.load(out.path(), &manifest, &LoadOptions::default())
}

fn engine(backend: &dyn Backend, name: &str) -> (Recorded, Arc<dyn Engine>) {
    let recorded = Recorded::new(name);
    let engine = compiled(backend, &recorded.model).unwrap();
    (recorded, engine)
}

fn context(engine: &Arc<dyn Engine>) -> Box<dyn ExecutionContext> {
    Arc::clone(engine).new_context().unwrap()
}

/// Feeds tensors, runs and copies every output.
pub(crate) fn run(
    engine: &dyn Engine,
    context: &mut dyn ExecutionContext,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, BackendError> {
    for (index, input) in inputs.iter().enumerate() {
        context.input_mut(index, input.shape())?.copy_from_slice(input.bytes());
    }
    context.run()?;
    let specs = engine.outputs().iter().enumerate();
    specs
        .map(|(index, spec)| {
            let (shape, bytes) = context.output(index)?;
            Ok(Tensor::from_bytes(spec.dtype, shape.clone(), bytes).unwrap())
        })
        .collect()
}

/// Panics where an element differs by more than `absolute + relative * |expected|`.
pub(crate) fn assert_close(got: &Tensor, expected: &Tensor, relative: f64, absolute: f64) {
    assert_eq!((got.dtype(), got.shape()), (expected.dtype(), expected.shape()));
    for (index, (a, b)) in got.to_f64().into_iter().zip(expected.to_f64()).enumerate() {
        let fits = (a - b).abs() <= absolute + relative * b.abs() || a.is_nan() && b.is_nan();
        assert!(fits, "element {index}: {a} for {b}");
    }
}

fn same(a: &[Tensor], b: &[Tensor]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| (a.shape(), a.bytes()) == (b.shape(), b.bytes()))
}

/// Numbers that are neither equal nor regular.
fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let seed = u16::try_from(seed).unwrap();
    let value = |i: u16| (f32::from(i + 1) * 0.7311 + f32::from(seed) * 1.913).sin();
    let values: Vec<f32> = (0..).map(value).take(shape.iter().product()).collect();
    Tensor::from_f32(shape.into(), &values).unwrap()
}

pub(crate) fn recorded_outputs_come_back_from_engine_and_reference(backend: &dyn Backend) {
    for name in ["mlp", "cnn", "pair"] {
        let recorded = Recorded::new(name);
        let engines = [
            compiled(backend, &recorded.model).unwrap(),
            backend.reference(&recorded.model, &[]).unwrap(),
        ];
        for engine in engines {
            let inputs = recorded.inputs(engine.as_ref());
            let outputs = run(engine.as_ref(), context(&engine).as_mut(), &inputs).unwrap();
            for (got, expected) in outputs.iter().zip(recorded.outputs(engine.as_ref())) {
                assert_close(got, &expected, 1e-5, 1e-5);
            }
        }
    }
}

pub(crate) fn contexts_of_one_engine_agree_and_do_not_share_memory(backend: &dyn Backend) {
    let (_, engine) = engine(backend, "cnn");
    let (mut a, mut b) = (context(&engine), context(&engine));
    let (x, y) = ([numbers(&[2, 1, 8, 8], 1)], [numbers(&[2, 1, 8, 8], 2)]);
    let of_x = run(engine.as_ref(), a.as_mut(), &x).unwrap();
    let of_y = run(engine.as_ref(), b.as_mut(), &y).unwrap();
    assert!(!same(&of_x, &of_y));
    assert_eq!(a.output(0).unwrap().1, of_x[0].bytes(), "the other context's run changed it");
    assert!(same(&run(engine.as_ref(), b.as_mut(), &x).unwrap(), &of_x));
}

pub(crate) fn contexts_run_concurrently_with_the_results_they_give_alone(backend: &dyn Backend) {
    let (_, engine) = engine(backend, "cnn");
    let input =
        |thread: usize, round: usize| [numbers(&[1 + (thread + round) % 3, 1, 8, 8], thread)];
    let mut alone = context(&engine);
    let expected: Vec<Vec<_>> = (0..4)
        .map(|thread| {
            let rounds = 0..6;
            rounds
                .map(|round| run(engine.as_ref(), alone.as_mut(), &input(thread, round)).unwrap())
                .collect()
        })
        .collect();
    std::thread::scope(|scope| {
        for (thread, expected) in expected.iter().enumerate() {
            let mut own = context(&engine);
            let engine = &engine;
            scope.spawn(move || {
                for (round, expected) in expected.iter().enumerate() {
                    let got = run(engine.as_ref(), own.as_mut(), &input(thread, round)).unwrap();
                    assert!(same(&got, expected), "thread {thread}, round {round}");
                }
            });
        }
    });
}

pub(crate) fn every_batch_size_gives_the_rows_it_gives_alone(backend: &dyn Backend) {
    let (_, engine) = engine(backend, "mlp");
    let all = numbers(&[16, 6], 3);
    let mut context = context(&engine);
    let whole = run(engine.as_ref(), context.as_mut(), std::slice::from_ref(&all)).unwrap();
    for batch in [1, 2, 7, 16] {
        let rows = run(engine.as_ref(), context.as_mut(), &[all.rows(0, batch)]).unwrap();
        assert_eq!(rows[0].shape(), &Shape(vec![batch, 3]));
        assert_close(&rows[0], &whole[0].rows(0, batch), 1e-5, 1e-6);
    }
}

pub(crate) fn an_earlier_input_gives_its_output_again(backend: &dyn Backend) {
    let (_, engine) = engine(backend, "mlp");
    let mut context = context(&engine);
    let (a, b) = ([numbers(&[2, 6], 1)], [numbers(&[5, 6], 2)]);
    let first = run(engine.as_ref(), context.as_mut(), &a).unwrap();
    let other = run(engine.as_ref(), context.as_mut(), &b).unwrap();
    assert!(!same(&first, &other));
    assert!(same(&run(engine.as_ref(), context.as_mut(), &a).unwrap(), &first));
}

pub(crate) fn a_shape_that_does_not_fit_is_an_input_error_that_names_the_input(
    backend: &dyn Backend,
) {
    let (_, engine) = engine(backend, "mlp");
    let mut context = context(&engine);
    for wrong in [vec![2, 7], vec![6], vec![1, 2, 6], vec![], vec![usize::MAX, 6]] {
        let error = context.input_mut(0, &wrong.into()).unwrap_err();
        assert!(matches!(&error, BackendError::Input { input, .. } if input == "x"), "{error}");
    }
}

pub(crate) fn axes_of_one_name_must_agree_between_inputs(backend: &dyn Backend) {
    let (_, engine) = engine(backend, "pair");
    let mut context = context(&engine);
    let inputs = [numbers(&[3, 2], 1), numbers(&[4, 2], 2)];
    let error = run(engine.as_ref(), context.as_mut(), &inputs).unwrap_err();
    assert!(matches!(&error, BackendError::Input { input, .. } if input == "b"), "{error}");
}

pub(crate) fn an_index_past_the_end_is_an_error(backend: &dyn Backend) {
    let (_, engine) = engine(backend, "mlp");
    let mut context = context(&engine);
    assert!(context.input_mut(1, &Shape(vec![1, 6])).is_err());
    run(engine.as_ref(), context.as_mut(), &[numbers(&[1, 6], 1)]).unwrap();
    assert!(context.output(1).is_ok());
    assert!(context.output(2).is_err());
}

pub(crate) fn there_are_no_outputs_before_a_run_or_after_a_failed_one(backend: &dyn Backend) {
    let (_, engine) = engine(backend, "pair");
    let mut context = context(&engine);
    assert!(context.output(0).is_err());
    let good = [numbers(&[3, 2], 1), numbers(&[3, 2], 2)];
    run(engine.as_ref(), context.as_mut(), &good).unwrap();
    assert!(context.output(0).is_ok());
    let bad = [numbers(&[3, 2], 1), numbers(&[1, 2], 2)];
    run(engine.as_ref(), context.as_mut(), &bad).unwrap_err();
    assert!(context.output(0).is_err(), "results of an earlier run were given for a failed one");
    run(engine.as_ref(), context.as_mut(), &good).unwrap();
}

pub(crate) fn running_without_every_input_is_an_error(backend: &dyn Backend) {
    let (_, engine) = engine(backend, "pair");
    let mut context = context(&engine);
    context.input_mut(0, &Shape(vec![1, 2])).unwrap();
    let error = context.run().unwrap_err();
    assert!(error.to_string().contains("`b`"), "{error}");
}

pub(crate) fn staging_is_aligned_and_keeps_what_was_written(backend: &dyn Backend) {
    let (_, engine) = engine(backend, "mlp");
    let mut context = context(&engine);
    for batch in [1, 3, 2] {
        let input = numbers(&[batch, 6], batch);
        let staging = context.input_mut(0, input.shape()).unwrap();
        assert_eq!(staging.len(), batch * 24);
        assert_eq!(staging.as_ptr().align_offset(ALIGNMENT), 0);
        staging.copy_from_slice(input.bytes());
        context.run().unwrap();
        for index in 0..2 {
            let (shape, bytes) = context.output(index).unwrap();
            assert_eq!(shape.checked_bytes(DType::Float32), Some(bytes.len()));
            assert_eq!(bytes.as_ptr().align_offset(ALIGNMENT), 0);
        }
        let staging = context.input_mut(0, input.shape()).unwrap();
        assert_eq!(staging, input.bytes(), "running changed the input");
    }
}

pub(crate) fn not_a_number_passes_through(backend: &dyn Backend) {
    let recorded = Recorded::new("pair");
    let engines = [
        compiled(backend, &recorded.model).unwrap(),
        backend.reference(&recorded.model, &[]).unwrap(),
    ];
    for engine in engines {
        let a = Tensor::from_f32(vec![1, 2].into(), &[f32::NAN, f32::INFINITY]).unwrap();
        let b = Tensor::from_f32(vec![1, 2].into(), &[1.0, 1.0]).unwrap();
        let outputs = run(engine.as_ref(), context(&engine).as_mut(), &[a, b]).unwrap();
        let sum = outputs[0].to_f64();
        assert!(sum[0].is_nan() && sum[1] == f64::INFINITY, "{sum:?}");
    }
    // The reference keeps it through matrix products, rectifiers and softmax too.
    let engine = backend.reference(&Recorded::new("mlp").model, &[]).unwrap();
    let mut input = numbers(&[2, 6], 1);
    input.bytes_mut()[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let outputs = run(engine.as_ref(), context(&engine).as_mut(), &[input]).unwrap();
    assert!(outputs[0].rows(0, 1).to_f64().iter().all(|v| v.is_nan()), "{:?}", outputs[0].to_f64());
    assert!(outputs[0].rows(1, 2).to_f64().iter().all(|v| v.is_finite()));
}

pub(crate) fn an_empty_batch_is_an_error_or_an_empty_result(backend: &dyn Backend) {
    let (_, engine) = engine(backend, "mlp");
    let empty = Tensor::zeros(DType::Float32, vec![0, 6].into()).unwrap();
    if let Ok(outputs) = run(engine.as_ref(), context(&engine).as_mut(), &[empty]) {
        assert_eq!(outputs[0].shape(), &Shape(vec![0, 3]));
    }
}

pub(crate) fn a_loaded_engine_lists_what_its_manifest_lists(backend: &dyn Backend) {
    let out = tempfile::tempdir().unwrap();
    let recorded = Recorded::new("mlp");
    let manifest = compile(backend, &recorded.model, &[], out.path()).unwrap();
    let engine = backend.load(out.path(), &manifest, &LoadOptions::default()).unwrap();
    assert_eq!(engine.inputs(), manifest.inputs);
    assert_eq!(engine.outputs(), manifest.outputs);
    assert_eq!(engine.inputs()[0].to_string(), "x float32 [batch,6]");
    let names: Vec<_> = engine.outputs().iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["y", "logits"]);
    std::fs::remove_file(out.path().join(&manifest.file)).unwrap();
    assert!(matches!(
        backend.load(out.path(), &manifest, &LoadOptions::default()),
        Err(BackendError::Load { .. })
    ));
}

pub(crate) fn a_model_that_is_no_model_is_refused_with_its_path(backend: &dyn Backend) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("broken.onnx");
    let whole = std::fs::read(Recorded::new("mlp").model).unwrap();
    for bytes in [&b""[..], b"not a model", &whole[..whole.len() / 2]] {
        std::fs::write(&model, bytes).unwrap();
        let error = compiled(backend, &model).err().expect("a refusal");
        assert!(error.to_string().contains("broken.onnx"), "{error}");
        assert!(backend.reference(&model, &[]).is_err());
    }
}

/// A way to load a model with tensors of it as outputs.
type Load = fn(&dyn Backend, &Path, &[String]) -> Result<Arc<dyn Engine>, BackendError>;

pub(crate) fn intermediate_tensors_come_out_of_reference_and_observer(backend: &dyn Backend) {
    let recorded = Recorded::new("mlp");
    let names = ["a1".to_owned(), "logits".to_owned()];
    let ways: [Load; 2] =
        [|b, model, names| b.reference(model, names), |b, model, names| b.observer(model, names)];
    for load in ways {
        let engine = load(backend, &recorded.model, &names).unwrap();
        let specs: Vec<_> = engine.outputs().iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(specs, ["a1", "logits"]);
        let inputs = recorded.inputs(engine.as_ref());
        let outputs = run(engine.as_ref(), context(&engine).as_mut(), &inputs).unwrap();
        assert_eq!(outputs[0].shape(), &Shape(vec![4, 8]));
        assert!(outputs[0].to_f64().iter().all(|&v| v >= 0.0), "a1 comes after a ReLU");
        assert_close(&outputs[1], &recorded.array("out.logits", DType::Float32), 1e-5, 1e-5);
        let missing = ["nowhere".to_owned()];
        assert!(load(backend, &recorded.model, &missing).is_err());
    }
}

/// A run takes long enough for whoever stops it to come in time.
pub(crate) fn a_run_that_is_told_to_stop_ends_before_its_last_node(backend: &dyn Backend) {
    const LAYERS: usize = 200;
    const EXTENT: usize = 512;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.onnx");
    let name = |layer: usize| if layer == LAYERS { "y".to_owned() } else { format!("h{layer}") };
    let layer = |layer: usize| {
        let before = if layer == 1 { "x".to_owned() } else { name(layer - 1) };
        node("MatMul", &[&before, "x"], &name(layer))
    };
    let dims = [512, 512];
    write(
        &path,
        GraphProto {
            node: (1..=LAYERS).map(layer).collect(),
            input: vec![value("x", DataType::Float, &dims)],
            output: vec![value("y", DataType::Float, &dims)],
            ..GraphProto::default()
        },
    );
    let engine = backend.observer(&path, &[]).unwrap();
    let cancel = CancelToken::default();
    let mut context = Arc::clone(&engine).new_context().unwrap();
    context.stop_at(&cancel);
    let x = Tensor::from_f32(Shape(vec![EXTENT, EXTENT]), &vec![0.0; EXTENT * EXTENT]).unwrap();
    context.fill(0, "x", &x).unwrap();
    let (sender, begun) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let running = scope.spawn(move || {
            sender.send(()).unwrap();
            let ended = context.run();
            assert!(context.output(0).is_err());
            // Once more, for good.
            (ended, context.run())
        });
        begun.recv().unwrap();
        cancel.cancel();
        let (ended, again) = running.join().unwrap();
        for ended in [ended, again] {
            assert!(matches!(ended, Err(BackendError::Cancelled)), "{ended:?}");
        }
    });
    let mut other = engine.new_context().unwrap();
    other.fill(0, "x", &x).unwrap();
    other.run().unwrap();
}
