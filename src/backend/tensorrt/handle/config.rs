//! [`Config`]: how to build.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

use super::super::error::TrtError;
use super::super::generation::Generation;
use super::super::sys::{
    BuilderFlag, ComputeCapability, DeviceType, HardwareCompatibilityLevel, IBuilderConfig,
    ITimingCache, MemoryPoolType, Missing, PreviewFeature, ProfilingVerbosity, TacticSource,
    TilingOptimizationLevel,
};
use super::builder::{Builder, HostMemory, OptimizationProfile};
use super::calibrator::Calibrator;
use super::monitor::Monitor;
use super::owned::Owned;

/// How to build.
#[derive(Debug)]
pub(in super::super) struct Config {
    object: Owned<IBuilderConfig>,
    // What the configuration refers to goes after it.
    timing_cache: Option<TimingCache>,
    monitor: Option<Monitor>,
    calibrator: Option<Calibrator>,
    builder: Arc<Builder>,
}

/// A setter of [`Config`] that passes one value on and cannot fail but by being absent.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($value:ty);)+) => {
        $($(#[$doc])*
        pub(in super::super) fn $name(&self, value: $value) -> Result<(), Missing> {
            // SAFETY: the configuration is alive.
            unsafe { self.object.get().$name(value) }
        })+
    };
}

impl Config {
    /// # Safety
    /// The configuration is alive and nobody else deletes it; the builder made it.
    pub(super) unsafe fn new(object: IBuilderConfig, builder: &Arc<Builder>) -> Self {
        // SAFETY: of the caller; its builder outlives it.
        let object = unsafe { Owned::new(object) };
        let builder = Arc::clone(builder);
        Self { object, timing_cache: None, monitor: None, calibrator: None, builder }
    }

    pub(super) fn object(&self) -> IBuilderConfig {
        self.object.get()
    }

    /// Whether its monitor stopped the build.
    pub(super) fn has_stopped(&self) -> bool {
        self.monitor.as_ref().is_some_and(Monitor::has_stopped)
    }

    pub(super) fn calibrator(&self) -> Option<&Calibrator> {
        self.calibrator.as_ref()
    }

    setters! {
        set_flag(BuilderFlag);
        clear_flag(BuilderFlag);
        set_profiling_verbosity(ProfilingVerbosity);
        set_hardware_compatibility_level(HardwareCompatibilityLevel);
        set_default_device_type(DeviceType);
        set_max_nb_tactics(i32);
    }

    pub(in super::super) fn generation(&self) -> Generation {
        self.builder.abi().generation
    }

    pub(in super::super) fn set_memory_pool_limit(
        &self,
        pool: MemoryPoolType,
        bytes: u64,
    ) -> Result<(), TrtError> {
        // SAFETY: the configuration is alive.
        unsafe { self.object.get().set_memory_pool_limit(pool, bytes) }?;
        self.nothing_reported("setMemoryPoolLimit")
    }

    pub(in super::super) fn set_builder_optimization_level(
        &self,
        level: i32,
    ) -> Result<(), TrtError> {
        // SAFETY: the configuration is alive.
        unsafe { self.object.get().set_builder_optimization_level(level) };
        self.nothing_reported("setBuilderOptimizationLevel")
    }

    pub(in super::super) fn set_avg_timing_iterations(&self, count: i32) -> Result<(), TrtError> {
        // SAFETY: the configuration is alive.
        unsafe { self.object.get().set_avg_timing_iterations(count) };
        self.nothing_reported("setAvgTimingIterations")
    }

    pub(in super::super) fn set_max_aux_streams(&self, count: i32) -> Result<(), TrtError> {
        // SAFETY: the configuration is alive.
        let set = unsafe { self.object.get().set_max_aux_streams(count) };
        self.builder.recorder().hold("setMaxAuxStreams", set)
    }

    pub(in super::super) fn set_dla_core(&self, core: i32) -> Result<(), TrtError> {
        // SAFETY: the configuration is alive.
        unsafe { self.object.get().set_dla_core(core) };
        self.nothing_reported("setDLACore")
    }

    pub(in super::super) fn set_preview_feature(
        &self,
        feature: PreviewFeature,
        on: bool,
    ) -> Result<(), TrtError> {
        // SAFETY: the configuration is alive.
        unsafe { self.object.get().set_preview_feature(feature, on) }?;
        self.nothing_reported("setPreviewFeature")
    }

    pub(in super::super) fn set_tiling(
        &self,
        level: TilingOptimizationLevel,
        l2_bytes: Option<i64>,
    ) -> Result<(), TrtError> {
        // SAFETY: the configuration is alive.
        let set = unsafe { self.object.get().set_tiling_optimization_level(level) }?;
        self.builder.recorder().hold("setTilingOptimizationLevel", set)?;
        let Some(bytes) = l2_bytes else { return Ok(()) };
        // SAFETY: as above.
        let set = unsafe { self.object.get().set_l2_limit_for_tiling(bytes) }?;
        self.builder.recorder().hold("setL2LimitForTiling", set)
    }

    pub(in super::super) fn set_tactic_sources(
        &self,
        sources: &[TacticSource],
    ) -> Result<(), TrtError> {
        let generation = self.builder.abi().generation;
        let mut bits = 0;
        for source in sources {
            let missing = Missing { class: "TacticSource", method: source.name(), since: "" };
            bits |= 1 << source.value(generation).ok_or(missing)?;
        }
        // SAFETY: the configuration is alive.
        let set = unsafe { self.object.get().set_tactic_sources(bits) };
        self.builder.recorder().hold("setTacticSources", set)
    }

