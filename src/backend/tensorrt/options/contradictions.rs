//! What is wrong with options whatever the library: values out of range, and settings that need or
//! exclude each other.

use super::bytes::ByteSize;
use super::choices::{LayerPrecision, Precision, PrecisionConstraints, Refit, Tiling};
use super::{Options, SettingError};

/// What TensorRT's interface counts with.
const MOST: u32 = i32::MAX.cast_unsigned();
/// The least a DLA memory pool may be.
const LEAST_POOL: ByteSize = ByteSize(4 << 10);
/// What shared memory must stay below.
const SHARED_MEMORY: ByteSize = ByteSize(1 << 30);

impl Options {
    /// Everything that is wrong with them whatever the library.
    pub fn contradictions(&self) -> Vec<SettingError> {
        let mut found = Found(Vec::new());
        self.ranges(&mut found);
        self.dla(&mut found);
        self.typing(&mut found);
        self.companions(&mut found);
        found.0
    }

    fn ranges(&self, found: &mut Found) {
        let settings = &self.settings;
        found.range("tensorrt.optimization_level", settings.optimization_level, 0, 5);
        found.range("tensorrt.max_aux_streams", settings.max_aux_streams, 0, MOST);
        found.range("tensorrt.avg_timing_iterations", settings.avg_timing_iterations, 1, MOST);
        found.range("tensorrt.max_tactics", settings.max_tactics, 1, MOST);
        found.range("tensorrt.dla_core", settings.dla_core, 0, MOST);
        if let Some(size) = settings.tactic_shared_memory.filter(|size| *size >= SHARED_MEMORY) {
            let reason = format!("{size} is not below {SHARED_MEMORY}");
            found.add("tensorrt.tactic_shared_memory", reason, "GPUs have some 100KiB of it");
        }
        if self.int8.as_ref().is_some_and(|int8| int8.batch == Some(0)) {
            found.add("int8", "`batch` is 0", "take 1 or more samples in a batch");
        }
    }

    fn dla(&self, found: &mut Found) {
        let settings = &self.settings;
        let without_core = settings.dla_core.is_none();
        for (setting, pool) in [
            ("tensorrt.dla_managed_sram", settings.dla_managed_sram),
            ("tensorrt.dla_local_dram", settings.dla_local_dram),
            ("tensorrt.dla_global_dram", settings.dla_global_dram),
        ] {
            let Some(size) = pool else { continue };
            if !size.0.is_power_of_two() || size < LEAST_POOL {
                let reason = format!("{size} is not a power of two from {LEAST_POOL}");
                found.add(setting, reason, "write for instance 1MiB");
            }
            if without_core {
                found.needs_core(setting);
            }
        }
        if settings.gpu_fallback && without_core {
            found.needs_core("tensorrt.gpu_fallback");
        }
    }

    /// Precision is either the model's business or the library's.
    fn typing(&self, found: &mut Found) {
        let settings = &self.settings;
        let weak = self.weakly_typed_by();
        if let Some(weak) = weak.filter(|_| settings.strongly_typed == Some(true)) {
            let reason = format!("a strongly typed build leaves nothing for `{weak}` to choose");
            found.add("tensorrt.strongly_typed", reason, &format!("remove it, or `{weak}`"));
        }
        if settings.weight_streaming {
            let cause = match weak {
                Some(weak) => Some(format!("`{weak}`")),
                None => (settings.strongly_typed == Some(false))
                    .then(|| "`strongly_typed: false`".to_owned()),
            };
            if let Some(cause) = cause {
                let reason = format!("it needs a strongly typed build, which {cause} rules out");
                let help = format!("remove it, or {cause}");
                found.add("tensorrt.weight_streaming", reason, &help);
            }
        }
        if self.int8.is_some() && !self.precision.contains(&Precision::Int8) {
            let reason = "calibration is for INT8, which `precision` does not allow";
            found.add("int8", reason, "add `int8` to `precision`");
        }
        for (pattern, precision) in &settings.layer_precisions {
            let missing = precision.needs().filter(|needed| !self.precision.contains(needed));
            if missing.is_some() {
                let precision = word(*precision);
                let reason =
                    format!("`{pattern}` is to be {precision}, which `precision` does not allow");
                let help = format!("add `{precision}` to `precision`");
                found.add("tensorrt.layer_precisions", reason, &help);
            }
        }
    }

    fn companions(&self, found: &mut Found) {
        let settings = &self.settings;
        if settings.strip_weights && settings.refit == Refit::None {
            let reason = "weights that `refit` does not allow to put back cannot be left out";
            let help = "add `refit: identical` (the same weights come back) or `refit: all`";
            found.add("tensorrt.strip_weights", reason, help);
        }
        if settings.exclude_lean_runtime && !settings.version_compatible {
            let reason = "only a version compatible engine has the runtime that this leaves out";
            let help = "add `version_compatible: true`, or remove it";
            found.add("tensorrt.exclude_lean_runtime", reason, help);
        }
        let has_layers = !settings.layer_precisions.is_empty();
        if settings.precision_constraints != PrecisionConstraints::default() && !has_layers {
            let reason = "it says how strictly `layer_precisions` is taken, which is empty";
            found.add(
                "tensorrt.precision_constraints",
                reason,
                "add `layer_precisions`, or remove it",
            );
        }
        if settings.tiling_l2_limit.is_some() && settings.tiling == Tiling::None {
            let reason = "it limits `tiling`, which is `none`";
            found.add("tensorrt.tiling_l2_limit", reason, "add for instance `tiling: fast`");
        }
    }

    /// The setting that leaves the choice of precisions to the library, if any does.
    pub fn weakly_typed_by(&self) -> Option<&'static str> {
        [
            ("precision", !self.precision.is_empty()),
            ("int8", self.int8.is_some()),
            ("layer_precisions", !self.settings.layer_precisions.is_empty()),
        ]
        .into_iter()
        .find_map(|(setting, is_set)| is_set.then_some(setting))
    }
}

/// A precision as specs write it.
fn word(precision: LayerPrecision) -> &'static str {
    match precision {
        LayerPrecision::Fp32 => "fp32",
        LayerPrecision::Fp16 => "fp16",
        LayerPrecision::Bf16 => "bf16",
        LayerPrecision::Int8 => "int8",
    }
}

struct Found(Vec<SettingError>);

impl Found {
    fn add(&mut self, setting: &'static str, reason: impl Into<String>, help: &str) {
        self.0.push(SettingError { setting, reason: reason.into(), help: help.to_owned() });
    }

    fn range(&mut self, setting: &'static str, value: Option<u32>, least: u32, most: u32) {
        let Some(value) = value.filter(|value| !(least..=most).contains(value)) else { return };
        self.add(setting, format!("it is {value}"), &format!("write {least} to {most}"));
    }

    fn needs_core(&mut self, setting: &'static str) {
        let reason = "it is for a DLA core, and none is chosen";
        self.add(setting, reason, "add `dla_core: 0`, or remove it");
    }
}
