//! [`Settings`]: the keys under `tensorrt:` in specs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::tensorrt::Flavor;
use crate::backend::tensorrt::discover::VersionRequirement;

use super::bytes::ByteSize;
use super::choices::{
    HardwareCompatibility, LayerPrecision, MessageLevel, PrecisionConstraints, ProfilingVerbosity,
    Refit, TacticSource, Tiling,
};

/// Settings of a build that only TensorRT has. What is not set is as TensorRT has it by default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "TensorRt")]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own in specs")]
pub struct Settings {
    /// Which of NVIDIA's two libraries; required where a machine has both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flavor: Option<Flavor>,
    /// The versions of the library that will do, such as `">=8.6,<12"` or `"10.13"` (any 10.13).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionRequirement>,
    /// The library itself (`libnvinfer.so.10`, `libtensorrt_rtx.so.1`) or the folder it is in:
    /// absolute, or relative to the spec. Nothing else is looked at then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,

    /// The most device memory one layer may use for its own purposes while it runs, such as
    /// `4GiB`; by default all there is. Less rules out some fast implementations. Available in
    /// all versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<ByteSize>,
    /// The most device memory the builder may use to try implementations out; by default all
    /// there is (three quarters of it where the CPU shares it). Available in all versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tactic_dram: Option<ByteSize>,
    /// The most shared memory a kernel may use, below 1 GiB; by default what the GPU has.
    /// Available in TensorRT 10 or newer and TensorRT-RTX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tactic_shared_memory: Option<ByteSize>,
    /// Fast memory that a DLA core uses within a layer: a power of two from 4 KiB, 1 MiB by
    /// default. Needs `dla_core`. Available in TensorRT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dla_managed_sram: Option<ByteSize>,
    /// Memory that a DLA core passes values between layers in: a power of two from 4 KiB, 1 GiB
    /// by default. Needs `dla_core`. Available in TensorRT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dla_local_dram: Option<ByteSize>,
    /// Memory that holds a DLA core's weights: a power of two from 4 KiB, 512 MiB by default.
    /// Needs `dla_core`. Available in TensorRT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dla_global_dram: Option<ByteSize>,

    /// Keeps every tensor in the type the model gives it. By default on wherever the library can,
    /// and off on TensorRT 10 where `precision`, `int8` or `layer_precisions` need it off; TensorRT
    /// 11 and TensorRT-RTX are always strongly typed. Available in TensorRT 10 or newer and
    /// TensorRT-RTX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strongly_typed: Option<bool>,
    /// Lets tensor cores round the inputs of float32 matrix products and convolutions to TF32: 10
    /// bits of mantissa. By default on. Available in all versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tf32: Option<bool>,
    /// Lets TensorRT look for weights of which two in four are zero, and use the faster kernels
    /// there are for them. By default off. Available in all versions.
    #[serde(skip_serializing_if = "is_false")]
    pub sparsity: bool,
    /// Keeps TensorRT from simplifying `0*x`, `x-x` and `x/x`, so that NaN and infinity come out
    /// as the model says. By default off. Available in TensorRT 10.6 or newer and TensorRT-RTX.
    #[serde(skip_serializing_if = "is_false")]
    pub strict_nans: bool,
    /// Computes every sample of a batch with the same operations, so that a result does not depend
    /// on its place in the batch. By default off. Available in TensorRT 10.12 or newer and
    /// TensorRT-RTX.
    #[serde(skip_serializing_if = "is_false")]
    pub distributive_independence: bool,
    /// The precision of layers, by name; `*` in a name stands for any characters, and of several
    /// names that fit, the longest counts: `{ "*": fp16, "/head/*": fp32 }`. Each precision must be
    /// in `precision` too. Available in TensorRT 8.6 and 10.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub layer_precisions: BTreeMap<String, LayerPrecision>,
    /// How strictly `layer_precisions` is taken; by default `obey`. Available in TensorRT 8.6 and
    /// 10.
    #[serde(skip_serializing_if = "is_default")]
    pub precision_constraints: PrecisionConstraints,

    /// Which weights can be exchanged in the built engine; by default `none`. Available in all
    /// versions.
    #[serde(skip_serializing_if = "is_default")]
    pub refit: Refit,
    /// Leaves out of the engine the weights that `refit` allows to put back, which makes its file
    /// small. By default off. Available in TensorRT 10 or newer and TensorRT-RTX.
    #[serde(skip_serializing_if = "is_false")]
    pub strip_weights: bool,
    /// Lets an engine keep weights in host memory and bring them to the GPU as they are needed, for
    /// models larger than its memory; needs a strongly typed build. By default off. Available in
    /// TensorRT 10 or newer and TensorRT-RTX.
    #[serde(skip_serializing_if = "is_false")]
    pub weight_streaming: bool,
    /// Makes an engine that later versions of the library run too. By default off. Available in
    /// all versions.
    #[serde(skip_serializing_if = "is_false")]
    pub version_compatible: bool,
    /// Leaves out of a `version_compatible` engine the runtime that makes it so, which must then
    /// be installed where the engine runs. By default off. Available in all versions.
    #[serde(skip_serializing_if = "is_false")]
    pub exclude_lean_runtime: bool,
    /// The GPUs the engine runs on; by default `none`: those like the one it was built on.
    /// Available in TensorRT.
    #[serde(skip_serializing_if = "is_default")]
    pub hardware_compatibility: HardwareCompatibility,

