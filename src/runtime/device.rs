//! [`Device`]: one device of a model: its engine, its contexts, how busy it is, and whether it is
//! lost.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{BackendError, Engine, EngineMemory, ExecutionContext};
use crate::deployment::OnDeviceFailure;

use super::placement::DeviceLoad;

/// An engine, loaded on a device.
pub(crate) struct Loaded {
    /// The device's number, for backends that have several.
    pub(crate) device: Option<usize>,
    /// What is loaded there.
    pub(crate) engine: Arc<dyn Engine>,
}

/// What whoever counts for all programs says of a device.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// Bytes in use on it.
    pub(super) memory: Option<u64>,
    /// The fraction of the last moments in which it was busy.
    pub(super) utilization: Option<f64>,
}

/// Tells the usage of a device.
pub(super) type Gauge = Box<dyn Fn(Option<usize>) -> Usage + Send + Sync>;

/// How long a device's memory and utilization count as known.
const PERIOD: Duration = Duration::from_secs(1);

/// One device of a loaded model, as it is at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceStatus {
    /// Its number; `None` where the backend has no numbered ones.
    pub device: Option<usize>,
    /// Batches of requests that ran on it.
    pub batches: u64,
    /// Batches that it runs now.
    pub outstanding: usize,
    /// What the model's engine and contexts hold on it, where the backend counts it.
    pub memory: Option<EngineMemory>,
    /// Why it is used no more; `None` where it is.
    pub lost: Option<String>,
}

impl DeviceStatus {
    /// Of a device that was lost before the model was loaded.
    pub(super) fn absent(device: Option<usize>, error: &BackendError) -> Self {
        let reason = match error {
            BackendError::DeviceLost { reason, .. } => reason.clone(),
            error => error.to_string(),
        };
        Self { device, batches: 0, outstanding: 0, memory: None, lost: Some(reason) }
    }
}

/// A model lost a device that it ran on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLoss {
    /// The model.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// The device's number.
    pub device: Option<usize>,
    /// What its backend said.
    pub reason: String,
    /// How many devices the model has left.
    pub left: usize,
    /// What the deployment wants done about it.
    pub then: OnDeviceFailure,
}

impl fmt::Display for DeviceLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, version, device, reason, left, .. } = self;
        let device = device.unwrap_or(0);
        write!(f, "model `{model}`, version {version}, lost device {device} ({reason}); ")?;
        match left {
            0 => f.write_str("it has none left and takes no requests"),
            1 => f.write_str("it goes on with the one that is left"),
            left => write!(f, "it goes on with the {left} that are left"),
        }
    }
}

pub(super) struct Device {
    pub(super) loaded: Loaded,
    pub(super) free: Vec<Box<dyn ExecutionContext>>,
    pub(super) leased: usize,
    /// Contexts that broke and are not replaced yet.
    pub(super) missing: usize,
    pub(super) batches: u64,
    /// Why it is lost.
    pub(super) loss: Option<String>,
    meter: Meter,
}

/// How busy a device is, by periods.
struct Meter {
    since: Instant,
    busy: Duration,
    utilization: f64,
    memory: Option<u64>,
}

impl Device {
    /// Without contexts.
    pub(super) fn new(loaded: Loaded, gauge: &Gauge) -> Self {
        let Usage { memory, utilization } = gauge(loaded.device);
        let meter = Meter {
            since: Instant::now(),
            busy: Duration::ZERO,
            utilization: utilization.unwrap_or(0.0),
            memory,
        };
        Self { loaded, free: Vec::new(), leased: 0, missing: 0, batches: 0, loss: None, meter }
    }

    /// Whether a context can be lent.
    pub(super) fn is_free(&self) -> bool {
        !self.free.is_empty() || self.missing > 0
    }

    pub(super) fn contexts(&self) -> usize {
        self.free.len() + self.leased + self.missing
    }

    /// A context comes back after so long; none where it broke.
    pub(super) fn take_back(
        &mut self,
        context: Option<Box<dyn ExecutionContext>>,
        after: Duration,
    ) {
        self.leased -= 1;
        self.meter.busy += after;
        match (context, &self.loss) {
            (context, Some(_)) => std::mem::forget(context),
            (Some(context), None) => self.free.push(context),
            (None, None) => self.missing += 1,
        }
    }

    /// It is lost. What is on it is never destroyed: the driver may hang or crash over it.
    pub(super) fn lose(&mut self, reason: &str) {
        self.loss = Some(reason.to_owned());
        self.missing = 0;
        self.free.drain(..).for_each(std::mem::forget);
        std::mem::forget(Arc::clone(&self.loaded.engine));
    }

    pub(super) fn load(&mut self, at: usize, gauge: &Gauge) -> DeviceLoad {
        self.measure(Instant::now(), gauge);
        let Meter { utilization, memory, .. } = self.meter;
        DeviceLoad { at, outstanding: self.leased, memory, utilization }
    }

    fn measure(&mut self, now: Instant, gauge: &Gauge) {
        let period = now.saturating_duration_since(self.meter.since);
        if period >= PERIOD {
            let own = self.meter.busy.as_secs_f64() / period.as_secs_f64();
            let Usage { memory, utilization } = gauge(self.loaded.device);
            let utilization = utilization.unwrap_or(own);
            self.meter = Meter { since: now, busy: Duration::ZERO, utilization, memory };
        }
    }

    pub(super) fn status(&self) -> DeviceStatus {
        DeviceStatus {
            device: self.loaded.device,
            batches: self.batches,
            outstanding: self.leased,
            memory: self.loaded.engine.memory(),
            lost: self.loss.clone(),
        }
    }
}
