//! [`GpuMonitor`]: how busy a GPU is, how fast its clocks run and what holds them back.
//!
//! Owns every call into NVML (`libnvidia-ml.so.1`), which comes with the driver and is loaded when
//! it is first asked for. Where it is not there, or cannot tell something, that is not known: never
//! an error, only a debug message. Must not know what runs on the GPU.

use std::fmt;
use std::sync::OnceLock;

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, PerformanceState, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use serde::Serialize;

use super::driver::Driver;

/// A GPU of the CUDA driver, as NVML knows it.
pub struct GpuMonitor {
    device: Device<'static>,
}

/// How fast the clocks of a GPU run at a moment, and why not faster. `None`: not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GpuClocks {
    /// Of the streaming multiprocessors.
    pub sm_mhz: Option<u32>,
    /// Of the memory.
    pub memory_mhz: Option<u32>,
    /// Everything that holds the clocks back; empty where nothing does.
    pub throttle_reasons: Option<Vec<ThrottleReason>>,
}

/// What NVML tells of a GPU at a moment. `None`: not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GpuState {
    /// The clocks now.
    pub clocks: GpuClocks,
    /// The fastest clock of the streaming multiprocessors.
    pub max_sm_mhz: Option<u32>,
    /// The fastest clock of the memory.
    pub max_memory_mhz: Option<u32>,
    /// Of the last sampling period, the part in which the GPU computed, for whatever program.
    pub utilization_percent: Option<u32>,
    /// Of the last sampling period, the part in which its memory was read or written.
    pub memory_utilization_percent: Option<u32>,
    /// Its temperature.
    pub temperature_celsius: Option<u32>,
    /// The power it draws.
    pub power_milliwatts: Option<u32>,
    /// Its performance state: 0 is the fastest, 15 the slowest.
    pub performance_state: Option<u32>,
    /// Bytes of its memory in use, by whatever program.
    pub memory_used: Option<u64>,
    /// Bytes of memory it has.
    pub memory_total: Option<u64>,
}

/// What holds the clocks of a GPU back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ThrottleReason {
    /// Nothing runs on it.
    Idle,
    /// Somebody set the clocks that programs get.
    ApplicationClocks,
    /// It draws as much power as it may.
    PowerCap,
    /// The hardware slowed it down, for heat or power.
    HardwareSlowdown,
    /// It keeps step with other GPUs.
    SyncBoost,
    /// It, or its memory, is too warm.
    ThermalSlowdown,
    /// The hardware slowed it down for heat.
    HardwareThermalSlowdown,
    /// The power supply asked it to slow down.
    PowerBrake,
    /// Somebody set the clocks of the display.
    DisplayClocks,
}

impl ThrottleReason {
    const ALL: [(Self, ThrottleReasons, &'static str); 9] = [
        (Self::Idle, ThrottleReasons::GPU_IDLE, "idle"),
        (
            Self::ApplicationClocks,
            ThrottleReasons::APPLICATIONS_CLOCKS_SETTING,
            "application clocks",
        ),
        (Self::PowerCap, ThrottleReasons::SW_POWER_CAP, "power cap"),
        (Self::HardwareSlowdown, ThrottleReasons::HW_SLOWDOWN, "hardware slowdown"),
        (Self::SyncBoost, ThrottleReasons::SYNC_BOOST, "sync boost"),
        (Self::ThermalSlowdown, ThrottleReasons::SW_THERMAL_SLOWDOWN, "thermal slowdown"),
        (
            Self::HardwareThermalSlowdown,
            ThrottleReasons::HW_THERMAL_SLOWDOWN,
            "hardware thermal slowdown",
        ),
        (Self::PowerBrake, ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "power brake"),
        (Self::DisplayClocks, ThrottleReasons::DISPLAY_CLOCK_SETTING, "display clocks"),
    ];

    /// Whether it keeps a GPU that has work to do below its fastest clock.
    pub fn slows_work(self) -> bool {
        self != Self::Idle
    }

    fn of(reasons: ThrottleReasons) -> Vec<Self> {
        let each = Self::ALL.iter().filter(|(_, flag, _)| reasons.contains(*flag));
        each.map(|(reason, ..)| *reason).collect()
    }
}

impl fmt::Display for ThrottleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.iter().find(|(reason, ..)| reason == self);
        f.write_str(found.map_or("", |(.., word)| *word))
    }
}