    /// How long to search for fast implementations, from 0 (shortest build) to 5 (fastest engine);
    /// 3 by default. Available in all versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5))]
    pub optimization_level: Option<u32>,
    /// The most CUDA streams beside its own that the engine may run layers on, 0 for none; by
    /// default TensorRT decides. Available in all versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_aux_streams: Option<u32>,
    /// Where TensorRT may take implementations of layers from, instead of its default; `[]` for
    /// its own only. Available in all versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tactic_sources: Option<BTreeSet<TacticSource>>,
    /// How hard to try to keep intermediate values in on-chip memory; by default `none`. Available
    /// in TensorRT 10.8 or newer and TensorRT-RTX.
    #[serde(skip_serializing_if = "is_default")]
    pub tiling: Tiling,
    /// The most L2 cache that `tiling` may count on; by default TensorRT decides. Available in
    /// TensorRT 10.8 or newer and TensorRT-RTX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiling_l2_limit: Option<ByteSize>,
    /// How many runs of a kernel are averaged for one measurement; 1 by default. More make builds
    /// slower and choices steadier. Available in all versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub avg_timing_iterations: Option<u32>,
    /// The most implementations of a layer to measure; by default TensorRT decides. Available in
    /// TensorRT 10.4 or newer and TensorRT-RTX.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_tactics: Option<u32>,
    /// A file to keep measurements of kernels in, absolute or relative to the spec; by default one
    /// for each library and GPU is kept in the cache. It is read and written by the build, and is
    /// not part of the cache key. Available in TensorRT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timing_cache: Option<PathBuf>,

    /// The DLA core that runs the layers it can, counted from 0; by default all run on the GPU.
    /// Available in TensorRT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dla_core: Option<u32>,
    /// Runs on the GPU what the DLA core cannot; without it the build fails there. By default off.
    /// Available in TensorRT.
    #[serde(skip_serializing_if = "is_false")]
    pub gpu_fallback: bool,

    /// What the engine says about its layers to `inspect` and to profilers; by default
    /// `layer_names_only`. Available in all versions.
    #[serde(skip_serializing_if = "is_default")]
    pub profiling_verbosity: ProfilingVerbosity,
    /// The least important messages of TensorRT that are passed on to the log, whose own level then
    /// decides what is shown; by default `info`. Not part of the cache key. Available in all
    /// versions.
    #[serde(skip_serializing_if = "is_default")]
    pub message_level: MessageLevel,
    /// Features that NVIDIA does not promise to keep, each to be switched on or off; which there
    /// are depends on the version.
    #[serde(skip_serializing_if = "is_default")]
    pub preview_features: PreviewFeatures,
}

/// Features that NVIDIA does not promise to keep, each switched on (`true`) or off (`false`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreviewFeatures {
    /// Lets plug-ins write their outputs over their inputs. By default off. Available in TensorRT
    /// 10.3 or newer and TensorRT-RTX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliased_plugin_io: Option<bool>,
    /// Lets the memory for activations shrink with the shapes of a run. By default off. Available
    /// in TensorRT 10.10 or newer and TensorRT-RTX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_activation_resize: Option<bool>,
    /// Lets several execution contexts use one profile; later versions always do. By default on.
    /// Available in TensorRT 8.6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_sharing: Option<bool>,
    /// Compiles kernels for shapes known only at run time. By default on. Available in TensorRT
    /// 8.6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faster_dynamic_shapes: Option<bool>,
    /// Keeps TensorRT's own layers from using cuBLAS and cuDNN, whatever `tactic_sources` says. By
    /// default on. Available in TensorRT 8.6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_external_tactic_sources: Option<bool>,
}

impl Settings {
    /// The precision that `layer_precisions` gives the layer of this name: that of the longest
    /// pattern that fits, and of two such the later in the alphabet.
    pub fn layer_precision(&self, layer: &str) -> Option<LayerPrecision> {
        let fitting = self.layer_precisions.iter().filter(|(pattern, _)| fits(pattern, layer));
        fitting.max_by_key(|(pattern, _)| pattern.len()).map(|(_, precision)| *precision)
    }
}

/// Whether a name is what a pattern says, in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        // The first place is the best: it leaves the most for the parts that follow.
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_a_layers_name_stands_for_any_characters() {
        for (pattern, name) in [
            ("conv1", "conv1"),
            ("*", ""),
            ("*", "anything"),
            ("/head/*", "/head/fc/MatMul"),
            ("*/MatMul", "/head/fc/MatMul"),
            ("/*/fc*/MatMul", "/head/fc2/MatMul"),
            ("a*b*b", "axbyb"),
            ("*ab*", "aab"),
            ("**", "x"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("conv1", "conv10"),
            ("/head/*", "/neck/fc"),
            ("*/MatMul", "/fc/MatMul_1"),
            ("a*a", "a"),
            ("a*b*b", "axb"),
            ("", "x"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn the_longest_pattern_that_fits_gives_a_layer_its_precision() {
        let patterns = [("*", "fp16"), ("/head/*", "fp32"), ("/head/softmax", "int8")];
        let settings: Settings = serde_json::from_value(
            serde_json::json!({ "layer_precisions": BTreeMap::from(patterns) }),
        )
        .unwrap();
        let precision = |layer| settings.layer_precision(layer);
        assert_eq!(precision("/stem/conv"), Some(LayerPrecision::Fp16));
        assert_eq!(precision("/head/fc"), Some(LayerPrecision::Fp32));
        assert_eq!(precision("/head/softmax"), Some(LayerPrecision::Int8));
        assert_eq!(Settings::default().layer_precision("/head/fc"), None);
    }
}
