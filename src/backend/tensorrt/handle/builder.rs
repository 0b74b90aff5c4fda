//! [`Builder`] and what it makes: [`Network`], [`Config`], [`OptimizationProfile`], [`HostMemory`].

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::cuda::{Context, Ledger};

use super::super::error::TrtError;
use super::super::generation::Generation;
use super::super::sys::{
    Abi, BuilderFlag, ComputeCapability, DataType, DeviceType, Dims, HardwareCompatibilityLevel,
    IBuilder, IBuilderConfig, IHostMemory, ILayer, INetworkDefinition, IOptimizationProfile,
    ITensor, ITimingCache, LayerType, MemoryPoolType, Missing, NetworkDefinitionCreationFlag,
    OptProfileSelector, PreviewFeature, ProfilingVerbosity, TacticSource, TilingOptimizationLevel,
};
use super::allocator::GpuAllocator;
use super::calibrator::Calibrator;
use super::callback::text;
use super::library::Library;
use super::monitor::Monitor;
use super::owned::Owned;
use super::plugins::Plugins;
use super::recorder::Recorder;

/// Makes networks and builds engines of them.
///
/// Not `Sync`: TensorRT's builder is for one thread at a time.
#[derive(Debug)]
pub(in super::super) struct Builder {
    // They leave the builder's registry before it goes.
    plugins: RefCell<Vec<Plugins>>,
    object: Owned<IBuilder>,
    recorder: Recorder,
    allocator: Option<GpuAllocator>,
    library: &'static Library,
}

impl Builder {
    /// A builder for the GPU whose context is current, where there is one; the ledger then counts
    /// the device memory that it takes.
    pub(in super::super) fn new(
        library: &'static Library,
        gpu: Option<(&Context, &Arc<Ledger>)>,
    ) -> Result<Arc<Self>, TrtError> {
        const CREATE: &str = "createInferBuilder_INTERNAL";
        let abi = library.abi();
        let recorder = Recorder::new(abi)?;
        let allocator =
            gpu.map(|(context, ledger)| GpuAllocator::new(abi, context, ledger)).transpose()?;
        let raw = library.create(CREATE)?;
        // SAFETY: the function gives null or a builder that the caller owns.
        let object = unsafe { IBuilder::from_raw(raw, abi) };
        let object = recorder.check(CREATE, object)?;
        // SAFETY: as above; the library is never unloaded.
        let object = unsafe { Owned::new(object) };
        // SAFETY: the recorder outlives the builder: it is dropped after it.
        unsafe { object.get().set_error_recorder(recorder.as_ptr()) };
        if let Some(allocator) = &allocator {
            // SAFETY: as the recorder.
            unsafe { object.get().set_gpu_allocator(allocator.as_ptr()) };
        }
        #[expect(clippy::arc_with_non_send_sync, reason = "shared by its children, on one thread")]
        Ok(Arc::new(Self { plugins: RefCell::default(), object, recorder, allocator, library }))
    }

    pub(in super::super) fn abi(&self) -> Abi {
        self.library.abi()
    }

    pub(super) fn library(&self) -> &'static Library {
        self.library
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Loads libraries of plug-ins, in this order, for the networks that are made afterwards.
    pub(in super::super) fn load_plugins(&self, files: &[PathBuf]) -> Result<(), TrtError> {
        let registry = if self.abi().generation == Generation::V8_6 {
            // The only one that this generation's parser looks into.
            self.library.plugin_registry()?
        } else {
            // SAFETY: the builder is alive.
            unsafe { self.object.get().get_plugin_registry() }
        };
        // SAFETY: the registry is the builder's or the process's; the plug-ins are dropped before
        // the builder, and after all that is made with it, which holds the builder.
        let plugins = unsafe { Plugins::load(registry, files, &self.recorder) }?;
        self.plugins.borrow_mut().push(plugins);
        Ok(())
    }

    /// Whether networks of this library can take their types from the graph alone.
    pub(in super::super) fn can_type_strongly(&self) -> bool {
        NetworkDefinitionCreationFlag::StronglyTyped.value(self.abi().generation).is_some()
    }

    /// An empty network; strongly typed where its types are to be those of the graph.
    pub(in super::super) fn network(
        self: &Arc<Self>,
        strongly_typed: bool,
    ) -> Result<Network, TrtError> {
        use NetworkDefinitionCreationFlag::{ExplicitBatch, StronglyTyped};
        let generation = self.abi().generation;
        let mut flags = 0;
        // Asked for in 8.6, always so in later libraries.
        if generation == Generation::V8_6 {
            flags |= bit(ExplicitBatch.value(generation));
        }
        if strongly_typed {
            flags |= bit(StronglyTyped.value(generation));
        }
        // SAFETY: the builder is alive.
        let object = unsafe { self.object.get().create_network_v2(flags) };
        let object = self.recorder.check("createNetworkV2", object)?;
        // SAFETY: the caller owns the new network; its builder outlives it.
        let object = unsafe { Owned::new(object) };
        Ok(Network { object, builder: Arc::clone(self) })
    }