    pub(in super::super) fn set_compute_capabilities(
        &self,
        capabilities: &[ComputeCapability],
    ) -> Result<(), TrtError> {
        let config = self.object.get();
        let count = i32::try_from(capabilities.len()).unwrap_or(i32::MAX);
        // SAFETY: the configuration is alive.
        let set = unsafe { config.set_nb_compute_capabilities(count) }?;
        self.builder.recorder().hold("setNbComputeCapabilities", set)?;
        for (capability, at) in capabilities.iter().zip(0..) {
            // SAFETY: as above.
            let set = unsafe { config.set_compute_capability(*capability, at) }?;
            self.builder.recorder().hold("setComputeCapability", set)?;
        }
        Ok(())
    }

    /// Files of plugins to put into the plan.
    pub(in super::super) fn set_plugins_to_serialize(
        &self,
        files: &[CString],
    ) -> Result<(), TrtError> {
        let files: Vec<*const c_char> = files.iter().map(|file| file.as_ptr()).collect();
        let count = i32::try_from(files.len()).unwrap_or(i32::MAX);
        let list: *mut c_void = files.as_ptr().cast_mut().cast();
        // SAFETY: the configuration is alive and copies the `count` texts.
        unsafe { self.object.get().set_plugins_to_serialize(list, count) };
        self.nothing_reported("setPluginsToSerialize")
    }

    pub(in super::super) fn add_profile(
        &self,
        profile: &OptimizationProfile,
    ) -> Result<(), TrtError> {
        // SAFETY: both are alive; the builder owns the profile and outlives the configuration.
        let index = unsafe { self.object.get().add_optimization_profile(Some(profile.object)) };
        self.builder.recorder().hold("addOptimizationProfile", index >= 0)
    }

    /// Tells the monitor how building goes.
    pub(in super::super) fn set_monitor(&mut self, monitor: Monitor) -> Result<(), TrtError> {
        // SAFETY: the monitor is kept until the configuration is gone.
        unsafe { self.object.get().set_progress_monitor(monitor.as_ptr()) }?;
        self.monitor = Some(monitor);
        Ok(())
    }

    /// Takes INT8 ranges from the calibrator (libraries that calibrate).
    pub(in super::super) fn set_int8_calibrator(
        &mut self,
        calibrator: Calibrator,
    ) -> Result<(), TrtError> {
        // SAFETY: the calibrator is kept until the configuration is gone.
        unsafe { self.object.get().set_int8_calibrator(calibrator.as_ptr()) }?;
        self.calibrator = Some(calibrator);
        Ok(())
    }

    /// Calibrates with the shapes of this profile's `opt`, instead of those of the first.
    pub(in super::super) fn set_calibration_profile(
        &self,
        profile: &OptimizationProfile,
    ) -> Result<(), TrtError> {
        // SAFETY: both are alive; the builder owns the profile and outlives the configuration.
        let set = unsafe { self.object.get().set_calibration_profile(Some(profile.object)) }?;
        self.builder.recorder().hold("setCalibrationProfile", set)
    }

    /// Starts from the timings in `bytes`, which may be empty. Gives whether they are of use here:
    /// timings of another library or GPU are refused and building starts without.
    pub(in super::super) fn set_timing_cache(&mut self, bytes: &[u8]) -> Result<bool, TrtError> {
        let attempt = |bytes: &[u8]| {
            let cache = self.create_timing_cache(bytes)?;
            // SAFETY: both are alive; the cache is kept until the configuration is gone.
            unsafe { self.object.get().set_timing_cache(cache.0.get(), false) }.then_some(cache)
        };
        let used = attempt(bytes);
        let of_use = used.is_some();
        self.builder.recorder().take();
        let cache = used.or_else(|| attempt(&[]));
        self.timing_cache = Some(self.builder.recorder().check("createTimingCache", cache)?);
        Ok(of_use)
    }

    /// Adds other timings of this library and GPU, such as those of a build that ended meanwhile.
    /// Of a kernel that both have timed, the own timing stays. Timings of no use are left out.
    pub(in super::super) fn combine_timing_cache(&self, bytes: &[u8]) {
        if let (Some(own), Some(other)) = (&self.timing_cache, self.create_timing_cache(bytes)) {
            // SAFETY: both are alive.
            let combined = unsafe { own.0.get().combine(other.0.get(), false) };
            tracing::debug!(combined, "timings of other builds");
        }
        self.builder.recorder().take();
    }

    fn create_timing_cache(&self, bytes: &[u8]) -> Option<TimingCache> {
        let (data, size) = (bytes.as_ptr().cast_mut().cast(), bytes.len() as u64);
        // SAFETY: the configuration is alive and copies the bytes.
        let cache = unsafe { self.object.get().create_timing_cache(data, size) }?;
        // SAFETY: the caller owns the cache; it needs nothing of the configuration.
        Some(TimingCache(unsafe { Owned::new(cache) }))
    }

    /// The timings to keep for the next build.
    pub(in super::super) fn timing_cache(&self) -> Option<HostMemory> {
        let cache = self.timing_cache.as_ref()?;
        // SAFETY: the cache is alive.
        let memory = unsafe { cache.0.get().serialize() }?;
        // SAFETY: the caller owns the memory.
        Some(HostMemory(unsafe { Owned::new(memory) }))
    }

    /// Methods that return nothing tell of a refusal through the recorder alone.
    fn nothing_reported(&self, call: &'static str) -> Result<(), TrtError> {
        match self.builder.recorder().take() {
            reported if reported.is_empty() => Ok(()),
            reported => Err(TrtError::Failed { call, reported }),
        }
    }
}

/// Timings of kernels, to build faster the next time.
#[derive(Debug)]
struct TimingCache(Owned<ITimingCache>);
