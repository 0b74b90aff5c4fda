//! [`Model`]: one loaded version of a model: its engines, its queue and the threads that run it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use crate::backend::{
    self, Backend, BackendError, EngineManifest, EngineMemory, LoadOptions, Profile,
};
use crate::deployment::{ModelConfig, WarmupConfig};
use crate::tensor::TensorSpec;

use super::batch_former::Rules;
use super::batcher::{Batcher, Submission};
use super::check::Interface;
use super::context_pool::{ContextPool, OnLoss};
use super::device::{Gauge, Loaded, Usage};
use super::pending::Pending;
use super::warm_up::WarmUp;
use super::{
    DeviceLoss, DeviceStatus, InferError, InferRequest, InferResponse, PhaseTimes, Placement,
    Samples, Session, Statistics, placement,
};

#[cfg(test)]
mod tests;

/// One loaded version of a model.
///
/// Dropping it lets its threads end once every request that was taken is answered; it waits for
/// nothing, so the last owner may be a task of an async runtime.
pub struct Model {
    config: ModelConfig,
    version: u32,
    /// Longest a request waits that names no deadline.
    timeout: Option<Duration>,
    batcher: Arc<Batcher>,
    samples: Samples,
    /// Who hears of devices that it loses.
    hearer: Arc<Mutex<Hearer>>,
    warming_up: Mutex<()>,
    /// Devices that were lost before it was loaded.
    absent: Vec<DeviceStatus>,
}

/// Where the losses of devices are told.
enum Hearer {
    /// Nobody listens yet: those until now.
    None(Vec<DeviceLoss>),
    Some(broadcast::Sender<DeviceLoss>),
}

impl Hearer {
    fn tell(&mut self, loss: DeviceLoss) {
        match self {
            Self::None(losses) => losses.push(loss),
            // Whoever listened may have left.
            Self::Some(to) => drop(to.send(loss)),
        }
    }
}

impl Model {
    /// Loads an engine from its folder onto the devices of the configuration, warms every instance
    /// up and starts them. `deployment` is the folder of the deployment, with its warm-up data.
    pub fn load(
        config: ModelConfig,
        version: u32,
        engine: &Path,
        deployment: &Path,
    ) -> Result<Self, InferError> {
        let placement = placement::of(config.placement);
        Self::load_placed(config, version, engine, deployment, placement)
    }

    /// As [`Model::load`], with a placement of the caller's own in place of the configuration's.
    pub fn load_placed(
        config: ModelConfig,
        version: u32,
        engine: &Path,
        deployment: &Path,
        placement: Box<dyn Placement>,
    ) -> Result<Self, InferError> {
        let manifest = EngineManifest::read(engine)?;
        let backend = backend::by_name(&manifest.backend)?;
        let devices = match &config.devices {
            Some(devices) => devices.iter().map(|device| Some(*device as usize)).collect(),
            None => backend.devices()?,
        };
        let options = devices
            .iter()
            .map(|&device| LoadOptions { device, cuda_graphs: config.cuda_graphs.clone() });
        let engines = backend.load_each(engine, &manifest, &options.collect::<Vec<_>>())?;
        let (mut loaded, mut lost, mut absent) = (Vec::new(), None, Vec::new());
        for (device, engine) in devices.into_iter().zip(engines) {
            match engine {
                Err(error @ BackendError::DeviceLost { .. }) if config.devices.is_none() => {
                    tracing::warn!("model `{}` is loaded without it: {error}", config.name);
                    absent.push(DeviceStatus::absent(device, &error));
                    lost = Some(error);
                }
                engine => loaded.push(Loaded { device, engine: engine? }),
            }
        }
        if let Some(error) = lost.filter(|_| loaded.is_empty()) {
            return Err(error.into());
        }
        let mut model = Self::of(config, version, loaded, (placement, gauge(backend)), deployment)?;
        model.absent = absent;
        Ok(model)
    }

    /// A model with an engine that is loaded already.
    #[cfg(test)]
    pub(crate) fn start(
        config: ModelConfig,
        version: u32,
        engine: Arc<dyn backend::Engine>,
        deployment: &Path,
    ) -> Result<Self, InferError> {
        Self::start_on(config, version, vec![Loaded { device: None, engine }], deployment)
    }

    /// A model with engines that are loaded already.
    #[cfg(test)]
    pub(crate) fn start_on(
        config: ModelConfig,
        version: u32,
        loaded: Vec<Loaded>,
        deployment: &Path,
    ) -> Result<Self, InferError> {
        let placement = placement::of(config.placement);
        let gauge = Box::new(|_| Usage::default());
        Self::of(config, version, loaded, (placement, gauge), deployment)
    }

