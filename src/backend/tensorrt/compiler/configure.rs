//! From [`Options`] to TensorRT's builder configuration.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::backend::{BackendError, Profile};
use crate::tensor::{Dim, TensorSpec};

use super::super::calibration::BatchSpec;
use super::super::error::TrtError;
use super::super::handle::{self, Builder, Config, Network, NetworkTensor};
use super::super::options::{
    ByteSize, Files, HardwareCompatibility, Options, Precision, ProfilingVerbosity, Refit,
    Settings, TacticSource, Tiling,
};
use super::super::sys::{
    self, BuilderFlag, ComputeCapability, DeviceType, Dims, MemoryPoolType, OptProfileSelector,
    PreviewFeature,
};

/// Sets all that the options ask for. Availability was checked before: what a library lacks is an
/// error here all the same, in the library's own words.
pub(super) fn configure(config: &Config, options: &Options, files: &Files) -> Result<(), TrtError> {
    let settings = &options.settings;
    memory(config, settings)?;
    flags(config, options)?;
    compatibility(config, options)?;
    search(config, settings)?;
    accelerator(config, settings)?;
    previews(config, settings)?;
    let verbosity = match settings.profiling_verbosity {
        ProfilingVerbosity::LayerNamesOnly => sys::ProfilingVerbosity::LayerNamesOnly,
        ProfilingVerbosity::None => sys::ProfilingVerbosity::None,
        ProfilingVerbosity::Detailed => sys::ProfilingVerbosity::Detailed,
    };
    config.set_profiling_verbosity(verbosity)?;
    if settings.version_compatible && !files.plugins.is_empty() {
        let plugins = files.plugins.iter();
        let plugins: Vec<CString> =
            plugins.filter_map(|file| CString::new(file.as_os_str().as_bytes()).ok()).collect();
        config.set_plugins_to_serialize(&plugins)?;
    }
    Ok(())
}

fn memory(config: &Config, settings: &Settings) -> Result<(), TrtError> {
    let pools = [
        (settings.workspace, MemoryPoolType::Workspace),
        (settings.tactic_dram, MemoryPoolType::TacticDram),
        (settings.tactic_shared_memory, MemoryPoolType::TacticSharedMemory),
        (settings.dla_managed_sram, MemoryPoolType::DlaManagedSram),
        (settings.dla_local_dram, MemoryPoolType::DlaLocalDram),
        (settings.dla_global_dram, MemoryPoolType::DlaGlobalDram),
    ];
    for (bytes, pool) in pools {
        if let Some(ByteSize(bytes)) = bytes {
            config.set_memory_pool_limit(pool, bytes)?;
        }
    }
    Ok(())
}

fn flags(config: &Config, options: &Options) -> Result<(), TrtError> {
    let settings = &options.settings;
    let on = [
        (settings.sparsity, BuilderFlag::SparseWeights),
        (settings.strict_nans, BuilderFlag::StrictNans),
        (settings.distributive_independence, BuilderFlag::DistributiveIndependence),
        (settings.refit == Refit::All, BuilderFlag::Refit),
        (settings.refit == Refit::Identical, BuilderFlag::RefitIdentical),
        (settings.strip_weights, BuilderFlag::StripPlan),
        (settings.weight_streaming, BuilderFlag::WeightStreaming),
        (settings.version_compatible, BuilderFlag::VersionCompatible),
        (settings.exclude_lean_runtime, BuilderFlag::ExcludeLeanRuntime),
        (settings.gpu_fallback, BuilderFlag::GpuFallback),
        (options.precision.contains(&Precision::Fp16), BuilderFlag::Fp16),
        (options.precision.contains(&Precision::Bf16), BuilderFlag::Bf16),
        (options.precision.contains(&Precision::Int8) || options.int8.is_some(), BuilderFlag::Int8),
    ];
    for (_, flag) in on.into_iter().filter(|(wanted, _)| *wanted) {
        config.set_flag(flag)?;
    }
    match settings.tf32 {
        Some(true) => config.set_flag(BuilderFlag::Tf32)?,
        Some(false) => config.clear_flag(BuilderFlag::Tf32)?,
        None => {}
    }
    Ok(())
}

fn compatibility(config: &Config, options: &Options) -> Result<(), TrtError> {
    use sys::HardwareCompatibilityLevel::{AmperePlus, SameComputeCapability};
    match options.settings.hardware_compatibility {
        HardwareCompatibility::None => {}
        HardwareCompatibility::AmperePlus => config.set_hardware_compatibility_level(AmperePlus)?,
        HardwareCompatibility::SameComputeCapability => {
            config.set_hardware_compatibility_level(SameComputeCapability)?;
        }
    }
    if options.compute_capabilities.is_empty() {
        return Ok(());
    }
    let capabilities = options.compute_capabilities.iter().filter_map(|wanted| {
        let name = format!("kSM{}", wanted.number());
        ComputeCapability::ALL.iter().copied().find(|known| known.name() == name)
    });
    config.set_compute_capabilities(&capabilities.collect::<Vec<_>>())
}

fn search(config: &Config, settings: &Settings) -> Result<(), TrtError> {
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    if let Some(level) = settings.optimization_level {
        config.set_builder_optimization_level(number(level))?;
    }
    if let Some(streams) = settings.max_aux_streams {
        config.set_max_aux_streams(number(streams))?;
    }
    if let Some(count) = settings.avg_timing_iterations {
        config.set_avg_timing_iterations(number(count))?;
    }
    if let Some(count) = settings.max_tactics {
        config.set_max_nb_tactics(number(count))?;
    }
    if let Some(sources) = &settings.tactic_sources {
        let sources: Vec<_> = sources.iter().map(|source| tactic_source(*source)).collect();
        config.set_tactic_sources(&sources)?;
    }
    let tiling = match settings.tiling {
        Tiling::None => return Ok(()),
        Tiling::Fast => sys::TilingOptimizationLevel::Fast,
        Tiling::Moderate => sys::TilingOptimizationLevel::Moderate,
        Tiling::Full => sys::TilingOptimizationLevel::Full,
    };
    let limit = settings.tiling_l2_limit.map(|ByteSize(bytes)| i64::try_from(bytes));
    config.set_tiling(tiling, limit.map(|limit| limit.unwrap_or(i64::MAX)))
}