    pub(in super::super) fn config(self: &Arc<Self>) -> Result<Config, TrtError> {
        // SAFETY: the builder is alive.
        let object = unsafe { self.object.get().create_builder_config() };
        let object = self.recorder.check("createBuilderConfig", object)?;
        // SAFETY: the caller owns the new configuration; its builder outlives it.
        let object = unsafe { Owned::new(object) };
        Ok(Config {
            object,
            timing_cache: None,
            monitor: None,
            calibrator: None,
            builder: Arc::clone(self),
        })
    }

    /// A new optimization profile, which the builder owns.
    pub(in super::super) fn profile(self: &Arc<Self>) -> Result<OptimizationProfile, TrtError> {
        // SAFETY: the builder is alive.
        let object = unsafe { self.object.get().create_optimization_profile() };
        let object = self.recorder.check("createOptimizationProfile", object)?;
        Ok(OptimizationProfile { object, builder: Arc::clone(self) })
    }

    /// Builds an engine. The error holds all that TensorRT reported meanwhile.
    pub(in super::super) fn build(
        &self,
        network: &Network,
        config: &Config,
    ) -> Result<HostMemory, TrtError> {
        self.recorder.take();
        // SAFETY: all three are alive, and what the configuration refers to lives with it.
        let plan = unsafe {
            self.object.get().build_serialized_network(network.object.get(), config.object.get())
        };
        // SAFETY: the caller owns the memory; it needs nothing of the builder.
        let plan = plan.map(|plan| HostMemory(unsafe { Owned::new(plan) }));
        if plan.is_none() && config.monitor.as_ref().is_some_and(Monitor::has_stopped) {
            return Err(TrtError::Cancelled);
        }
        if let Some(failure) = config.calibrator.as_ref().and_then(Calibrator::failure) {
            // Also where there is a plan: it is made of a part of the samples.
            return Err(TrtError::Calibration(failure));
        }
        let refused = self.allocator.as_ref().and_then(GpuAllocator::take_failure);
        if let (None, Some(refused)) = (&plan, refused) {
            return Err(refused.into());
        }
        self.recorder.check("buildSerializedNetwork", plan)
    }
}

fn bit(value: Option<i32>) -> u32 {
    value.map_or(0, |value| 1 << value)
}

/// A network being defined; the ONNX parser fills it.
#[derive(Debug)]
pub(in super::super) struct Network {
    object: Owned<INetworkDefinition>,
    builder: Arc<Builder>,
}

/// An input or output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct NetworkTensor {
    pub(in super::super) name: String,
    pub(in super::super) dtype: Option<DataType>,
    /// -1 where open.
    pub(in super::super) extents: Vec<i64>,
    /// Whether its values are shapes, which profiles must give ranges of.
    pub(in super::super) is_shape: bool,
}

impl Network {
    pub(super) fn object(&self) -> INetworkDefinition {
        self.object.get()
    }

    pub(super) fn builder(&self) -> &Arc<Builder> {
        &self.builder
    }

    pub(in super::super) fn inputs(&self) -> Vec<NetworkTensor> {
        let network = self.object.get();
        // SAFETY: the network is alive.
        let count = unsafe { network.get_nb_inputs() };
        // SAFETY: as above; the numbers are those of its inputs.
        (0..count).filter_map(|at| unsafe { network.get_input(at) }).map(describe).collect()
    }

    /// Every layer, in the order in which it was added.
    pub(in super::super) fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        let network = self.object.get();
        // SAFETY: the network is alive.
        let count = unsafe { network.get_nb_layers() };
        // SAFETY: as above; the numbers are those of its layers.
        (0..count)
            .filter_map(move |at| unsafe { network.get_layer(at) })
            .map(|object| Layer { object, network: self })
    }
}

fn describe(tensor: ITensor) -> NetworkTensor {
    // SAFETY: tensors live as long as their network, which the caller borrows.
    let name = unsafe { tensor.get_name() };
    // SAFETY: as above; the text is a C string.
    let name = unsafe { text(name) };
    // SAFETY: as above.
    let dims = unsafe { tensor.get_dimensions() };
    NetworkTensor {
        name,
        // SAFETY: as above.
        dtype: unsafe { tensor.get_type() },
        extents: dims.extents().unwrap_or(&[]).to_vec(),
        // SAFETY: as above.
        is_shape: unsafe { tensor.is_shape_tensor() },
    }
}

