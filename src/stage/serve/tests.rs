use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::artifact::Digest;
use crate::backend::Profile;
use crate::deployment;
use crate::onnx::ModelSignature;
use crate::process::CancelToken;
use crate::progress::NoProgress;
use crate::stage::FileRef;
use crate::tensor::{DType, Shape};

fn tensor(name: &str, first: Dim) -> TensorSpec {
    let dims = Some(vec![first, Dim::Fixed(8)]);
    TensorSpec { name: name.into(), dtype: DType::Float32, dims }
}

fn batch() -> Dim {
    Dim::Symbol("batch".into())
}

fn manifest(input: Dim, output: Dim, max: Option<usize>) -> EngineManifest {
    let shape = |batch| Shape(vec![batch, 8]);
    let range = |max| backend::ShapeRange { min: shape(1), opt: shape(2), max: shape(max) };
    EngineManifest {
        format: 1,
        backend: "cpu".into(),
        file: PathBuf::from("model.onnx"),
        inputs: vec![tensor("x", input)],
        outputs: vec![tensor("y", output)],
        profiles: max
            .map(|max| Profile::from([("x".to_owned(), range(max))]))
            .into_iter()
            .collect(),
        library: BTreeMap::new(),
        tensorrt: None,
    }
}

fn serve() -> Serve {
    let batching = Batching {
        max_batch: Spanned::new(16, Span::new(7, 2)),
        max_delay_ms: Spanned::unplaced(2.0),
        ..Batching::default()
    };
    Serve {
        name: None,
        from: Spanned::unplaced(FromRef::Stage("engine".into())),
        requires: vec![Spanned::unplaced("checked".into())],
        batching: Some(batching),
        queue: Queue::default(),
        warmup: Warmup::default(),
        reload: Reload::default(),
        instances: Spanned::unplaced(2),
        devices: Spanned::default(),
        placement: Spanned::default(),
        on_device_failure: Spanned::default(),
        cuda_graphs: Spanned::default(),
    }
}

fn run(serve: &Serve, manifest: &EngineManifest) -> Result<Deployment, StageError> {
    let dir = TempDir::new().unwrap();
    let engine = dir.path().join("engine");
    let out = dir.path().join("out");
    fs::create_dir(&engine).unwrap();
    fs::create_dir(&out).unwrap();
    fs::write(engine.join("engine.json"), serde_json::to_vec(manifest).unwrap()).unwrap();
    let input = |path: &Path, text: &str, kind| ResolvedInput {
        path: path.to_owned(),
        digest: Digest::of(text.as_bytes()),
        kind: Some(kind),
    };
    let inputs = BTreeMap::from([
        ("from".to_owned(), input(&engine, "engine", ArtifactKind::Engine)),
        ("requires[0]".to_owned(), input(dir.path(), "passed", ArtifactKind::Report)),
    ]);
    serve.run(&StageContext {
        name: "api",
        spec_dir: dir.path(),
        inputs: &inputs,
        out: &out,
        scratch: dir.path(),
        kept: dir.path(),
        progress: &NoProgress,
        cancel: &CancelToken::default(),
    })?;
    Ok(Deployment::from_json(&fs::read(out.join(FILE_NAME)).unwrap()).unwrap())
}

#[test]
fn a_deployment_says_what_to_serve_and_how() {
    let mut named = serve();
    named.set_pipeline("digits");
    let deployment = run(&named, &manifest(batch(), batch(), Some(32))).unwrap();
    assert_eq!(deployment.format, 1);
    let model = deployment.model;
    assert_eq!(model.name, "digits");
    assert_eq!(model.engine.digest, Digest::of(b"engine"));
    assert_eq!(model.engine.profiles[0]["x"].max, Shape(vec![32, 8]));
    assert_eq!(
        model.batching,
        Some(BatchingConfig {
            max_batch: 16,
            max_delay_ms: 2.0,
            preferred_sizes: Vec::new(),
            preserve_ordering: false,
            pad: false
        })
    );
    assert_eq!((model.instances, model.devices), (2, None));
    assert_eq!(model.requires, [Digest::of(b"passed")]);
    named.set_pipeline("other");
    assert_eq!(named.settings()["name"], "digits", "a name that is set stays");
}

#[test]
fn a_batch_larger_than_the_profile_is_refused_where_it_was_written() {
    let error = run(&serve(), &manifest(batch(), batch(), Some(8))).unwrap_err();
    assert_eq!(error.to_string(), "`max_batch` is 16, the engine takes batches of 1 to 8");
    assert_eq!(error.span(), Some(Span::new(7, 2)));
    assert!(run(&serve(), &manifest(batch(), batch(), None)).is_ok(), "any batch will do");
}