fn tactic_source(source: TacticSource) -> sys::TacticSource {
    match source {
        TacticSource::Cublas => sys::TacticSource::Cublas,
        TacticSource::CublasLt => sys::TacticSource::CublasLt,
        TacticSource::Cudnn => sys::TacticSource::Cudnn,
        TacticSource::EdgeMaskConvolutions => sys::TacticSource::EdgeMaskConvolutions,
        TacticSource::JitConvolutions => sys::TacticSource::JitConvolutions,
    }
}

fn accelerator(config: &Config, settings: &Settings) -> Result<(), TrtError> {
    let Some(core) = settings.dla_core else { return Ok(()) };
    config.set_default_device_type(DeviceType::Dla)?;
    config.set_dla_core(i32::try_from(core).unwrap_or(i32::MAX))
}

fn previews(config: &Config, settings: &Settings) -> Result<(), TrtError> {
    let features = &settings.preview_features;
    let asked = [
        (features.aliased_plugin_io, PreviewFeature::AliasedPluginIo1003),
        (features.runtime_activation_resize, PreviewFeature::RuntimeActivationResize1010),
        (features.profile_sharing, PreviewFeature::ProfileSharing0806),
        (features.faster_dynamic_shapes, PreviewFeature::FasterDynamicShapes0805),
        (
            features.disable_external_tactic_sources,
            PreviewFeature::DisableExternalTacticSourcesForCore0805,
        ),
    ];
    for (on, feature) in asked {
        if let Some(on) = on {
            config.set_preview_feature(feature, on)?;
        }
    }
    Ok(())
}

/// Gives the configuration the profiles of the spec.
pub(super) fn add_profiles(
    builder: &Arc<Builder>,
    config: &Config,
    network: &Network,
    profiles: &[Profile],
) -> Result<(), BackendError> {
    let inputs = network.inputs();
    let failed = |error: TrtError| BackendError::Setting {
        setting: "profiles".to_owned(),
        reason: error.to_string(),
        help: "a profile gives `min`, `opt` and `max` of every input whose shape is open".into(),
    };
    for profile in profiles {
        let target = builder.profile().map_err(failed)?;
        for input in inputs.iter().filter(|input| needs_range(input)) {
            let range = profile.get(&input.name).ok_or_else(|| missing(input))?;
            let ends = [
                (OptProfileSelector::Min, &range.min),
                (OptProfileSelector::Opt, &range.opt),
                (OptProfileSelector::Max, &range.max),
            ];
            let name = CString::new(input.name.as_str()).unwrap_or_default();
            for (which, shape) in ends {
                let extents: Vec<i64> =
                    shape.0.iter().map(|&extent| i64::try_from(extent).unwrap_or(-1)).collect();
                if input.is_shape {
                    target.set_values(&name, which, &extents).map_err(failed)?;
                } else {
                    let dims = Dims::new(&extents).ok_or_else(|| missing(input))?;
                    target.set_shape(&name, which, &dims).map_err(failed)?;
                }
            }
        }
        config.add_profile(&target).map_err(failed)?;
    }
    Ok(())
}

/// The inputs that samples are for: those that hold shapes have their values from profiles.
pub(super) fn specs(inputs: &[NetworkTensor]) -> Vec<TensorSpec> {
    let inputs = inputs.iter().filter(|input| !input.is_shape);
    let dim = |&extent: &i64| usize::try_from(extent).map_or(Dim::Any, Dim::Fixed);
    inputs
        .filter_map(|input| {
            Some(TensorSpec {
                name: input.name.clone(),
                dtype: handle::element_type(input.dtype?)?,
                dims: Some(input.extents.iter().map(dim).collect()),
            })
        })
        .collect()
}

/// Calibrates with the shapes of the batches, whatever the profiles are fastest at.
pub(super) fn calibration_profile(
    builder: &Arc<Builder>,
    config: &Config,
    batch: &BatchSpec,
) -> Result<(), TrtError> {
    let profile = builder.profile()?;
    for input in batch.inputs() {
        let name = CString::new(input.name.as_str()).unwrap_or_default();
        let extents = input.shape.0.iter().map(|&extent| i64::try_from(extent).unwrap_or(-1));
        let dims = Dims::new(&extents.collect::<Vec<_>>()).unwrap_or_default();
        for which in [OptProfileSelector::Min, OptProfileSelector::Opt, OptProfileSelector::Max] {
            profile.set_shape(&name, which, &dims)?;
        }
    }
    config.set_calibration_profile(&profile)
}

fn needs_range(input: &NetworkTensor) -> bool {
    input.is_shape || input.extents.contains(&-1)
}

fn missing(input: &NetworkTensor) -> BackendError {
    let (what, extents) = if input.is_shape {
        ("the values of a shape", "the values")
    } else {
        ("an open shape", "the extents")
    };
    BackendError::Setting {
        setting: "profiles".to_owned(),
        reason: format!("the input `{}` has {what}, and a profile says nothing of it", input.name),
        help: format!(
            "give {extents} it must take: `{}: {{ min: .., opt: .., max: .. }}`",
            input.name
        ),
    }
}
