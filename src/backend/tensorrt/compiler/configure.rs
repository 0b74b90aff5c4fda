//! From [`Options`] to TensorRT's builder configuration.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use super::super::error::TrtError;
use super::super::facts::Flavor;
use super::super::generation::Generation;
use super::super::handle::Config;
use super::super::options::{
    ByteSize, Files, HardwareCompatibility, Options, Precision, ProfilingVerbosity, Refit,
    Settings, TacticSource, Tiling,
};
use super::super::sys::{
    self, BuilderFlag, ComputeCapability, DeviceType, MemoryPoolType, PreviewFeature,
};

/// Sets all that the options ask for. Availability was checked before: what a library lacks is an
/// error here all the same, in the library's own words.
pub(super) fn configure(
    config: &Config,
    generation: Generation,
    options: &Options,
    files: &Files,
) -> Result<(), TrtError> {
    let settings = &options.settings;
    memory(config, settings)?;
    flags(config, options)?;
    compatibility(config, options)?;
    search(config, settings)?;
    accelerator(config, settings)?;
    previews(config, generation, settings)?;
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
    let named = |name: &str| ComputeCapability::ALL.iter().copied().find(|c| c.name() == name);
    let wanted = options.compute_capabilities.iter();
    let mut wanted: Vec<_> =
        wanted.filter_map(|wanted| named(&format!("kSM{}", wanted.number()))).collect();
    if wanted.is_empty() {
        if config.generation().flavor() == Flavor::Standard {
            return Ok(());
        }
        // Else TensorRT-RTX builds for every GPU from Ampere on.
        wanted.push(ComputeCapability::Current);
    }
    config.set_compute_capabilities(&wanted)
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

fn previews(config: &Config, generation: Generation, settings: &Settings) -> Result<(), TrtError> {
    let features = &settings.preview_features;
    // What later libraries always do: without it an engine runs in one context per profile.
    let shares = (generation == Generation::V8_6).then_some(true);
    let asked = [
        (features.aliased_plugin_io, PreviewFeature::AliasedPluginIo1003),
        (features.runtime_activation_resize, PreviewFeature::RuntimeActivationResize1010),
        (features.profile_sharing.or(shares), PreviewFeature::ProfileSharing0806),
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
