//! `calibrate` as users meet it: on the digits model, and on what is wrong.

use std::fs;

use prost::Message as _;
use trt_pipeline::data::write_npz;
use trt_pipeline::onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_shape_proto, type_proto,
};
use trt_pipeline::onnx::{Model, from_tensor};
use trt_pipeline::tensor::{DType, Shape, Tensor};

use crate::support::{Project, Ran, fixture, repository, with_filters};

/// A project with the digits model, its data and these stages.
fn digits(stages: &str) -> Project {
    let project = Project::with_spec(&format!(
        "version: 1\nname: digits\nstages:\n  \
           onnx: {{ convert: {{ model: digits_cnn.onnx }} }}\n  \
           slim: {{ optimize: {{ from: onnx }} }}\n{stages}"
    ));
    let folder = repository().join("pipelines/digits");
    project.copy(&folder.join("model/digits_cnn.onnx"), "digits_cnn.onnx");
    project.copy(&folder.join("data/calibration.npz"), "calibration.npz");
    project.copy(&folder.join("data/holdout.npz"), "holdout.npz");
    project
}

fn run(project: &Project) -> Ran {
    project.trt(&["run", "p.yaml"])
}

#[test]
fn every_method_keeps_the_accuracy_within_half_a_percent() {
    let mut stages = String::new();
    for (name, settings) in [
        ("minmax", "method: minmax"),
        ("entropy", "method: entropy"),
        ("percentile", "method: percentile, percentile: 99.9"),
        ("mse", "method: mse"),
        ("all", "method: entropy, min_channels: 1"),
        ("skewed", "method: minmax, symmetric: false"),
        ("whole", "method: minmax, per_channel: false"),
    ] {
        stages += &format!(
            "  {name}: {{ calibrate: {{ from: slim, data: calibration.npz, {settings} }} }}\n  \
               {name}_engine: {{ build: {{ from: {name} }} }}\n  \
               {name}_checked:\n    validate:\n      from: {name}_engine\n      reference: onnx\n      \
                 data: holdout.npz\n      compare: {{ snr_db: 20 }}\n      \
                 accuracy: {{ metric: top1, labels: label, at_least: 0.97, max_drop: 0.005 }}\n"
        );
    }
    let project = digits(&stages);
    let ran = run(&project);
    assert_eq!(ran.status, 0, "{}", ran.seen());
}

#[test]
fn a_cache_stands_in_for_samples_and_gives_the_same_model() {
    let project = digits(
        "  int8: { calibrate: { from: slim, data: calibration.npz } }\n  \
           again: { calibrate: { from: slim, cache: { from: int8, path: calibration.cache } } }\n",
    );
    assert_eq!(run(&project).status, 0);
    let bytes = |stage: &str, file: &str| {
        fs::read(project.file(&format!("build/digits/{stage}/{file}"))).unwrap()
    };
    assert_eq!(bytes("int8", "model.onnx"), bytes("again", "model.onnx"));
    assert_eq!(bytes("int8", "calibration.cache"), bytes("again", "calibration.cache"));
}

#[test]
fn the_number_of_threads_and_of_samples_in_a_batch_leave_the_ranges_alone() {
    let spec = |batch: &str| {
        digits(&format!(
            "  int8: {{ calibrate: {{ from: slim, data: calibration.npz, method: minmax{batch} }} }}\n"
        ))
    };
    let cache = |project: &Project| project.read("build/digits/int8/calibration.cache");
    let plain = spec("");
    assert_eq!(run(&plain).status, 0);
    let single = spec("");
    let mut command = single.command(&["run", "p.yaml"]);
    assert!(command.env("RAYON_NUM_THREADS", "1").output().unwrap().status.success());
    assert_eq!(cache(&plain), cache(&single));
}

