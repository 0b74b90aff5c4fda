//! `search` finds the nodes that must keep their precision.

use crate::support::models::{Network, npy};
use crate::support::{Project, with_filters};

const WIDTH: usize = 32;

/// Numbers from -1 to 1, the same everywhere.
fn noise(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
    };
    (0..count).map(next).collect()
}

/// Five layers. What reaches the fourth has one channel that is so many times as large as the
/// others, which its weights make up for: 8 bits for all channels leave nothing of the others, and
/// beyond 65504 float16 has no such values.
fn with_outliers(times: f32) -> Vec<u8> {
    let width = i64::try_from(WIDTH).unwrap();
    let axes = [0, width];
    let mut network = Network::default().input("x", &axes).output("y", &axes);
    let mut last = "x".to_owned();
    for layer in 0..5 {
        let mut weights = noise(layer + 1, WIDTH * WIDTH);
        for (at, weight) in weights.iter_mut().enumerate() {
            *weight *= 0.4;
            let (row, column) = (at / WIDTH, at % WIDTH);
            match layer {
                2 if column == 5 => *weight *= times,
                3 if row == 5 => *weight /= times,
                _ => {}
            }
        }
        let (name, product) = (format!("w{layer}"), format!("/layers.{layer}/MatMul"));
        network = network.weights(&name, &[width, width], weights);
        network = network.node("MatMul", &[&last, &name], &product);
        last = if layer == 4 { "y".to_owned() } else { format!("/layers.{layer}/Relu") };
        network = network.node("Relu", &[&product], &last);
    }
    network.encode()
}

fn project(calibrate: &str) -> Project {
    let stage =
        "int8:\n    calibrate:\n      from: onnx\n      data: calibration\n      method: minmax\n";
    with_stage(&format!("{stage}{calibrate}"), 1e4)
}

/// A project whose last stage is this one.
fn with_stage(stage: &str, times: f32) -> Project {
    let project = Project::with_spec(&format!(
        "version: 1\nname: p\nstages:\n  onnx: {{ convert: {{ model: model.onnx }} }}\n  {stage}"
    ));
    project.write("model.onnx", with_outliers(times));
    project.write("calibration/x.npy", npy(&[64, WIDTH], &noise(77, 64 * WIDTH)));
    project.write("tuning/x.npy", npy(&[48, WIDTH], &noise(78, 48 * WIDTH)));
    project
}

const SEARCH: &str = "      search: { data: tuning, objective: { snr_db: 25 }, budget: 20 }\n";

