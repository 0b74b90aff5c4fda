use serde_json::json;

use super::*;

fn options(json: Value) -> Options {
    serde_json::from_value(json).unwrap()
}

/// Every option, none at its default.
fn everything() -> Value {
    json!({
        "compute_capabilities": ["7.5", "12.1"],
        "precision": ["fp16", "bf16", "int8"],
        "int8": {
            "calibrator": "minmax",
            "batch": 8,
            "raw": { "image": { "dtype": "float32", "shape": [1, 8, 8] } },
        },
        "tensorrt": {
            "flavor": "rtx",
            "version": ">=8.6,<12",
            "library": "/opt/tensorrt/lib",
            "workspace": 4_294_967_296_u64,
            "tactic_dram": 1,
            "tactic_shared_memory": 2,
            "dla_managed_sram": 4096,
            "dla_local_dram": 8192,
            "dla_global_dram": 16384,
            "strongly_typed": false,
            "tf32": false,
            "sparsity": true,
            "strict_nans": true,
            "distributive_independence": true,
            "layer_precisions": { "*": "fp16", "/head/*": "fp32" },
            "precision_constraints": "prefer",
            "refit": "all",
            "strip_weights": true,
            "weight_streaming": true,
            "version_compatible": true,
            "exclude_lean_runtime": true,
            "hardware_compatibility": "ampere_plus",
            "optimization_level": 5,
            "max_aux_streams": 0,
            "tactic_sources": ["cublas", "jit_convolutions"],
            "tiling": "full",
            "tiling_l2_limit": 3,
            "avg_timing_iterations": 4,
            "max_tactics": 5,
            "timing_cache": "/tmp/timing.cache",
            "dla_core": 1,
            "gpu_fallback": true,
            "profiling_verbosity": "detailed",
            "message_level": "verbose",
            "preview_features": { "aliased_plugin_io": true, "profile_sharing": false },
        },
    })
}

#[test]
fn options_cross_as_json_and_come_back_the_same() {
    let written = everything();
    let read = options(written.clone());
    assert_eq!(serde_json::to_value(&read).unwrap(), written);
    let names = written["tensorrt"].as_object().unwrap().keys();
    let schema = schemars::schema_for!(Settings).to_value();
    let known = schema["properties"].as_object().unwrap().keys();
    let (mut names, mut known): (Vec<_>, Vec<_>) = (names.collect(), known.collect());
    names.sort();
    known.sort();
    assert_eq!(names, known, "the test sets every setting");
}

#[test]
fn the_key_holds_what_can_change_the_engine_and_nothing_at_its_default() {
    assert_eq!(Options::default().key_settings(), serde_json::Map::new());
    let as_it_is_anyway = json!({ "tensorrt": {
        "tf32": true,
        "optimization_level": 3,
        "avg_timing_iterations": 1,
        "refit": "none",
        "sparsity": false,
        "preview_features": {},
        "layer_precisions": {},
    } });
    assert_eq!(options(as_it_is_anyway).key_settings(), serde_json::Map::new());
    let mut expected = everything();
    for name in ["flavor", "version", "library", "timing_cache", "message_level"] {
        assert!(expected["tensorrt"].as_object_mut().unwrap().remove(name).is_some(), "{name}");
    }
    assert_eq!(Value::from(options(everything()).key_settings()), expected);
}

#[test]
fn the_order_and_number_of_words_in_a_list_mean_nothing() {
    let one = options(json!({ "precision": ["int8", "fp16", "int8"] }));
    let other = options(json!({ "precision": ["fp16", "int8"] }));
    assert_eq!(one.key_settings(), other.key_settings());
    let none = options(json!({ "tensorrt": { "tactic_sources": [] } }));
    assert_eq!(Value::from(none.key_settings()), json!({ "tensorrt": { "tactic_sources": [] } }));
}

/// What is wrong with the options, a line each.
fn wrong(json: Value) -> String {
    let found = options(json).contradictions();
    let lines =
        found.iter().map(|error| format!("{}: {} | {}\n", error.setting, error.reason, error.help));
    lines.collect()
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    insta::assert_snapshot!(wrong(json!({
        "int8": { "calibrator": "entropy", "batch": 0 },
        "precision": ["int8"],
        "tensorrt": {
            "optimization_level": 6,
            "max_aux_streams": 4_000_000_000_u32,
            "avg_timing_iterations": 0,
            "max_tactics": 0,
            "dla_core": 4_000_000_000_u32,
            "tactic_shared_memory": "1GiB",
            "dla_managed_sram": "3MiB",
            "dla_local_dram": "2KiB",
        },
    })));
}

#[test]
fn settings_that_need_another_are_refused_without_it() {
    insta::assert_snapshot!(wrong(json!({
        "int8": { "calibrator": "entropy" },
        "tensorrt": {
            "dla_global_dram": "512MiB",
            "gpu_fallback": true,
            "strip_weights": true,
            "exclude_lean_runtime": true,
            "tiling_l2_limit": "8MiB",
            "layer_precisions": { "/a": "fp32", "/b": "fp16", "/c": "int8" },
        },
    })));
    insta::assert_snapshot!(
        wrong(json!({ "tensorrt": { "precision_constraints": "prefer" } })),
        @"tensorrt.precision_constraints: it says how strictly `layer_precisions` is taken, which is empty | add `layer_precisions`, or remove it"
    );
}

#[test]
fn settings_that_exclude_each_other_are_refused_together() {
    insta::assert_snapshot!(wrong(json!({
        "precision": ["fp16"],
        "tensorrt": { "strongly_typed": true, "weight_streaming": true },
    })));
    insta::assert_snapshot!(
        wrong(json!({ "tensorrt": { "strongly_typed": false, "weight_streaming": true } })),
        @"tensorrt.weight_streaming: it needs a strongly typed build, which `strongly_typed: false` rules out | remove it, or `strongly_typed: false`"
    );
}

#[test]
fn settings_that_fit_each_other_are_not_refused() {
    assert_eq!(wrong(json!({})), "");
    assert_eq!(
        wrong(json!({
            "precision": ["fp16", "int8"],
            "int8": { "calibrator": "minmax", "batch": 1 },
            "tensorrt": {
                "workspace": 0,
                "tactic_shared_memory": "100KiB",
                "dla_core": 0,
                "dla_managed_sram": "4KiB",
                "gpu_fallback": true,
                "strongly_typed": false,
                "layer_precisions": { "*": "int8" },
                "refit": "identical",
                "strip_weights": true,
                "version_compatible": true,
                "exclude_lean_runtime": true,
                "optimization_level": 0,
                "max_aux_streams": 0,
                "tiling": "fast",
                "tiling_l2_limit": "8MiB",
            },
        })),
        ""
    );
    assert_eq!(
        wrong(json!({ "tensorrt": { "strongly_typed": true, "weight_streaming": true } })),
        ""
    );
}

#[test]
fn an_error_of_a_setting_is_a_backends_error() {
    let found = options(json!({ "tensorrt": { "gpu_fallback": true } })).contradictions();
    let error = BackendError::from(found[0].clone());
    insta::assert_snapshot!(
        error,
        @"`tensorrt.gpu_fallback`: it is for a DLA core, and none is chosen"
    );
    assert_eq!(error.help().as_deref(), Some("add `dla_core: 0`, or remove it"));
}