#[test]
fn the_summary_tells_what_was_quantized_and_what_not() {
    let project = digits(
        "  int8: { calibrate: { from: slim, data: calibration.npz, skip: [\"/conv2/*\"] } }\n",
    );
    let ran = run(&project);
    assert_eq!(ran.status, 0, "{}", ran.seen());
    let from = ran.stdout.find("int8 by entropy").unwrap();
    let summary: Vec<&str> = ran.stdout[from..].lines().map(str::trim).collect();
    insta::assert_snapshot!(summary[..summary.len() - 1].join("\n"), @"
    int8 by entropy over 128 samples in batches of 8: 2 activations, 2 weights
    Conv     2 of 3 quantized
    Gemm     0 of 1 quantized
    MaxPool  0 of 2 quantized
    kept /conv2/out (Conv): `skip` names `/conv2/*`
    kept /fc (Gemm): 10 by 192 channels are too few to gain from 8 bits, by `min_channels: 16`
    kept /conv2/pool (MaxPool): no quantized layer stands beside it
    kept /conv1/pool (MaxPool): no quantized layer stands beside it
    ");
}

/// The model of a fixture, quantized with these settings after `arrange` has put files there.
fn fixture_run(model: &str, settings: &str, arrange: impl FnOnce(&Project)) -> (Project, Ran) {
    let project = Project::with_spec(&format!(
        "version: 1\nname: p\nstages:\n  \
           int8: {{ calibrate: {{ from: {{ file: model.onnx, kind: model }}, {settings} }} }}\n"
    ));
    if !model.is_empty() {
        project.copy(&fixture(&format!("onnx/{model}.onnx")), "model.onnx");
    }
    arrange(&project);
    let ran = run(&project);
    (project, ran)
}

fn floats(shape: &[usize], value: impl Fn(u16) -> f32) -> Tensor {
    let count: u16 = shape.iter().product::<usize>().try_into().unwrap();
    let values: Vec<f32> = (0..count).map(value).collect();
    Tensor::from_f32(Shape(shape.to_vec()), &values).unwrap()
}

fn usual(at: u16) -> f32 {
    (f32::from(at) * 0.7).sin()
}

fn data<'a>(arrays: &'a [(&'a str, Tensor)]) -> impl FnOnce(&Project) + 'a {
    move |project| {
        let arrays = arrays.iter().map(|(name, tensor)| (*name, tensor));
        write_npz(&project.file("d.npz"), arrays).unwrap();
    }
}

/// What is said of samples that do not do.
fn refused(model: &str, settings: &str, arrays: &[(&str, Tensor)]) -> String {
    let (_, ran) = fixture_run(model, settings, data(arrays));
    assert_eq!(ran.status, if ran.stderr.contains("spec error") { 2 } else { 1 }, "{}", ran.seen());
    ran.stderr
}

#[test]
fn samples_that_do_not_fit_are_refused_with_the_array() {
    let settings = "data: d.npz, min_channels: 1";
    let cases = [
        ("shape", refused("mlp", settings, &[("x", floats(&[8, 5], usual))])),
        ("rank", refused("mlp", settings, &[("x", floats(&[8], usual))])),
        ("name", refused("mlp", settings, &[("y", floats(&[8, 4], usual))])),
        ("dtype", {
            let bytes = [0_u8; 32];
            let array = Tensor::from_bytes(DType::UInt8, Shape(vec![8, 4]), &bytes).unwrap();
            refused("mlp", settings, &[("x", array)])
        }),
        ("nan", {
            let array = floats(&[64, 4], |at| if at == 170 { f32::NAN } else { usual(at) });
            refused("mlp", settings, &[("x", array)])
        }),
        ("overflow", refused("mlp", settings, &[("x", floats(&[8, 4], |_| 3e38))])),
        ("too_few", {
            let other = "data: d.npz, min_channels: 1, samples: 2";
            let spec = floats(&[8, 4], usual);
            refused("mlp", &format!("{other}, skip: [Gem]"), &[("x", spec)])
        }),
    ];
    let text: Vec<String> = cases.iter().map(|(name, said)| format!("# {name}\n{said}")).collect();
    with_filters(|| insta::assert_snapshot!("calibrate_samples", text.join("\n")));
}

#[test]
fn settings_that_make_no_sense_are_refused_at_once() {
    let mut text = String::new();
    for settings in [
        "data: random",
        "method: entropy",
        "data: d.npz, method: minmax, percentile: 99",
        "data: d.npz, method: percentile, percentile: 101",
        "data: d.npz, symmetric: false, dtype: fp8_e4m3",
        "data: d.npz, symmetric: false, cache: d.npz",
        "data: d.npz, batch: 0, samples: 0",
        "data: d.npz, method: kl",
    ] {
        let (_, ran) = fixture_run("mlp", settings, data(&[("x", floats(&[8, 4], usual))]));
        assert_eq!(ran.status, 2, "{}", ran.seen());
        text += &format!("# {settings}\n{}\n", ran.stderr);
    }
    with_filters(|| insta::assert_snapshot!("calibrate_settings", text));
}

#[test]
fn an_empty_folder_holds_no_samples() {
    let (_, ran) = fixture_run("mlp", "data: samples, min_channels: 1", |project| {
        fs::create_dir(project.file("samples")).unwrap();
    });
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("contains no arrays"), "{}", ran.seen());
}

#[test]
fn tensors_that_are_always_zero_get_a_scale_and_a_warning() {
    let zeros = floats(&[8, 4], |_| 0.0);
    let (project, ran) = fixture_run("mlp", "data: d.npz, min_channels: 1", data(&[("x", zeros)]));
    assert_eq!(ran.status, 0, "{}", ran.seen());
    assert!(ran.stderr.contains("`x` is zero in every sample"), "{}", ran.seen());
    let report = project.read("build/p/int8/calibrate.json");
    assert!(report.contains("\"scale\": 1.0"), "{report}");
}

#[test]
fn a_range_too_small_for_a_scale_leaves_its_readers_as_they_are() {
    let tiny = floats(&[8, 4], |at| usual(at) * 1e-39);
    let (project, ran) = fixture_run("mlp", "data: d.npz, min_channels: 1", data(&[("x", tiny)]));
    assert_eq!(ran.status, 0, "{}", ran.seen());
    let report = project.read("build/p/int8/calibrate.json");
    assert!(report.contains("too small for a scale"), "{report}");
    let cache = |scale: &'static str| {
        fixture_run("mlp", "cache: c.cache, data: d.npz, min_channels: 1", move |project| {
            project.write("c.cache", format!("TRT-8600-EntropyCalibration2\nx: {scale}\n"));
            data(&[("x", floats(&[8, 4], usual))])(project);
        })
    };
    let (project, ran) = cache("00000001");
    assert_eq!(ran.status, 0, "{}", ran.seen());
    let report = project.read("build/p/int8/calibrate.json");
    assert!(report.contains("too small for a scale"), "{report}");
    let (_, ran) = cache("00000000");
    assert!(ran.stderr.contains("the calibration cache has scale 0 for `x`"), "{}", ran.seen());
}

#[test]
fn a_cache_of_another_network_is_refused_and_one_with_gaps_needs_samples() {
    let cache = |text: &'static str| {
        move |project: &Project| {
            project.write("c.cache", text);
        }
    };
    let settings = "cache: c.cache, min_channels: 1";
    let mut text = String::new();
    for content in [
        "TRT-8600-EntropyCalibration2\nelsewhere: 3c010204\n",
        "TRT-8600-EntropyCalibration2\nx: 3c010204\n",
        "TRT-8600-EntropyCalibration2\nx: bc010204\n",
        "TRT-8600-EntropyCalibration2\nx: 7fc00000\n",
        "not a cache",
    ] {
        let (_, ran) = fixture_run("mlp", settings, cache(content));
        assert_eq!(ran.status, 1, "{}", ran.seen());
        text += &format!("{}\n", ran.stderr);
    }
    with_filters(|| insta::assert_snapshot!("calibrate_cache", text));
    let (project, ran) = fixture_run("mlp", &format!("{settings}, data: d.npz"), |project| {
        project.write("c.cache", "TRT-8600-EntropyCalibration2\nx: 3c010204\n");
        data(&[("x", floats(&[8, 4], usual))])(project);
    });
    assert_eq!(ran.status, 0, "{}", ran.seen());
    let written = project.read("build/p/int8/calibration.cache");
    assert!(written.contains("x: 3c010204\n") && written.lines().count() == 3, "{written}");
}