#[test]
fn the_layer_with_outliers_is_found_and_the_list_in_place_of_the_search_gives_the_same_model() {
    let searched = project(SEARCH);
    let ran = searched.trt(&["run", "p.yaml", "-j1"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    with_filters(|| insta::assert_snapshot!("search_calibrate", ran.seen()));
    let report: serde_json::Value =
        serde_json::from_str(&searched.read("build/p/int8/search.json")).unwrap();
    assert_eq!(report["kept"], serde_json::json!(["/layers.3/MatMul"]));
    let nodes = searched.read("build/p/int8/calibrate.json");
    assert!(nodes.contains("`search` keeps it"), "{nodes}");
    let pasted = project("      skip:\n        - \"/layers.3/MatMul\"\n");
    pasted.run_ok();
    let model = |project: &Project| std::fs::read(project.file("build/p/int8/model.onnx")).unwrap();
    assert!(model(&searched) == model(&pasted), "both lists of nodes make the same model");
}

#[test]
fn the_nodes_whose_values_are_beyond_float16_are_found() {
    let stage = |more: &str| {
        let stage = format!("fp16: {{ optimize: {{ from: onnx, precision: fp16{more} }} }}\n");
        with_stage(&stage, 1e5)
    };
    let search = ", search: { data: tuning, objective: { snr_db: 40 }, budget: 40 }";
    let searched = stage(search);
    let ran = searched.trt(&["run", "p.yaml", "-j1"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    with_filters(|| insta::assert_snapshot!("search_optimize", ran.seen()));
    let report: serde_json::Value =
        serde_json::from_str(&searched.read("build/p/fp16/search.json")).unwrap();
    assert_eq!(report["nothing_kept"]["useless"], true, "everything in float16 overflows");
    // What makes the large values and what reads them; what stands in between goes with them.
    assert_eq!(report["kept"], serde_json::json!(["/layers.2/MatMul", "/layers.3/MatMul"]));
    let pasted = stage(", keep_fp32: [/layers.2/MatMul, /layers.3/MatMul]");
    pasted.run_ok();
    let model = |project: &Project| std::fs::read(project.file("build/p/fp16/model.onnx")).unwrap();
    assert!(model(&searched) == model(&pasted), "both lists of nodes make the same model");
    let needless = searched.trt(&["check", "p.yaml"]);
    assert_eq!(needless.status, 0, "{needless:#?}");
    searched.write("p.yaml", searched.read("p.yaml").replace("precision: fp16", "precision: fp32"));
    let needless = searched.trt(&["check", "p.yaml"]);
    assert_eq!(needless.status, 2, "{needless:#?}");
    assert!(needless.stderr.contains("`search` says how to lower the precision"), "{needless:#?}");
}

#[test]
fn inputs_and_outputs_in_16_bits_are_part_of_what_is_measured() {
    let stage = |objective: &str| {
        with_stage(
            &format!(
                "fp16: {{ optimize: {{ from: onnx, precision: fp16, io: convert, search: {{ data: \
                 tuning, objective: {{ snr_db: {objective} }} }} }} }}\n"
            ),
            1.0,
        )
    };
    let out_of_reach = stage("90").trt(&["run", "p.yaml"]);
    assert_eq!(out_of_reach.status, 1, "{out_of_reach:#?}");
    for told in ["even where all 10 nodes are kept", "SNR 70.5 dB", "with `io: keep`"] {
        assert!(out_of_reach.stderr.contains(told), "{out_of_reach:#?}");
    }
    let reached = stage("65");
    reached.run_ok();
    let report: serde_json::Value =
        serde_json::from_str(&reached.read("build/p/fp16/search.json")).unwrap();
    assert_ne!(report["kept"], serde_json::json!([]), "{report:#}");
    // What was printed is reached by the model that was written: a little more is not.
    let snr_db = report["result"]["snr_db"].as_f64().unwrap();
    let spec = reached.read("p.yaml");
    for (more, status) in [(-0.001, 0), (0.001, 4)] {
        let limit = snr_db + more;
        reached.write(
            "p.yaml",
            format!(
                "{spec}\n  ok: {{ validate: {{ from: fp16, reference: onnx, data: tuning, compare: {{ \
                 snr_db: {limit} }} }} }}\n"
            ),
        );
        let ran = reached.trt(&["run", "p.yaml"]);
        assert_eq!(ran.status, status, "{ran:#?}");
    }
}

#[test]
fn a_model_that_is_not_lowered_at_all_is_told_with_the_reason() {
    let nothing = |stage: &str| {
        let project = with_stage(stage, 1.0);
        let ran = project.trt(&["run", "p.yaml"]);
        assert_eq!(ran.status, 0, "{ran:#?}");
        ran.stderr
    };
    let stage = "fp16: { optimize: { from: onnx, precision: fp16, search: { data: tuning, \
                 objective: { snr_db: 120 } } } }\n";
    let told = nothing(stage);
    let expected = "no node was lowered to float16: what `search` keeps leaves none (5 search, \
                    5 surrounded)";
    assert!(told.contains(expected), "{told}");
    let told =
        nothing("fp16: { optimize: { from: onnx, precision: fp16, keep_fp32: [MatMul] } }\n");
    assert!(told.contains("all float32 nodes stay so (5 keep_fp32, 5 surrounded)"), "{told}");
    let stages = "fp16: { optimize: { from: onnx, precision: fp16, io: convert } }\n  \
                  bf16: { optimize: { from: fp16, precision: bf16 } }\n";
    let told = nothing(stages);
    assert!(told.contains("10 nodes compute in float16 already and stay so"), "{told}");
    assert!(told.contains("no node was lowered to bfloat16: none is in float32"), "{told}");
}

#[test]
fn a_warning_about_the_models_of_a_search_comes_once() {
    let stage = "fp16: { optimize: { from: onnx, opset: 19, precision: fp16, search: { data: \
                 tuning, objective: { snr_db: 65 } } } }\n";
    let ran = with_stage(stage, 1.0).trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert_eq!(ran.stderr.matches("the cpu backend is tested up to").count(), 1, "{ran:#?}");
}

#[test]
fn every_setting_and_the_samples_of_a_search_are_in_the_key() {
    let project = project(SEARCH);
    project.run_ok();
    let because = |project: &Project| {
        let plan = project.trt(&["plan", "--explain", "p.yaml"]);
        assert_eq!(plan.status, 0, "{plan:#?}");
        plan.stdout
    };
    assert!(because(&project).contains("2 hit"), "{}", because(&project));
    let spec = project.read("p.yaml");
    for (from, to, field) in [
        ("snr_db: 25", "snr_db: 26", "settings.search.objective.snr_db: 25.0 -> 26.0"),
        ("budget: 20", "budget: 21", "settings.search.budget: 20 -> 21"),
        ("budget: 20", "batch: 8, budget: 20", "settings.search.batch: default -> 8"),
    ] {
        project.write("p.yaml", spec.replace(from, to));
        let because = because(&project);
        assert!(because.contains(field), "{because}");
    }
    project.write("p.yaml", &spec);
    project.write("tuning/x.npy", npy(&[48, WIDTH], &noise(79, 48 * WIDTH)));
    assert!(because(&project).contains("inputs.search.data"), "{}", because(&project));
}

#[test]
fn an_objective_out_of_reach_and_wrong_settings_are_told_at_their_place() {
    let project = project(
        "      search: { data: tuning, objective: { accuracy: { metric: top1, labels: y, \
         at_least: 0.9 } } }\n",
    );
    let labelled = project.trt(&["run", "p.yaml"]);
    assert_eq!(labelled.status, 1, "{labelled:#?}");
    assert!(labelled.stderr.contains("contains no array `y`"), "{labelled:#?}");
    // The first of 32 classes is seldom the one with the highest score.
    let mut labels = npy(&[48], &[0.0; 48]);
    let at = labels.windows(3).position(|bytes| bytes == b"<f4").unwrap();
    labels[at + 1] = b'i';
    project.write("tuning/y.npy", labels);
    let spec = project.read("p.yaml");
    project.write("p.yaml", spec.replace("{ accuracy:", "{ snr_db: 99, accuracy:"));
    let missed = project.trt(&["run", "p.yaml"]);
    assert_eq!(missed.status, 1, "{missed:#?}");
    let told: String = missed.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("misses the objective even where all 5 nodes are kept"), "{told}");
    project.write("p.yaml", spec.replace("at_least: 0.9", "at_least: 90"));
    let wrong = project.trt(&["check", "p.yaml"]);
    assert_eq!(wrong.status, 2, "{wrong:#?}");
    assert!(wrong.stderr.contains("write 90 % as 0.9"), "{wrong:#?}");
}
