//! [`MultiDevice`]: the devices of an engine, and which of them runs a request.

use std::fmt;

use crate::backend::{self, BackendError};
use crate::runtime::{LeastOutstanding, Placement};

/// Several devices as one: the engine is loaded on each of them, and a placement chooses among
/// those that have a free instance. A device that breaks leaves the rotation; what it was running
/// runs once more on another. [`super::Engine::devices`] tells what each does.
///
/// ```no_run
/// use trt_pipeline::inference::{DeviceLoad, Engine, MultiDevice, Placement, RoundRobin};
///
/// # fn main() -> Result<(), trt_pipeline::inference::InferError> {
/// // Two GPUs, each in turn.
/// let devices = MultiDevice::of([0, 1]).placement(RoundRobin::default());
/// let engine = Engine::builder("build/digits/engine").devices(devices).instances(4).load()?;
///
/// /// A policy of one's own: the first device that runs fewer than this, else the last.
/// struct FillUp {
///     most: usize,
/// }
///
/// impl Placement for FillUp {
///     fn choose(&mut self, free: &[DeviceLoad]) -> usize {
///         let first = free.iter().position(|load| load.outstanding < self.most);
///         first.unwrap_or(free.len() - 1)
///     }
/// }
/// let devices = MultiDevice::all().placement(FillUp { most: 2 });
/// let engine = Engine::builder("build/digits/engine").devices(devices).load()?;
/// for device in engine.devices() {
///     println!("{:?}: {} ran, {} run", device.device, device.batches, device.outstanding);
/// }
/// # Ok(())
/// # }
/// ```
pub struct MultiDevice {
    devices: Devices,
    placement: Box<dyn Placement>,
}

/// Which devices.
enum Devices {
    First,
    All,
    These(Vec<u32>),
}

impl MultiDevice {
    /// Every device of the engine's backend.
    pub fn all() -> Self {
        Self::with(Devices::All)
    }

    /// The GPUs of these numbers.
    pub fn of(devices: impl IntoIterator<Item = u32>) -> Self {
        Self::with(Devices::These(devices.into_iter().collect()))
    }

    /// The first device alone.
    pub(super) fn first() -> Self {
        Self::with(Devices::First)
    }

    fn with(devices: Devices) -> Self {
        Self { devices, placement: Box::new(LeastOutstanding::default()) }
    }

    /// How the device of a request is chosen; by default [`LeastOutstanding`].
    #[must_use]
    pub fn placement(self, placement: impl Placement + 'static) -> Self {
        Self { placement: Box::new(placement), ..self }
    }

    pub(super) fn into_placement(self) -> Box<dyn Placement> {
        self.placement
    }

    /// The numbers of the devices; `None` for all, or where the backend has no numbered ones.
    pub(super) fn numbers(&self, backend: &str) -> Result<Option<Vec<u32>>, BackendError> {
        let has_devices = backend::by_name(backend)?.has_devices();
        let wrong = |reason, help: &str| BackendError::Setting {
            setting: "devices".to_owned(),
            reason,
            help: help.to_owned(),
        };
        Ok(match &self.devices {
            Devices::First if has_devices => Some(vec![0]),
            Devices::First | Devices::All => None,
            Devices::These(_) if !has_devices => {
                let reason = format!("backend `{backend}` has no numbered devices");
                return Err(wrong(reason, "leave it out"));
            }
            Devices::These(devices) if devices.is_empty() => {
                return Err(wrong("it names none".to_owned(), "name one, or leave it out"));
            }
            Devices::These(devices) => Some(devices.clone()),
        })
    }
}

impl<const N: usize> From<[u32; N]> for MultiDevice {
    fn from(devices: [u32; N]) -> Self {
        Self::of(devices)
    }
}

impl From<Vec<u32>> for MultiDevice {
    fn from(devices: Vec<u32>) -> Self {
        Self::of(devices)
    }
}

impl fmt::Debug for MultiDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.devices {
            Devices::First => f.write_str("MultiDevice(first)"),
            Devices::All => f.write_str("MultiDevice(all)"),
            Devices::These(devices) => write!(f, "MultiDevice({devices:?})"),
        }
    }
}