#[test]
fn a_quantized_model_is_not_quantized_again() {
    let project = digits(
        "  int8: { calibrate: { from: slim, data: calibration.npz } }\n  \
           twice: { calibrate: { from: int8, data: calibration.npz } }\n",
    );
    let ran = run(&project);
    assert_eq!(ran.status, 1, "{}", ran.seen());
    assert!(ran.stderr.contains("the model is quantized already"), "{}", ran.seen());
}

#[test]
fn graphs_inside_nodes_stay_as_they_are() {
    let (project, ran) = fixture_run("if_capture", "data: d.npz", |_| {});
    assert_eq!(ran.status, 2, "the file is not there: {}", ran.seen());
    let (_, ran) = fixture_run("if_capture", "data: d.npz", data(&[("x", floats(&[8, 2], usual))]));
    assert_eq!(ran.status, 0, "{}", ran.seen());
    assert!(ran.stderr.contains("nothing was quantized"), "{}", ran.seen());
    drop(project);
}

#[test]
fn weights_of_two_readers_are_quantized_once() {
    let (project, ran) = fixture_run(
        "shared_initializers",
        "data: d.npz, min_channels: 1",
        data(&[("x", floats(&[8, 3], usual))]),
    );
    assert_eq!(ran.status, 0, "{}", ran.seen());
    let model = Model::load(&project.file("build/p/int8/model.onnx")).unwrap();
    model.check().unwrap();
}

