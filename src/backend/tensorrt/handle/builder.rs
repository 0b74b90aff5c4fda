//! [`Builder`], its [`OptimizationProfile`]s, and the [`HostMemory`] that a build gives.

use std::cell::RefCell;
use std::ffi::{CStr, c_void};
use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::cuda::{Context, Ledger};

use super::super::error::TrtError;
use super::super::generation::Generation;
use super::super::sys::{
    Abi, Dims, IBuilder, IHostMemory, IOptimizationProfile, NetworkDefinitionCreationFlag,
    OptProfileSelector,
};
use super::allocator::GpuAllocator;
use super::calibrator::Calibrator;
use super::config::Config;
use super::library::Library;
use super::network::Network;
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
        // SAFETY: the caller owns the new network.
        Ok(unsafe { Network::new(object, self) })
    }

    pub(in super::super) fn config(self: &Arc<Self>) -> Result<Config, TrtError> {
        // SAFETY: the builder is alive.
        let object = unsafe { self.object.get().create_builder_config() };
        let object = self.recorder.check("createBuilderConfig", object)?;
        // SAFETY: the caller owns the new configuration.
        Ok(unsafe { Config::new(object, self) })
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
            self.object.get().build_serialized_network(network.object(), config.object())
        };
        // SAFETY: the caller owns the memory; it needs nothing of the builder.
        let plan = plan.map(|plan| HostMemory(unsafe { Owned::new(plan) }));
        if plan.is_none() && config.has_stopped() {
            return Err(TrtError::Cancelled);
        }
        if let Some(failure) = config.calibrator().and_then(Calibrator::failure) {
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

/// The shapes that one profile allows; the builder owns it.
#[derive(Debug)]
pub(in super::super) struct OptimizationProfile {
    pub(super) object: IOptimizationProfile,
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

/// Memory that TensorRT allocated: a plan, a timing cache.
#[derive(Debug)]
pub(in super::super) struct HostMemory(pub(super) Owned<IHostMemory>);

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