#[test]
fn batching_needs_one_batch_axis_everywhere() {
    let cases = [
        (Dim::Fixed(1), batch(), "axis 0 of input `x` is fixed at 1"),
        (batch(), Dim::Fixed(4), "axis 0 of output `y` is fixed at 4"),
        (
            batch(),
            Dim::Symbol("k".into()),
            "axis 0 of `x` is `batch` and that of output `y` is `k`",
        ),
    ];
    for (input, output, fault) in cases {
        let manifest = manifest(input, output, None);
        let error = run(&serve(), &manifest).unwrap_err();
        assert_eq!(error.to_string(), format!("requests cannot be batched: {fault}"));
        assert_eq!(error.help().as_deref(), Some(BATCH_AXIS_HELP));
        assert!(run(&Serve { batching: None, ..serve() }, &manifest).is_ok());
        let model = ModelSignature { inputs: manifest.inputs, outputs: manifest.outputs };
        let known = CheckContext { model: Some(&model), ..CheckContext::default() };
        assert_eq!(serve().check(&known)[0].code, "serve::batch_axis");
    }
    assert!(run(&serve(), &manifest(batch(), Dim::Any, None)).is_ok());
}

#[test]
fn devices_are_refused_where_the_backend_has_none() {
    let devices = Spanned::new(Devices::Listed(vec![0]), Span::new(3, 3));
    let error = run(&Serve { devices, ..serve() }, &manifest(batch(), batch(), None)).unwrap_err();
    assert_eq!(error.to_string(), "backend `cpu` has no devices to choose from");
    assert_eq!(error.span(), Some(Span::new(3, 3)));
}

#[test]
fn cuda_graphs_are_refused_where_the_backend_runs_on_no_gpu() {
    let asked = |graphs| {
        let cuda_graphs = Spanned::new(graphs, Span::new(5, 2));
        run(&Serve { cuda_graphs, ..serve() }, &manifest(batch(), batch(), None))
    };
    for graphs in [CudaGraphs::On, CudaGraphs::Batches(vec![8])] {
        let error = asked(graphs).unwrap_err();
        assert_eq!(error.to_string(), "backend `cpu` runs on no GPU, which CUDA graphs are for");
        assert_eq!(error.span(), Some(Span::new(5, 2)));
    }
    assert!(asked(CudaGraphs::Auto).is_ok() && asked(CudaGraphs::Off).is_ok());
}

#[test]
fn an_engine_that_is_no_folder_is_refused() {
    let file = ResolvedInput {
        path: PathBuf::from("/dev/null"),
        digest: Digest::of(b""),
        kind: Some(ArtifactKind::Engine),
    };
    let error = engine::manifest(&file).unwrap_err();
    assert!(error.to_string().contains("an engine is a folder with `engine.json`"), "{error}");
}

#[test]
fn every_mistake_in_the_settings_is_a_problem_of_its_own() {
    let checked = Spanned::unplaced("checked".to_owned());
    let wrong = Serve {
        name: Some(Spanned::unplaced("a b".into())),
        requires: vec![checked.clone(), checked],
        batching: Some(Batching {
            max_batch: Spanned::unplaced(0),
            max_delay_ms: Spanned::unplaced(f64::NAN),
            preferred_sizes: vec![Spanned::unplaced(4)],
            ..Batching::default()
        }),
        queue: Queue {
            limit: Spanned::unplaced(0),
            timeout_ms: Some(Spanned::unplaced(0.0)),
            default_priority: Spanned::unplaced(2),
            ..Queue::default()
        },
        warmup: Warmup { iterations: Spanned::unplaced(usize::MAX), data: None },
        reload: Reload {
            max_error_rate: Spanned::unplaced(1.5),
            max_p99_ratio: Some(Spanned::unplaced(f64::NAN)),
            compare: Some(Tolerance {
                max_abs: Some(Spanned::unplaced(-1.0)),
                max_relative_error: None,
                cosine: Some(Spanned::unplaced(2.0)),
            }),
            ..Reload::default()
        },
        instances: Spanned::unplaced(0),
        devices: Spanned::unplaced(Devices::Listed(Vec::new())),
        cuda_graphs: Spanned::unplaced(CudaGraphs::Batches(vec![1, 0])),
        ..serve()
    };
    let problems = wrong.check(&CheckContext::default());
    let (ranges, others): (Vec<_>, Vec<_>) =
        problems.iter().partition(|problem| problem.code == "serve::range");
    let messages: Vec<&str> = ranges.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`queue.limit` is 0, expected 1 to 1000000",
            "`queue.timeout_ms` is 0, expected more than 0, at most 3600000",
            "`queue.default_priority` is 2, expected 1 to 1",
            "`warmup.iterations` is 18446744073709551615, expected 0 to 100000",
            "`reload.max_error_rate` is 1.5, expected 0 to 1",
            "`reload.max_p99_ratio` is NaN, expected more than 0, at most 1000000",
            "`reload.compare.max_abs` is -1, expected 0 or more",
            "`reload.compare.cosine` is 2, expected -1 to 1",
        ]
    );
    let codes: Vec<&str> = others.iter().map(|problem| problem.code).collect();
    assert_eq!(
        codes,
        [
            "serve::name",
            "serve::requires",
            "serve::instances",
            "serve::max_batch",
            "serve::max_delay",
            "serve::preferred_sizes",
            "serve::cuda_graphs",
            "serve::devices"
        ]
    );
    assert!(serve().check(&CheckContext::default()).is_empty());
}