/// `y = x w` for one vector at a time: no axis is the batch.
#[test]
fn a_model_without_a_batch_axis_sees_one_sample_at_a_time() {
    let spec = |name: &str, extent| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: Some(1),
                shape: Some(TensorShapeProto {
                    dim: vec![tensor_shape_proto::Dimension {
                        value: Some(tensor_shape_proto::dimension::Value::DimValue(extent)),
                        ..Default::default()
                    }],
                }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            input: vec![spec("x", 4)],
            output: vec![spec("y", 3)],
            initializer: vec![from_tensor("w", &floats(&[4, 3], usual))],
            node: vec![NodeProto {
                op_type: Some("MatMul".into()),
                input: vec!["x".into(), "w".into()],
                output: vec!["y".into()],
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let (project, ran) = fixture_run("", "data: d.npz, min_channels: 1", |project| {
        project.write("model.onnx", model.encode_to_vec());
        data(&[("x", floats(&[10, 4], usual))])(project);
    });
    assert_eq!(ran.status, 0, "{}", ran.seen());
    assert!(ran.stdout.contains("over 10 samples in batches of 1"), "{}", ran.seen());
    let cache = project.read("build/p/int8/calibration.cache");
    assert_eq!(cache.lines().count(), 2, "{cache}");
}

#[test]
fn inspect_shows_the_summary_and_the_ranges_of_a_calibration() {
    let project = digits("  int8: { calibrate: { from: slim, data: calibration.npz } }\n");
    let ran = run(&project);
    assert_eq!(ran.status, 0, "{}", ran.seen());
    let from = ran.stdout.find("int8 by entropy").unwrap();
    let summary: Vec<&str> = ran.stdout[from..].lines().map(str::trim).collect();
    let seen = project.trt(&["inspect", "build/digits/int8"]).stdout;
    let from = seen.find("\ncalibrate.json\n").expect("it is named");
    let shown: Vec<&str> = seen[from..].lines().skip(2).map(str::trim).collect();
    let count = summary.len() - 1;
    assert_eq!(shown[..count], summary[..count]);
    let table: Vec<Vec<&str>> =
        shown[count + 1..].iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table[0], ["tensor", "min", "max", "scale"]);
    assert!(table[1..].iter().all(|row| row.len() == 4), "{seen}");
    assert!(!seen.contains('{'), "no JSON for people: {seen}");
    let json = project.trt(&["inspect", "build/digits/int8", "--format", "json"]).stdout;
    assert!(json.contains("\"activations\""), "{json}");
}

#[test]
fn inspect_names_every_node_where_that_is_asked_for() {
    let project = digits("");
    let plain = project.trt(&["inspect", "digits_cnn.onnx"]).stdout;
    assert!(!plain.contains("/conv1/out"), "{plain}");
    let seen = project.trt(&["inspect", "digits_cnn.onnx", "--layers"]).stdout;
    let line = seen.lines().find(|line| line.starts_with("/conv1/out ")).expect("the node");
    assert_eq!(line.split_whitespace().nth(1), Some("Conv"));
    assert!(line.contains(" -> "), "{line}");
}

#[test]
fn few_samples_are_warned_of_and_a_batch_that_the_model_does_not_take_is_refused() {
    let project =
        digits("  int8: { calibrate: { from: slim, data: calibration.npz, samples: 4 } }\n");
    let ran = run(&project);
    assert_eq!(ran.status, 0, "{}", ran.seen());
    assert!(ran.stderr.contains("ranges of 4 samples are poor"), "{}", ran.seen());
    let project = digits(
        "  one: { optimize: { from: onnx, batch: 1 } }\n  \
           int8: { calibrate: { from: one, data: calibration.npz, batch: 8 } }\n",
    );
    let ran = run(&project);
    assert_eq!(ran.status, 1, "{}", ran.seen());
    assert!(ran.stderr.contains("`batch` is 8, the model takes batches of 1"), "{}", ran.seen());
}
