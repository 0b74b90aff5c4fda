//! [`ContextPool`]: the execution contexts of a model, per device, lent for one batch at a time.
//!
//! A [`Lease`] gives its context back when it is dropped. A context that panicked or failed is not
//! lent again: another one is made at the next lease of its device.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::{BackendError, Engine, EngineMemory, ExecutionContext, MemoryStats};

use super::placement::{DeviceLoad, Placement};

/// An engine, loaded on a device.
pub(crate) struct Loaded {
    /// The device's number, for backends that have several.
    pub(crate) device: Option<usize>,
    /// What is loaded there.
    pub(crate) engine: Arc<dyn Engine>,
}

/// Tells the bytes in use on a device.
pub(super) type MemoryGauge = Box<dyn Fn(Option<usize>) -> Option<u64> + Send + Sync>;

/// How long a device's memory and utilization count as known.
const PERIOD: Duration = Duration::from_secs(1);

struct Device {
    loaded: Loaded,
    free: Vec<Box<dyn ExecutionContext>>,
    leased: usize,
    /// Contexts that broke and are not replaced yet.
    missing: usize,
    meter: Meter,
}

/// How busy a device is, by periods.
struct Meter {
    since: Instant,
    busy: Duration,
    utilization: f64,
    memory: Option<u64>,
}

struct State {
    devices: Vec<Device>,
    placement: Box<dyn Placement>,
    /// Callers that wait for a free context.
    waiting: usize,
}

/// The contexts of a model.
pub(super) struct ContextPool {
    state: Mutex<State>,
    returned: Condvar,
    gauge: MemoryGauge,
}

impl ContextPool {
    /// Makes `instances` contexts on each device.
    pub(super) fn new(
        loaded: Vec<Loaded>,
        instances: usize,
        placement: Box<dyn Placement>,
        gauge: MemoryGauge,
    ) -> Result<Self, BackendError> {
        let now = Instant::now();
        let device = |loaded: Loaded| {
            let contexts = (0..instances).map(|_| Arc::clone(&loaded.engine).new_context());
            let free = contexts.collect::<Result<Vec<_>, _>>()?;
            let memory = gauge(loaded.device);
            let meter = Meter { since: now, busy: Duration::ZERO, utilization: 0.0, memory };
            Ok(Device { loaded, free, leased: 0, missing: 0, meter })
        };
        let devices = loaded.into_iter().map(device).collect::<Result<Vec<_>, BackendError>>()?;
        let state = State { devices, placement, waiting: 0 };
        Ok(Self { state: Mutex::new(state), returned: Condvar::new(), gauge })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends a context of the device that the placement chooses; waits where none is free.
    pub(super) fn lease(&self) -> Result<Lease<'_>, BackendError> {
        let mut state = self.lock();
        let at = loop {
            if let Some(at) = state.choose(&self.gauge) {
                break at;
            }
            if state.devices.is_empty() {
                return Err(BackendError::Run { reason: "its engine was unloaded".to_owned() });
            }
            state.waiting += 1;
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        };
        self.lend(state, at)
    }