    fn of(
        config: ModelConfig,
        version: u32,
        loaded: Vec<Loaded>,
        (placement, gauge): (Box<dyn Placement>, Gauge),
        deployment: &Path,
    ) -> Result<Self, InferError> {
        let rules = rules(&config);
        let Some(Loaded { engine, .. }) = loaded.first() else {
            let reason = "the deployment names no device for it".to_owned();
            return Err(InferError::NotReady { model: config.name, reason });
        };
        let pad = config.batching.as_ref().is_some_and(|batching| batching.pad);
        let interface =
            Interface::new(engine.inputs(), engine.outputs(), engine.profiles(), &rules, pad);
        let workers = config.instances.max(1) * loaded.len();
        let hearer = Arc::new(Mutex::new(Hearer::None(Vec::new())));
        let on_loss = on_loss(&config, version, &hearer);
        let pool = ContextPool::new(loaded, config.instances.max(1), placement, gauge, on_loss)?;
        let warm_up = WarmUp {
            interface: &interface,
            rules: &rules,
            config: &config.warmup,
            folder: deployment,
        };
        warm_up.run(&pool)?;
        // Those that a deployment names must all be there.
        if let Some(loss) = pool.loss().filter(|_| config.devices.is_some()) {
            return Err(loss.into());
        }
        let statistics = Statistics::new(rules.max_batch.unwrap_or(1));
        let batcher = Batcher::new(config.name.clone(), interface, statistics, pool, rules);
        let timeout = config.queue.timeout_ms.map(milliseconds);
        // From here on, dropping the model lets threads end that have started.
        let samples = Samples::new(&config.reload);
        let batcher = Arc::new(batcher);
        let warming_up = Mutex::default();
        let absent = Vec::new();
        let model = Self { config, version, timeout, batcher, samples, hearer, warming_up, absent };
        for number in 0..workers {
            model.start_worker(number)?;
        }
        Ok(model)
    }

    fn start_worker(&self, number: usize) -> Result<(), InferError> {
        let worker = self.batcher.worker();
        // The system takes no NUL in the name of a thread.
        let model = self.config.name.replace('\0', "");
        let name = format!("{model}-{}.{number}", self.version);
        let started = std::thread::Builder::new().name(name).spawn(move || worker.work());
        started.map(drop).map_err(|error| {
            let reason =
                format!("starting thread {number} of model `{}`: {error}", self.config.name);
            InferError::Backend(BackendError::Run { reason })
        })
    }

