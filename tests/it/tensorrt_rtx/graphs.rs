//! Graphs of every precision and with every sort of input become engines.

use serde_json::json;

use crate::support::{Project, fixture};

use super::{Build, IMAGES, Rtx, has_kernels_for, library};

/// The digits by the precision in their graph, and the element types that only its kernels use.
const DIGITS: [(&str, &[&str]); 6] = [
    ("digits_fp32", &[]),
    ("digits_fp16", &["half"]),
    ("digits_bf16", &["bf16"]),
    ("digits_int8_qdq", &["int8"]),
    ("digits_int8_weights", &["int8"]),
    ("digits_fp8_qdq", &["fp8_e4m3"]),
];

#[test]
fn an_engine_computes_in_the_precision_of_its_graph_and_is_built_once() {
    let builds = DIGITS.map(|(model, _)| Build::of_digits(model));
    let Some(rtx) = Rtx::building(&builds) else { return };
    assert_eq!(rtx.all("built").outcomes().len(), DIGITS.len());
    for (stage, own) in DIGITS {
        let plan = rtx.plan(stage);
        for dtype in ["half", "bf16", "int8", "fp8_e4m3"] {
            assert_eq!(has_kernels_for(&plan, dtype), own.contains(&dtype), "{dtype} in {stage}");
        }
        let engine = rtx.engine_json(stage);
        assert_eq!(engine["inputs"][0]["dims"], json!(["batch", 1, 8, 8]), "{stage}");
        assert_eq!(engine["outputs"][0]["dims"], json!(["batch", 10]), "{stage}");
        assert_eq!(engine["tensorrt"]["plan_bytes"], plan.len(), "{stage}");
    }
    assert_eq!(rtx.all("cached").outcomes().len(), DIGITS.len());
}

#[test]
fn what_is_around_8_bits_may_be_of_16_and_repeated_warnings_are_one() {
    let Some(library) = library() else { return };
    let project = Project::with_spec(&format!(
        "version: 1\nname: rtx\nstages:\n  \
           half: {{ optimize: {{ from: {{ file: m.onnx, kind: model }}, precision: fp16 }} }}\n  \
           engine:\n    build:\n      from: half\n      backend: tensorrt\n      \
             compute_capabilities: [\"8.9\"]\n      profiles: [{IMAGES}]\n"
    ));
    project.copy(&fixture("tensorrt/digits_int8_qdq.onnx"), "m.onnx");
    let rtx = Rtx { project, library };
    let ran = rtx.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 0, "{}", ran.seen());
    let plan = rtx.plan("engine");
    for dtype in ["half", "int8"] {
        assert!(has_kernels_for(&plan, dtype), "{dtype}");
    }
    let warning = "Converting conv activation scales to fp32";
    let told: Vec<&str> = ran.stderr.lines().filter(|line| line.contains(warning)).collect();
    assert_eq!(told.len(), 2, "{}", ran.seen());
    assert!(told[1].contains(" times: "), "{}", ran.seen());
}

#[test]
fn axes_that_change_independently_have_several_profiles() {
    let profile = |batch: usize, rows: usize, columns: usize| {
        format!(
            "{{ left: {{ min: [1, 1, 8], opt: [{batch}, 4, 8], max: [{batch}, {rows}, 8] }}, right: {{ \
             min: [1, 8, 1], opt: [{batch}, 8, 4], max: [{batch}, 8, {columns}] }} }}"
        )
    };
    let build = Build::of("two_inputs_dynamic");
    let build =
        build.profile(profile(1, 16, 5)).profile(profile(4, 8, 8)).profile(profile(32, 4, 64));
    let Some(rtx) = Rtx::building(&[build]) else { return };
    rtx.all("built");
    let engine = rtx.engine_json("two_inputs_dynamic");
    let largest = |profile: usize, input: &str| engine["profiles"][profile][input]["max"].clone();
    assert_eq!(engine["profiles"].as_array().unwrap().len(), 3);
    assert_eq!(largest(0, "left"), json!([1, 16, 8]));
    assert_eq!(largest(2, "right"), json!([32, 8, 64]));
}

#[test]
fn inputs_need_not_be_floating_point() {
    let ids = "{ ids: { min: [1, 3], opt: [4, 3], max: [16, 3] } }";
    let rows = "{ min: [1, 5], opt: [4, 5], max: [16, 5] }";
    let both = format!("{{ x: {rows}, keep: {rows} }}");
    let builds = [Build::of("int64_io").profile(ids), Build::of("bool_io").profile(both)];
    let Some(rtx) = Rtx::building(&builds) else { return };
    rtx.all("built");
    assert_eq!(rtx.engine_json("int64_io")["inputs"][0]["dtype"], "int64");
    assert_eq!(rtx.engine_json("bool_io")["inputs"][1]["dtype"], "bool");
}

#[test]
fn well_known_architectures_become_engines() {
    let models = ["light/light_squeezenet", "light/light_inception_v1", "light/light_zfnet512"];
    let Some(rtx) = Rtx::building(&models.map(Build::of)) else { return };
    rtx.all("built");
    for stage in ["light_squeezenet", "light_inception_v1", "light_zfnet512"] {
        let engine = rtx.engine_json(stage);
        assert_eq!(engine["inputs"][0]["dims"], json!([1, 3, 224, 224]), "{stage}");
        assert_eq!(engine["profiles"], json!([]), "{stage}: its shapes are fixed");
    }
    rtx.all("cached");
}

#[test]
fn one_engine_is_for_every_gpu_that_the_spec_names() {
    let build = Build::of_digits("digits_fp16");
    let build = build.set("compute_capabilities: [\"12.0\", \"8.6\", \"8.9\"]");
    let Some(rtx) = Rtx::building(&[build]) else { return };
    rtx.all("built");
    let engine = rtx.engine_json("digits_fp16");
    assert_eq!(engine["tensorrt"]["compute_capabilities"], json!(["8.6", "8.9", "12.0"]));
}

#[test]
fn an_input_that_holds_a_shape_has_a_range_of_values() {
    let profile = "{ x: { min: [1, 1], opt: [1, 4], max: [1, 8] }, shape: { min: [1, 1], opt: [3, \
                   4], max: [6, 8] } }";
    let Some(rtx) = Rtx::building(&[Build::of("shape_tensor").profile(profile)]) else { return };
    rtx.all("built");
    let engine = rtx.engine_json("shape_tensor");
    let x = json!({ "min": [1, 1], "opt": [1, 4], "max": [1, 8] });
    let values = json!({ "min": [1, 1], "opt": [3, 4], "max": [6, 8] });
    assert_eq!(engine["profiles"], json!([{ "x": x }]));
    assert_eq!(engine["tensorrt"]["shape_values"], json!([{ "shape": values }]));
}