impl GpuMonitor {
    /// The monitor of a device, by its number in the CUDA driver: the two libraries may number
    /// devices differently, so they are matched by UUID. Asked once; the answer stays.
    pub fn of(ordinal: u32) -> Option<&'static Self> {
        static MONITORS: OnceLock<Vec<Option<GpuMonitor>>> = OnceLock::new();
        let monitors = MONITORS.get_or_init(|| {
            let (Some(nvml), Ok(devices)) = (nvml(), Driver::get().and_then(Driver::devices))
            else {
                return Vec::new();
            };
            let each = devices.into_iter();
            each.map(|device| Self::by_uuid(nvml, device.ordinal, &device.uuid)).collect()
        });
        monitors.get(usize::try_from(ordinal).ok()?)?.as_ref()
    }

    fn by_uuid(nvml: &'static Nvml, ordinal: u32, uuid: &str) -> Option<Self> {
        let found = nvml.device_by_uuid(uuid);
        found
            .inspect_err(|error| tracing::debug!("NVML does not know GPU {ordinal}: {error}"))
            .ok()
            .map(|device| Self { device })
    }

    /// The clocks now: three short questions, for many moments of a run.
    pub fn clocks(&self) -> GpuClocks {
        GpuClocks {
            sm_mhz: known(self.device.clock_info(Clock::SM)),
            memory_mhz: known(self.device.clock_info(Clock::Memory)),
            throttle_reasons: known(self.device.current_throttle_reasons()).map(ThrottleReason::of),
        }
    }

    /// Of the last sampling period, the part in which the GPU computed: from 0 to 1.
    pub fn utilization(&self) -> Option<f64> {
        Some(f64::from(known(self.device.utilization_rates())?.gpu) / 100.0)
    }

    /// Everything.
    pub fn state(&self) -> GpuState {
        let device = &self.device;
        let utilization = known(device.utilization_rates());
        let memory = known(device.memory_info());
        let state = known(device.performance_state());
        GpuState {
            clocks: self.clocks(),
            max_sm_mhz: known(device.max_clock_info(Clock::SM)),
            max_memory_mhz: known(device.max_clock_info(Clock::Memory)),
            utilization_percent: utilization.as_ref().map(|rates| rates.gpu),
            memory_utilization_percent: utilization.map(|rates| rates.memory),
            temperature_celsius: known(device.temperature(TemperatureSensor::Gpu)),
            power_milliwatts: known(device.power_usage()),
            performance_state: state
                .filter(|state| *state != PerformanceState::Unknown)
                .map(|state| state.as_c()),
            memory_used: memory.as_ref().map(|memory| memory.used),
            memory_total: memory.map(|memory| memory.total),
        }
    }
}

impl fmt::Debug for GpuMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GpuMonitor")
    }
}

/// The library, loaded and started; `None` where that failed.
fn nvml() -> Option<&'static Nvml> {
    static NVML: OnceLock<Option<Nvml>> = OnceLock::new();
    let start = || {
        let started = Nvml::init();
        started
            .inspect_err(|error| tracing::debug!("what GPUs do is not known, no NVML: {error}"))
            .ok()
    };
    NVML.get_or_init(start).as_ref()
}

/// The answer, where there is one: each GPU and each driver leaves out some.
fn known<T>(answer: Result<T, NvmlError>) -> Option<T> {
    answer.inspect_err(|error| tracing::trace!("NVML does not tell: {error}")).ok()
}