#[test]
fn settings_leave_out_defaults_and_references() {
    let mut plain = Serve { batching: None, instances: one(), ..serve() };
    plain.set_pipeline("p");
    assert_eq!(plain.settings(), serde_json::json!({ "name": "p" }));
}

#[test]
fn what_the_runtime_reads_is_what_the_user_wrote() {
    let text = "
        from: engine
        batching: { max_batch: 16, preferred_sizes: [4, 8], preserve_ordering: true, pad: true }
        queue: { limit: 5, timeout_ms: 100, priority_levels: 3, default_priority: 2 }
        warmup: { iterations: 3 }
        reload:
            samples: 8
            sample_bytes: 1000
            allow_interface_change: true
            compare: { max_abs: 0.5, cosine: 0.9 }
            on_low_memory: drain_first
            watch_seconds: 5
            max_error_rate: 0.5
            max_p99_ratio: 2
            max_p99_ms: 40";
    let mut parsed: Serve = serde_yaml::from_str(text).unwrap();
    parsed.requires = serve().requires;
    let model = run(&parsed, &manifest(batch(), batch(), None)).unwrap().model;
    let batching = model.batching.unwrap();
    assert_eq!(batching.preferred_sizes, [4, 8]);
    assert!(batching.preserve_ordering && batching.pad);
    let queue = &model.queue;
    assert_eq!((queue.limit, queue.priority_levels, queue.default_priority), (5, 3, 2));
    assert_eq!((queue.timeout_ms, model.warmup.iterations), (Some(100.0), 3));
    let expected = deployment::ReloadConfig {
        samples: 8,
        sample_bytes: 1000,
        allow_interface_change: true,
        compare: Some(deployment::Tolerance {
            max_abs: Some(0.5),
            max_relative_error: None,
            cosine: Some(0.9),
        }),
        on_low_memory: deployment::OnLowMemory::DrainFirst,
        watch_seconds: 5.0,
        max_error_rate: 0.5,
        max_p99_ratio: Some(2.0),
        max_p99_ms: Some(40.0),
    };
    assert_eq!(model.reload, expected);
    let settings = parsed.settings();
    assert_eq!(settings["warmup"], serde_json::json!({ "iterations": 3 }));
    assert_eq!(settings["queue"]["limit"], 5);
}

#[test]
fn warm_up_samples_are_kept_with_the_deployment() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("samples.npz");
    let samples = crate::data::random("x", DType::Float32, vec![40, 8].into()).unwrap();
    crate::data::write_npz(&data, [("x", &samples)]).unwrap();
    let reference = FileRef::Path(data.to_str().unwrap().into());
    let warm = Serve {
        requires: Vec::new(),
        warmup: Warmup { data: Some(Spanned::unplaced(reference)), ..Warmup::default() },
        ..serve()
    };
    let roles: Vec<String> = warm.inputs().into_iter().map(|input| input.role).collect();
    assert_eq!(roles, ["from", "warmup.data"]);
    let engine = folder.path().join("engine");
    fs::create_dir(&engine).unwrap();
    let manifest = serde_json::to_vec(&manifest(batch(), batch(), Some(32))).unwrap();
    fs::write(engine.join("engine.json"), manifest).unwrap();
    let input =
        |path: &Path, kind| ResolvedInput { path: path.to_owned(), digest: Digest::of(b""), kind };
    let inputs = BTreeMap::from([
        ("from".to_owned(), input(&engine, Some(ArtifactKind::Engine))),
        ("warmup.data".to_owned(), input(&data, None)),
    ]);
    let out = TempDir::new().unwrap();
    let context = StageContext {
        name: "api",
        spec_dir: folder.path(),
        inputs: &inputs,
        out: out.path(),
        scratch: folder.path(),
        kept: folder.path(),
        progress: &NoProgress,
        cancel: &CancelToken::default(),
    };
    warm.run(&context).unwrap();
    let written = fs::read(out.path().join(FILE_NAME)).unwrap();
    let kept = Deployment::from_json(&written).unwrap().model.warmup.data.unwrap();
    let kept = crate::data::Dataset::open(&out.path().join(kept), &indexmap::IndexMap::new());
    let kept = kept.unwrap().array("x").unwrap().rows(0, 16).unwrap();
    assert_eq!(kept.bytes(), &samples.bytes()[..16 * 8 * 4], "as many as fill a batch");
}