    /// What the deployment says of it.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its version, counted from 1.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Inputs in the model's order.
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.batcher.interface.inputs
    }

    /// Outputs in the model's order.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.batcher.interface.outputs
    }

    /// The optimization profiles of its engine; empty where any shape the model allows will do.
    pub fn profiles(&self) -> &[Profile] {
        &self.batcher.interface.profiles
    }

    /// Lends an execution context, to be run by the caller without a queue; waits where none is
    /// free. What was lent before [`Model::close`] is let finish, as requests are.
    pub fn session(&self) -> Result<Session<'_>, InferError> {
        let asked = Instant::now();
        Session::of(&self.batcher).inspect_err(|error| {
            self.batcher.statistics.failed(error.kind(), asked.elapsed());
        })
    }

    /// Runs one request on this thread, without a queue: `set` sets the inputs and `read` reads the
    /// outputs, adding up the bytes that it copies. Where the device is lost, both come again, on
    /// another one.
    pub(crate) fn run_here<R>(
        &self,
        mut set: impl FnMut(&mut Session<'_>) -> Result<(), InferError>,
        mut read: impl FnMut(&Session<'_>, &mut u64) -> Result<R, InferError>,
    ) -> Result<(R, PhaseTimes), InferError> {
        let asked = Instant::now();
        let mut attempt = || {
            let mut session = Session::of(&self.batcher)?;
            set(&mut session)?;
            session.run_then(&mut read)
        };
        let outcome = match attempt() {
            Err(InferError::Backend(BackendError::DeviceLost { .. })) => attempt(),
            outcome => outcome,
        };
        outcome.inspect_err(|error| {
            self.batcher.statistics.failed(error.kind(), asked.elapsed());
        })
    }

    /// Runs every instance so many times with each batch size it may be asked for; waits until all
    /// of them are free.
    pub fn warm_up(&self, iterations: usize) -> Result<(), InferError> {
        // Two at once would each hold contexts that the other one waits for.
        let _alone = self.warming_up.lock().unwrap_or_else(PoisonError::into_inner);
        let _at_work = self.batcher.worker_if_open().ok_or_else(|| self.batcher.closed())?;
        let warm_up = WarmUp {
            interface: &self.batcher.interface,
            rules: &rules(&self.config),
            config: &WarmupConfig { iterations, data: None },
            folder: Path::new(""),
        };
        warm_up.run(&self.batcher.pool)
    }

    /// What happened to its requests.
    pub fn statistics(&self) -> &Statistics {
        &self.batcher.statistics
    }

    /// Requests that wait.
    pub fn queue_depth(&self) -> usize {
        self.batcher.queue.depth()
    }

    /// Recent requests, to run them on the next version.
    pub(crate) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// What its engines and contexts hold on all devices, where the backend counts it.
    pub fn memory(&self) -> Option<EngineMemory> {
        self.batcher.pool.memory()
    }

    /// Its devices, those that are lost too.
    pub fn devices(&self) -> Vec<DeviceStatus> {
        let mut devices = self.batcher.pool.devices();
        devices.extend_from_slice(&self.absent);
        devices
    }

    /// Why it cannot answer requests any more: every device that it ran on is lost.
    pub fn end(&self) -> Option<String> {
        self.batcher.end()
    }

    /// What is wrong with it though it answers requests: devices that it lost.
    pub fn degradation(&self) -> Option<String> {
        let lost = |status: DeviceStatus| {
            Some(format!("device {} is lost: {}", status.device.unwrap_or(0), status.lost?))
        };
        let lost: Vec<String> = self.devices().into_iter().filter_map(lost).collect();
        (!lost.is_empty()).then(|| format!("degraded: {}", lost.join("; ")))
    }

    /// Tells of the devices that it lost while it was loaded, and of those that it loses.
    pub(super) fn tell_losses(&self, to: &broadcast::Sender<DeviceLoss>) {
        let mut hearer = self.hearer.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *hearer, Hearer::Some(to.clone()));
        if let Hearer::None(losses) = before {
            for loss in losses {
                hearer.tell(loss);
            }
        }
    }

    /// Takes a request into the queue, or refuses it at once. It runs whether anybody waits for
    /// the answer already or not.
    pub fn submit(&self, request: InferRequest) -> Result<Pending, InferError> {
        self.take(request, false)
    }

    /// Takes a request; who `helps` waits for the answer from now on.
    fn take(&self, request: InferRequest, helps: bool) -> Result<Pending, InferError> {
        let arrived = Instant::now();
        let queue = &self.config.queue;
        let levels = 1..=queue.priority_levels.max(1);
        let asked = request.priority.filter(|priority| levels.contains(priority));
        let level = asked.unwrap_or(queue.default_priority).saturating_sub(1) as usize;
        let timeout = || self.timeout.map(|timeout| arrived + timeout);
        let deadline = request.deadline.or_else(timeout);
        let submitted = self.batcher.interface.check(&request).and_then(|fit| {
            self.samples.offer(&request, arrived);
            let submission = Submission { request, fit, level, arrived, deadline };
            self.batcher.submit(submission, helps)
        });
        submitted.inspect_err(|error| {
            self.batcher.statistics.failed(error.kind(), arrived.elapsed());
        })
    }

    /// Takes a request and waits for its answer. Dropping the future cancels the request. Batches
    /// that are over sooner than a thread is woken run in the task that waits.
    pub async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        self.take(request, true)?.await
    }

    /// Takes no more requests. Those that were taken are answered.
    pub fn close(&self) {
        self.batcher.queue.close();
    }

    /// Takes no more requests and waits, on this thread, until those that were taken are answered
    /// and the engines are unloaded; `false` where that takes longer than `patience`.
    pub fn drain(&self, patience: Duration) -> bool {
        self.close();
        self.batcher.queue.wait_until_left(Instant::now() + patience.min(LONGEST))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a backend says of its devices.
fn gauge(backend: &'static dyn Backend) -> Gauge {
    Box::new(|device| {
        let usage = backend.usage(device);
        let utilization = usage.and_then(|usage| usage.utilization);
        Usage { memory: usage.map(|usage| usage.used), utilization }
    })
}

fn on_loss(config: &ModelConfig, version: u32, hearer: &Arc<Mutex<Hearer>>) -> OnLoss {
    let (model, then, hearer) = (config.name.clone(), config.on_device_failure, Arc::clone(hearer));
    Box::new(move |device, reason, left| {
        let (model, reason) = (model.clone(), reason.to_owned());
        let loss = DeviceLoss { model, version, device, reason, left, then };
        tracing::error!("{loss}");
        hearer.lock().unwrap_or_else(PoisonError::into_inner).tell(loss);
    })
}

/// The longest time that is told from for ever.
const LONGEST: Duration = Duration::from_hours(24);

/// A duration of a configuration; what is none counts as the nearest that is.
fn milliseconds(ms: f64) -> Duration {
    if ms > 0.0 {
        Duration::try_from_secs_f64(ms / 1e3).unwrap_or(LONGEST).min(LONGEST)
    } else {
        Duration::ZERO
    }
}

fn rules(config: &ModelConfig) -> Rules {
    let batching = config.batching.as_ref();
    let mut preferred = batching.map_or_else(Vec::new, |batching| batching.preferred_sizes.clone());
    preferred
        .retain(|size| batching.is_some_and(|batching| (1..=batching.max_batch).contains(size)));
    preferred.sort_unstable();
    Rules {
        max_batch: batching.map(|batching| batching.max_batch.max(1)),
        max_delay: batching.map_or(Duration::ZERO, |batching| milliseconds(batching.max_delay_ms)),
        preferred,
        levels: config.queue.priority_levels.max(1) as usize,
        limit: config.queue.limit.max(1),
        preserve_ordering: batching.is_some_and(|batching| batching.preserve_ordering),
    }
}
