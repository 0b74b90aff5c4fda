//! Every setting under `tensorrt:` is either taken by TensorRT-RTX or refused by name.

use crate::support::with_filters;

use super::{Build, Rtx, mentions, unwrapped};

#[test]
fn the_settings_that_tensorrt_rtx_has_are_taken() {
    let settings = [
        "workspace: 64MiB",
        "tactic_dram: 1GiB",
        "tactic_shared_memory: 48KiB",
        "strongly_typed: true",
        "tf32: false",
        "sparsity: true",
        "strict_nans: true",
        "distributive_independence: true",
        "weight_streaming: true",
        "version_compatible: true, exclude_lean_runtime: true",
        "optimization_level: 5",
        "max_aux_streams: 0",
        "tactic_sources: [edge_mask_convolutions, jit_convolutions]",
        "tiling: moderate, tiling_l2_limit: 8MiB",
        "avg_timing_iterations: 2",
        "max_tactics: 4",
        "profiling_verbosity: detailed",
        "message_level: verbose",
        "preview_features: { aliased_plugin_io: true, runtime_activation_resize: false }",
    ];
    let build =
        Build::of_digits("digits_fp16").set(format!("tensorrt: {{ {} }}", settings.join(", ")));
    let Some(rtx) = Rtx::building(&[build]) else { return };
    let ran = rtx.trt(&["run", "p.yaml"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    // The library warns of what it does not take.
    assert!(!ran.stderr.contains("unsupported"), "{ran:#?}");
}

#[test]
fn a_setting_reaches_the_engine() {
    let build = Build::of_digits("digits_fp32").set("tensorrt: { tf32: \"${tf32}\" }");
    let Some(rtx) = Rtx::building(&[build]) else { return };
    let spec = rtx.project.read("p.yaml");
    for (tf32, word) in [(true, "tf32=1"), (false, "tf32=0")] {
        rtx.project.write(
            "p.yaml",
            spec.replace("stages:", &format!("vars: {{ tf32: {tf32} }}\nstages:")),
        );
        rtx.all("built");
        let found = ["tf32=0", "tf32=1"].map(|known| mentions(&rtx.plan("digits_fp32"), known));
        assert_eq!(found, ["tf32=0", "tf32=1"].map(|known| known == word), "tf32: {tf32}");
    }
}

/// Runs a build with one setting, which must be refused at its place before TensorRT is started.
fn refused(name: &str, setting: &str, status: i32) {
    let Some(rtx) = Rtx::building(&[Build::of_digits("digits_fp16").set(setting)]) else { return };
    let ran = rtx.trt(&["run", "p.yaml"]);
    with_filters(|| insta::assert_snapshot!(name, ran.seen()));
    assert_eq!(ran.status, status, "{ran:#?}");
    assert_eq!(rtx.project.stored(), [""; 0]);
}

#[test]
fn settings_that_tensorrt_rtx_lacks_are_refused_by_name() {
    refused("rtx_precision", "precision: [fp16]", 1);
    refused("rtx_dla", "tensorrt: { dla_core: 0, gpu_fallback: true }", 1);
    refused("rtx_hardware", "tensorrt: { hardware_compatibility: ampere_plus }", 1);
    refused("rtx_timing_cache", "tensorrt: { timing_cache: t.cache }", 1);
    refused("rtx_tactic_sources", "tensorrt: { tactic_sources: [cudnn, jit_convolutions] }", 1);
    refused("rtx_weak_typing", "tensorrt: { strongly_typed: false }", 1);
}

#[test]
fn a_library_that_the_spec_does_not_ask_for_is_not_used() {
    for (setting, wanted) in
        [("flavor: standard", "flavor `standard`"), ("version: \">=2\"", "version `>=2`")]
    {
        let build = Build::of_digits("digits_fp16").set(format!("tensorrt: {{ {setting} }}"));
        let Some(rtx) = Rtx::building(&[build]) else { return };
        let ran = rtx.trt(&["run", "p.yaml"]);
        assert_eq!(ran.status, 3, "{ran:#?}");
        let message = unwrapped(&ran.stderr);
        assert!(message.contains(&format!("but the spec asks for {wanted}")), "{message}");
    }
}

#[test]
fn what_needs_a_gpu_is_refused_where_there_is_none() {
    refused("rtx_several_builds", "builds: 2", 2);
    if std::path::Path::new("/dev/nvidiactl").exists() {
        return;
    }
    refused("rtx_refit", "tensorrt: { refit: identical, strip_weights: true }", 1);
    refused("rtx_this_gpu", "compute_capabilities: []", 3);
}