/// A layer of a network.
#[derive(Debug)]
pub(in super::super) struct Layer<'a> {
    object: ILayer,
    network: &'a Network,
}

impl Layer<'_> {
    pub(in super::super) fn name(&self) -> String {
        // SAFETY: layers live as long as their network, which is borrowed.
        let name = unsafe { self.object.get_name() };
        // SAFETY: as above; the text is a C string.
        unsafe { text(name) }
    }

    pub(in super::super) fn kind(&self) -> Option<LayerType> {
        // SAFETY: as above.
        unsafe { self.object.get_type() }
    }

    /// The types of its outputs as they follow from its inputs.
    pub(in super::super) fn output_types(&self) -> Vec<Option<DataType>> {
        // SAFETY: as above.
        let count = unsafe { self.object.get_nb_outputs() };
        // SAFETY: as above; the numbers are those of its outputs.
        let outputs = (0..count).map(|at| unsafe { self.object.get_output(at) });
        // SAFETY: tensors live as long as their network.
        outputs.map(|tensor| tensor.and_then(|tensor| unsafe { tensor.get_type() })).collect()
    }

    /// Whether an output is one of the network's, whose type is not the layer's to choose.
    pub(in super::super) fn gives_network_output(&self, output: usize) -> bool {
        let output = i32::try_from(output).unwrap_or(i32::MAX);
        // SAFETY: as above.
        let tensor = unsafe { self.object.get_output(output) };
        // SAFETY: tensors live as long as their network.
        tensor.is_some_and(|tensor| unsafe { tensor.is_network_output() })
    }

    /// Asks for a type to compute in (libraries that type weakly).
    pub(in super::super) fn set_precision(&self, dtype: DataType) -> Result<(), TrtError> {
        // SAFETY: as above; the network is not being built: that would borrow it too, on the
        // thread that this runs on.
        Ok(unsafe { self.object.set_precision(dtype) }?)
    }

    /// Asks for a type of an output (libraries that type weakly).
    pub(in super::super) fn set_output_type(
        &self,
        output: usize,
        dtype: DataType,
    ) -> Result<(), TrtError> {
        let output = i32::try_from(output).unwrap_or(i32::MAX);
        // SAFETY: as above.
        unsafe { self.object.set_output_type(output, dtype) }?;
        let recorder = self.network.builder.recorder();
        match recorder.take() {
            reported if reported.is_empty() => Ok(()),
            reported => Err(TrtError::Failed { call: "setOutputType", reported }),
        }
    }
}

/// The shapes that one profile allows; the builder owns it.
#[derive(Debug)]
pub(in super::super) struct OptimizationProfile {
    object: IOptimizationProfile,
    builder: Arc<Builder>,
}

impl OptimizationProfile {
    /// Sets one end, or the middle, of the range of an input's shapes.
    pub(in super::super) fn set_shape(
        &self,
        input: &CStr,
        which: OptProfileSelector,
        dims: &Dims,
    ) -> Result<(), TrtError> {
        if let Some(extent) = dims.too_wide(self.builder.abi()) {
            return Err(TrtError::TooWide(extent));
        }
        // SAFETY: the builder owns the profile and is alive.
        let set = unsafe { self.object.set_dimensions(input, which, dims) }?;
        self.builder.recorder.hold("IOptimizationProfile::setDimensions", set)
    }

