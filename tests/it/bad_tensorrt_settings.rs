//! Every mistake in the settings that only TensorRT has is named at its place, without a library.

use crate::support::{Project, fixture, with_filters};

/// Runs a build for TensorRT with these settings, which must be refused before anything is stored.
fn refused(name: &str, settings: &str) {
    let profile = "      profiles: [{ x: { min: [1, 4], opt: [2, 4], max: [4, 4] } }]\n";
    refused_build(name, &format!("      backend: tensorrt\n{profile}{settings}"));
}

fn refused_build(name: &str, settings: &str) {
    let spec = format!(
        "version: 1\nname: p\nstages:\n  onnx: {{ convert: {{ model: model.onnx }} }}\n  engine:\n    \
         build:\n      from: onnx\n{settings}"
    );
    let project = Project::with_spec(&spec);
    project.copy(&fixture("onnx/mlp.onnx"), "model.onnx");
    project.write("samples.npz", "not read before the build runs\n");
    let ran = project.trt(&["run", "p.yaml"]);
    with_filters(|| insta::assert_snapshot!(name, ran.seen()));
    assert_eq!(ran.status, 2, "{ran:#?}");
    assert_eq!(project.stored(), [""; 0], "a spec error stores nothing");
    let checked = project.trt(&["check", "p.yaml"]);
    assert_eq!(checked.status, 2, "`check` refuses what `run` refuses: {checked:#?}");
}

#[test]
fn settings_of_tensorrt_need_its_backend() {
    refused_build(
        "tensorrt_settings_of_another_backend",
        "      compute_capabilities: [\"8.9\"]\n      precision: [int8]\n      int8: { data: samples.npz \
         }\n      plugins: [samples.npz]\n      builds: 3\n      timeout_seconds: 1800\n      \
         tensorrt:\n        tf32: false\n",
    );
}

#[test]
fn misspelt_keys_and_words_are_refused_with_a_suggestion() {
    refused("tensorrt_unknown_key", "      tensorrt: { sparsty: true }\n");
    refused(
        "tensorrt_unknown_preview",
        "      tensorrt: { preview_features: { sharing: true } }\n",
    );
    refused("tensorrt_unknown_choice", "      tensorrt: { refit: same }\n");
    refused("tensorrt_unknown_source", "      tensorrt: { tactic_sources: [cudnn, cublass] }\n");
    refused("tensorrt_unknown_capability", "      compute_capabilities: [\"8.9\", \"9.9\"]\n");
    refused("tensorrt_unknown_precision", "      precision: [fp8]\n");
    refused("tensorrt_unknown_calibrator", "      int8: { calibrator: kl, data: samples.npz }\n");
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    refused("tensorrt_not_a_mapping", "      tensorrt: fast\n");
    refused("tensorrt_not_a_switch", "      tensorrt:\n        tf32: fast\n");
    refused("tensorrt_no_amount", "      tensorrt: { workspace: 4 gigabytes }\n");
    refused("tensorrt_no_amount_of_memory", "      tensorrt: { workspace: [4GiB] }\n");
    refused("tensorrt_too_much_memory", "      tensorrt: { workspace: 9999TiB }\n");
    refused("tensorrt_negative_level", "      tensorrt: { optimization_level: -1 }\n");
    refused("tensorrt_no_version", "      tensorrt: { version: newest }\n");
    refused("tensorrt_timeout_with_a_unit", "      timeout_seconds: 30m\n");
}

#[test]
fn values_out_of_range_are_refused_at_their_place() {
    refused(
        "tensorrt_ranges",
        "      builds: 0\n      timeout_seconds: -1\n      precision: [int8]\n      int8: { data: \
         samples.npz, batch: 0 }\n      tensorrt:\n        optimization_level: 6\n        \
         avg_timing_iterations: 0\n        max_tactics: 0\n        max_aux_streams: 4000000000\n        \
         tactic_shared_memory: 2GiB\n        dla_core: 0\n        dla_managed_sram: 3MiB\n",
    );
}

#[test]
fn settings_that_need_or_exclude_each_other_are_refused_at_their_place() {
    refused(
        "tensorrt_companions",
        "      int8: {}\n      tensorrt:\n        strip_weights: true\n        exclude_lean_runtime: \
         true\n        gpu_fallback: true\n        dla_local_dram: 1GiB\n        tiling_l2_limit: \
         8MiB\n        layer_precisions: { \"/head/*\": fp16 }\n",
    );
    refused(
        "tensorrt_exclusions",
        "      precision: [fp16]\n      tensorrt: { strongly_typed: true, weight_streaming: true }\n",
    );
}

#[test]
fn tensorrt_must_be_told_the_range_of_an_open_shape() {
    refused_build("tensorrt_without_profiles", "      backend: tensorrt\n");
}

#[test]
fn files_that_are_not_there_are_named() {
    refused(
        "tensorrt_missing_files",
        "      precision: [int8]\n      int8: { data: sample.npz, cache: { from: onix, path: x } }\n      \
         plugins: [libplugin.so]\n",
    );
}