    /// Lends a context that is made and free; `None` where nobody has one to spare.
    pub(super) fn try_lease(&self) -> Option<Lease<'_>> {
        let mut state = self.lock();
        let at = state.choose(&self.gauge).filter(|_| state.waiting == 0)?;
        let is_made = !state.devices[at].free.is_empty();
        is_made.then(|| self.lend(state, at))?.ok()
    }

    fn lend<'a>(
        &'a self,
        mut state: MutexGuard<'_, State>,
        at: usize,
    ) -> Result<Lease<'a>, BackendError> {
        let device = &mut state.devices[at];
        device.leased += 1;
        let context = device.free.pop();
        if context.is_none() {
            device.missing -= 1;
        }
        let engine = Arc::clone(&device.loaded.engine);
        drop(state);
        let mut lease = Lease { pool: self, at, engine, context, since: Instant::now() };
        if lease.context.is_none() {
            // Where it fails, dropping the lease makes it missing again.
            lease.context = Some(Arc::clone(&lease.engine).new_context()?);
        }
        Ok(lease)
    }

    /// Every context of every device: waits until all are free.
    pub(super) fn lease_all(&self) -> Result<Vec<Lease<'_>>, BackendError> {
        (0..self.contexts()).map(|_| self.lease()).collect()
    }

    /// Whether every engine computes on this machine's own processor.
    pub(super) fn is_on_host(&self) -> bool {
        self.lock().devices.iter().all(|device| device.loaded.engine.is_on_host())
    }

    /// How many contexts there are on all devices.
    pub(super) fn contexts(&self) -> usize {
        let contexts = |device: &Device| device.free.len() + device.leased + device.missing;
        self.lock().devices.iter().map(contexts).sum()
    }

    /// What engines and contexts hold on all devices, where the backend counts it.
    pub(super) fn memory(&self) -> Option<EngineMemory> {
        let state = self.lock();
        let held = state.devices.iter().filter_map(|device| device.loaded.engine.memory());
        held.reduce(|sum, more| EngineMemory {
            device: add(sum.device, more.device),
            pinned: add(sum.pinned, more.pinned),
        })
    }

    /// Lets go of engines and contexts; nothing is lent any more.
    pub(super) fn clear(&self) {
        let devices = std::mem::take(&mut self.lock().devices);
        self.returned.notify_all();
        drop(devices);
    }
}

fn add(one: MemoryStats, other: MemoryStats) -> MemoryStats {
    MemoryStats {
        current: one.current + other.current,
        peak: one.peak + other.peak,
        total: one.total + other.total,
        allocations: one.allocations + other.allocations,
        live: one.live + other.live,
    }
}

impl State {
    /// The device of the next lease; `None` where no context is free.
    fn choose(&mut self, gauge: &MemoryGauge) -> Option<usize> {
        let is_free = |device: &Device| !device.free.is_empty() || device.missing > 0;
        if let [device] = self.devices.as_slice() {
            return is_free(device).then_some(0);
        }
        let now = Instant::now();
        let free: Vec<DeviceLoad> = self
            .devices
            .iter_mut()
            .enumerate()
            .filter(|(_, device)| is_free(device))
            .map(|(at, device)| {
                device.measure(now, gauge);
                DeviceLoad {
                    at,
                    outstanding: device.leased,
                    memory: device.meter.memory,
                    utilization: device.meter.utilization,
                }
            })
            .collect();
        let first = free.first()?;
        let chosen = self.placement.choose(&free);
        Some(free.get(chosen).unwrap_or(first).at)
    }
}

impl Device {
    fn measure(&mut self, now: Instant, gauge: &MemoryGauge) {
        let period = now.saturating_duration_since(self.meter.since);
        if period >= PERIOD {
            let utilization = self.meter.busy.as_secs_f64() / period.as_secs_f64();
            let memory = gauge(self.loaded.device);
            self.meter = Meter { since: now, busy: Duration::ZERO, utilization, memory };
        }
    }
}

/// A context, lent until this is dropped.
pub(super) struct Lease<'a> {
    pool: &'a ContextPool,
    at: usize,
    engine: Arc<dyn Engine>,
    /// `None` where it broke.
    context: Option<Box<dyn ExecutionContext>>,
    since: Instant,
}

impl Lease<'_> {
    /// The batch worth running for so many samples.
    pub(super) fn batch_for(&self, samples: usize, most: usize) -> usize {
        self.engine.batch_for(samples, most).min(most).max(samples)
    }

    /// Uses the context. One whose use fails for another reason than its inputs is not lent again.
    pub(super) fn using<R>(
        &mut self,
        work: impl FnOnce(&mut dyn ExecutionContext) -> Result<R, BackendError>,
    ) -> Result<R, BackendError> {
        let result = work(self.context_mut()?);
        if matches!(result, Err(BackendError::Run { .. } | BackendError::OutOfMemory { .. })) {
            self.context = None;
        }
        result
    }

    /// The context, to read from.
    pub(super) fn context(&self) -> Result<&dyn ExecutionContext, BackendError> {
        self.context.as_deref().ok_or_else(broken)
    }

    /// The context, to write to.
    pub(super) fn context_mut(&mut self) -> Result<&mut dyn ExecutionContext, BackendError> {
        match &mut self.context {
            Some(context) => Ok(context.as_mut()),
            None => Err(broken()),
        }
    }

    /// The context is not used or lent again.
    pub(super) fn discard(&mut self) {
        self.context = None;
    }
}