    /// Sets one end, or the middle, of the range of the values of an input that holds shapes.
    pub(in super::super) fn set_values(
        &self,
        input: &CStr,
        which: OptProfileSelector,
        values: &[i64],
    ) -> Result<(), TrtError> {
        let count = i32::try_from(values.len()).unwrap_or(i32::MAX);
        let wide: *mut c_void = values.as_ptr().cast_mut().cast();
        // SAFETY: the builder owns the profile and is alive; there are `count` values.
        let set = unsafe { self.object.set_shape_values_v2(input, which, wide, count) };
        let set = if let Ok(set) = set {
            set
        } else {
            let narrow = values
                .iter()
                .map(|&value| i32::try_from(value).map_err(|_| TrtError::TooWide(value)));
            let narrow = narrow.collect::<Result<Vec<i32>, _>>()?;
            let narrow: *mut c_void = narrow.as_ptr().cast_mut().cast();
            // SAFETY: as above.
            unsafe { self.object.set_shape_values(input, which, narrow, count) }?
        };
        self.builder.recorder.hold("IOptimizationProfile::setShapeValues", set)
    }
}

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
        self.builder.recorder.hold("setMaxAuxStreams", set)
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
        self.builder.recorder.hold("setTilingOptimizationLevel", set)?;
        let Some(bytes) = l2_bytes else { return Ok(()) };
        // SAFETY: as above.
        let set = unsafe { self.object.get().set_l2_limit_for_tiling(bytes) }?;
        self.builder.recorder.hold("setL2LimitForTiling", set)
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
        self.builder.recorder.hold("setTacticSources", set)
    }

    pub(in super::super) fn set_compute_capabilities(
        &self,
        capabilities: &[ComputeCapability],
    ) -> Result<(), TrtError> {
        let config = self.object.get();
        let count = i32::try_from(capabilities.len()).unwrap_or(i32::MAX);
        // SAFETY: the configuration is alive.
        let set = unsafe { config.set_nb_compute_capabilities(count) }?;
        self.builder.recorder.hold("setNbComputeCapabilities", set)?;
        for (capability, at) in capabilities.iter().zip(0..) {
            // SAFETY: as above.
            let set = unsafe { config.set_compute_capability(*capability, at) }?;
            self.builder.recorder.hold("setComputeCapability", set)?;
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
        self.builder.recorder.hold("addOptimizationProfile", index >= 0)
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
        self.builder.recorder.hold("setCalibrationProfile", set)
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
        self.builder.recorder.take();
        let cache = used.or_else(|| attempt(&[]));
        self.timing_cache = Some(self.builder.recorder.check("createTimingCache", cache)?);
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
        self.builder.recorder.take();
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
        match self.builder.recorder.take() {
            reported if reported.is_empty() => Ok(()),
            reported => Err(TrtError::Failed { call, reported }),
        }
    }
}

/// Timings of kernels, to build faster the next time.
#[derive(Debug)]
struct TimingCache(Owned<ITimingCache>);

/// Memory that TensorRT allocated: a plan, a timing cache.
#[derive(Debug)]
pub(in super::super) struct HostMemory(Owned<IHostMemory>);

impl HostMemory {
    pub(in super::super) fn bytes(&self) -> &[u8] {
        // SAFETY: the memory is alive.
        let data = unsafe { self.0.get().data() };
        // SAFETY: as above.
        let size = unsafe { self.0.get().size() };
        let size = usize::try_from(size).unwrap_or(0);
        if data.is_null() || size == 0 {
            return &[];
        }
        // SAFETY: it has that many bytes, which nobody changes, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(data.cast(), size) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::backend::cuda::standin::with_driver;
    use crate::backend::tensorrt::Flavor;
    use crate::backend::tensorrt::handle::standin::{MODEL, StandIn};

    use super::*;

    /// The timings that come of a build which starts from others.
    fn timings(standin: &StandIn, model: &str, known: &[u8]) -> (bool, Vec<u8>) {
        let (builder, parsed, mut config) = standin.ready(Path::new(model), &[]);
        let of_use = config.set_timing_cache(known).unwrap();
        builder.build(parsed.network(), &config).unwrap();
        (of_use, config.timing_cache().unwrap().bytes().to_vec())
    }

    #[test]
    fn builds_that_overlap_keep_the_timings_of_both() {
        with_driver(&[], || {
            let _gpu = Context::new(0).unwrap();
            let standin = StandIn::new(Flavor::Standard, "8.6.0.12");
            let other = "tests/fixtures/tensorrt/two_inputs_dynamic.onnx";
            let (_, theirs) = timings(&standin, other, &[]);
            let (_, ours) = timings(&standin, MODEL, &[]);
            assert_ne!(theirs, ours);

            let (_builder, _parsed, mut config) = standin.ready(Path::new(MODEL), &[]);
            assert!(config.set_timing_cache(&ours).unwrap());
            config.combine_timing_cache(&theirs);
            config.combine_timing_cache(b"what a damaged file may hold");
            let both = config.timing_cache().unwrap().bytes().to_vec();
            // Neither build finds a kernel to time.
            assert_eq!(timings(&standin, MODEL, &both), (true, both.clone()));
            assert_eq!(timings(&standin, other, &both), (true, both));
        });
    }

    #[test]
    fn timings_that_are_of_no_use_are_left_and_new_ones_made() {
        with_driver(&[], || {
            let _gpu = Context::new(0).unwrap();
            let standin = StandIn::new(Flavor::Standard, "10.13.0.1");
            let (of_use, fresh) = timings(&standin, MODEL, &[]);
            assert!(of_use);
            assert_eq!(timings(&standin, MODEL, b"damaged"), (false, fresh));
        });
    }
}
