//! [`EngineBuilder`]: how an engine is loaded, and [`Batcher`]: how its requests are joined.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::artifact::Digest;
use crate::backend::{self, BackendError, EngineManifest};
use crate::deployment::{
    self, BatchingConfig, CudaGraphs, EngineConfig, MOST_INSTANCES, ModelConfig, OnDeviceFailure,
    QueueConfig, ReloadConfig, WarmupConfig,
};
use crate::runtime::{InferError, Model};

use super::engine::Engine;
use super::multi_device::MultiDevice;

/// Joins requests of many callers into batches: a request waits for others up to `max_delay`, and
/// then all of them run together. Axis 0 of every input and output of the model must be the batch.
///
/// ```no_run
/// use std::time::Duration;
/// use trt_pipeline::inference::{Batcher, Engine};
///
/// # fn main() -> Result<(), trt_pipeline::inference::InferError> {
/// let batcher = Batcher::new(32).max_delay(Duration::from_millis(2));
/// let engine = Engine::builder("build/digits/engine").batcher(batcher).load()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Batcher(BatchingConfig);

impl Batcher {
    /// Batches of at most so many samples, without waiting for others: those that come while all
    /// instances are busy run together.
    pub fn new(max_batch: usize) -> Self {
        Self(BatchingConfig {
            max_batch,
            max_delay_ms: 0.0,
            preferred_sizes: Vec::new(),
            preserve_ordering: false,
            pad: false,
        })
    }

    /// Longest time a request waits for others.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.0.max_delay_ms = delay.as_secs_f64() * 1e3;
        self
    }

    /// Batch sizes that run at once, without waiting for more.
    #[must_use]
    pub fn preferred_sizes(mut self, sizes: impl IntoIterator<Item = usize>) -> Self {
        self.0.preferred_sizes = sizes.into_iter().collect();
        self
    }

    /// Answers leave in the order in which requests came.
    #[must_use]
    pub fn preserve_ordering(mut self) -> Self {
        self.0.preserve_ordering = true;
        self
    }

    /// Requests of different shapes share a batch, the smaller ones padded with zeros.
    #[must_use]
    pub fn pad(mut self) -> Self {
        self.0.pad = true;
        self
    }
}

/// How an engine is loaded; made by [`Engine::builder`].
#[must_use = "`load` makes an engine of it"]
pub struct EngineBuilder {
    path: PathBuf,
    name: Option<String>,
    devices: MultiDevice,
    instances: usize,
    batcher: Option<Batcher>,
    queue: QueueConfig,
    warmup: usize,
    cuda_graphs: CudaGraphs,
}

impl EngineBuilder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            name: None,
            devices: MultiDevice::first(),
            instances: 1,
            batcher: None,
            queue: QueueConfig::default(),
            warmup: WarmupConfig::default().iterations,
            cuda_graphs: CudaGraphs::default(),
        }
    }

    /// Its name in errors and in the names of threads; by default that of its folder.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The GPUs to load it on: their numbers, or a [`MultiDevice`]; by default the first alone. The
    /// engine is loaded once on each.
    pub fn devices(mut self, devices: impl Into<MultiDevice>) -> Self {
        self.devices = devices.into();
        self
    }

    /// Execution contexts per device, each with a stream and staging memory of its own: so many
    /// requests run at once on a device. 1 by default, at most 1024.
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances;
        self
    }

    /// Joins requests into batches; by default each runs alone.
    pub fn batcher(mut self, batcher: Batcher) -> Self {
        self.batcher = Some(batcher);
        self
    }

    /// Most requests that wait in the queue; one more is refused. 1024 by default.
    pub fn queue_limit(mut self, requests: usize) -> Self {
        self.queue.limit = requests;
        self
    }

    /// Longest a request waits in the queue before it is refused; by default it may wait for ever.
    pub fn queue_timeout(mut self, timeout: Duration) -> Self {
        self.queue.timeout_ms = Some(timeout.as_secs_f64() * 1e3);
        self
    }

    /// Runs of every instance, with each batch size it may be asked for, while loading; 10 by
    /// default.
    pub fn warmup(mut self, iterations: usize) -> Self {
        self.warmup = iterations;
        self
    }

    /// Which runs are submitted to a GPU as one CUDA graph; backends without graphs do not look at
    /// it.
    pub fn cuda_graphs(mut self, graphs: CudaGraphs) -> Self {
        self.cuda_graphs = graphs;
        self
    }

    /// What would make no sense, or take all memory there is.
    fn check(&self) -> Result<(), BackendError> {
        let wrong = |setting: &str, reason, help: &str| {
            let (setting, help) = (setting.to_owned(), help.to_owned());
            Err(BackendError::Setting { setting, reason, help })
        };
        if !(1..=MOST_INSTANCES).contains(&self.instances) {
            let reason = format!("it is {}, expected 1 to {MOST_INSTANCES}", self.instances);
            return wrong("instances", reason, "a few are enough to keep a device busy");
        }
        if self.batcher.as_ref().is_some_and(|batcher| batcher.0.max_batch == 0) {
            let reason = "its largest batch is 0, expected 1 or more".to_owned();
            return wrong("batcher", reason, "say how many samples may run together");
        }
        Ok(())
    }

    /// Loads the engine, and warms it up.
    pub fn load(self) -> Result<Engine, InferError> {
        self.check()?;
        let folder = match self.path.parent() {
            Some(parent) if self.path.is_file() => Path::new(".").join(parent),
            _ => self.path.clone(),
        };
        let manifest = EngineManifest::read(&folder)?;
        let devices = self.devices.numbers(&manifest.backend)?;
        let name = self.name.or_else(|| Some(folder.file_name()?.to_string_lossy().into_owned()));
        let range = |range: &backend::ShapeRange| deployment::ShapeRange {
            min: range.min.clone(),
            opt: range.opt.clone(),
            max: range.max.clone(),
        };
        let profile = |profile: &backend::Profile| {
            profile.iter().map(|(name, of)| (name.clone(), range(of))).collect()
        };
        let config = ModelConfig {
            name: name.unwrap_or_else(|| "engine".to_owned()),
            engine: EngineConfig {
                // It comes from no store: what tells it from others is what it says of itself.
                digest: Digest::of(&serde_json::to_vec(&manifest).unwrap_or_default()),
                profiles: manifest.profiles.iter().map(profile).collect(),
                backend: manifest.backend,
                inputs: manifest.inputs,
                outputs: manifest.outputs,
            },
            batching: self.batcher.map(|batcher| batcher.0),
            queue: self.queue,
            warmup: WarmupConfig { iterations: self.warmup, data: None },
            reload: ReloadConfig { samples: 0, ..ReloadConfig::default() },
            instances: self.instances,
            devices,
            // Not looked at: the placement is given itself.
            placement: deployment::Placement::default(),
            on_device_failure: OnDeviceFailure::default(),
            cuda_graphs: self.cuda_graphs,
            requires: Vec::new(),
        };
        Model::load_placed(config, 1, &folder, &folder, self.devices.into_placement())
            .map(Engine::of)
    }
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder").field("path", &self.path).finish_non_exhaustive()
    }
}