fn broken() -> BackendError {
    BackendError::Run { reason: "its execution context is broken".to_owned() }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.context = None;
        }
        let mut state = self.pool.lock();
        let is_awaited = state.waiting > 0;
        if let Some(device) = state.devices.get_mut(self.at) {
            device.leased -= 1;
            device.meter.busy += self.since.elapsed();
            match self.context.take() {
                Some(context) => device.free.push(context),
                None => device.missing += 1,
            }
        }
        drop(state);
        if is_awaited {
            self.pool.returned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::fake::{Fake, until};
    use crate::deployment;
    use crate::runtime::placement;
    use crate::tensor::Shape;
    use std::sync::atomic::Ordering;

    fn pool(fake: &Arc<Fake>, devices: usize, instances: usize) -> ContextPool {
        let loaded = (0..devices).map(|at| Loaded { device: Some(at), engine: fake.engine() });
        let placement = placement::of(deployment::Placement::LeastOutstanding);
        ContextPool::new(loaded.collect(), instances, placement, Box::new(|_| None)).unwrap()
    }

    fn run(lease: &mut Lease<'_>) -> Result<(), BackendError> {
        lease.using(|context| {
            context.input_mut(0, &Shape(vec![1, 4]))?.fill(0);
            context.run().map(drop)
        })
    }

    #[test]
    fn a_context_comes_back_and_is_used_again() {
        let fake = Arc::new(Fake::default());
        let pool = pool(&fake, 1, 1);
        (0..5).for_each(|_| run(&mut pool.lease().unwrap()).unwrap());
        assert_eq!(fake.contexts.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn leases_spread_over_devices_and_the_one_too_many_waits() {
        let fake = Arc::new(Fake::default());
        let pool = pool(&fake, 2, 2);
        let leases: Vec<_> = (0..4).map(|_| pool.lease().unwrap()).collect();
        let places: Vec<_> = leases.iter().map(|lease| lease.at).collect();
        assert_eq!(places, [0, 1, 0, 1]);
        std::thread::scope(|scope| {
            let late = scope.spawn(|| pool.lease().unwrap().at);
            until("it waits", || pool.lock().waiting == 1);
            drop(leases);
            late.join().unwrap();
        });
        assert_eq!(pool.lease_all().unwrap().len(), 4);
    }

    #[test]
    fn a_context_that_fails_or_panics_is_replaced() {
        let fake = Arc::new(Fake::default());
        let pool = pool(&fake, 1, 1);
        fake.fail_run(0);
        fake.panic_in_run(1);
        let mut lease = pool.lease().unwrap();
        run(&mut lease).unwrap_err();
        assert!(run(&mut lease).is_err(), "a broken context was used");
        drop(lease);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| run(&mut pool.lease().unwrap()));
            assert!(thread.join().is_err());
        });
        run(&mut pool.lease().unwrap()).unwrap();
        assert_eq!(fake.contexts.load(Ordering::SeqCst), 3);
        assert_eq!(fake.live_contexts.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_context_that_cannot_be_replaced_is_missed_until_it_can() {
        let fake = Arc::new(Fake::default());
        let pool = pool(&fake, 1, 1);
        fake.fail_run(0);
        run(&mut pool.lease().unwrap()).unwrap_err();
        fake.no_contexts.store(true, Ordering::SeqCst);
        assert!(pool.lease().is_err() && pool.lease().is_err());
        fake.no_contexts.store(false, Ordering::SeqCst);
        run(&mut pool.lease().unwrap()).unwrap();
    }

    #[test]
    fn wrong_inputs_break_no_context() {
        let fake = Arc::new(Fake::default());
        let pool = pool(&fake, 1, 1);
        let mut lease = pool.lease().unwrap();
        let wrong = Shape(vec![1, 5]);
        lease.using(|context| context.input_mut(0, &wrong).map(drop)).unwrap_err();
        run(&mut lease).unwrap();
    }
}
