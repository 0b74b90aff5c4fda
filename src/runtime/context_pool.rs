//! [`ContextPool`]: the execution contexts of a model, per device, lent for one batch at a time.
//!
//! A [`Lease`] gives its context back when it is dropped. A context that panicked or failed is not
//! lent again: another one is made at the next lease of its device. A device that is lost leaves
//! the rotation for good.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crate::backend::{BackendError, Engine, EngineMemory, ExecutionContext};
use crate::tensor::Shape;

use super::device::{Device, DeviceStatus, Gauge, Loaded, Usage};
use super::placement::{DeviceLoad, Placement};

/// Hears of every device that is lost: its number, why, and how many are left.
pub(super) type OnLoss = Box<dyn Fn(Option<usize>, &str, usize) + Send + Sync>;

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
    gauge: Gauge,
    on_loss: OnLoss,
    /// Why no device is left.
    end: OnceLock<BackendError>,
}

impl ContextPool {
    /// Makes `instances` contexts on each device. A device that is lost by then is in the pool as
    /// one that was lost later is; an error where that is all of them.
    pub(super) fn new(
        loaded: Vec<Loaded>,
        instances: usize,
        placement: Box<dyn Placement>,
        gauge: Gauge,
        on_loss: OnLoss,
    ) -> Result<Self, BackendError> {
        let gauge: Gauge =
            if placement.needs_usage() { gauge } else { Box::new(|_| Usage::default()) };
        let engines: Vec<_> = loaded.iter().map(|loaded| Arc::clone(&loaded.engine)).collect();
        let devices = loaded.into_iter().map(|loaded| Device::new(loaded, &gauge)).collect();
        let state = Mutex::new(State { devices, placement, waiting: 0 });
        let pool = Self { state, returned: Condvar::new(), gauge, on_loss, end: OnceLock::new() };
        for (at, engine) in engines.iter().enumerate() {
            pool.fill(at, engine, instances)?;
        }
        Ok(pool)
    }

    /// Makes so many contexts of a device, unless it is lost and others are left.
    fn fill(
        &self,
        at: usize,
        engine: &Arc<dyn Engine>,
        instances: usize,
    ) -> Result<(), BackendError> {
        for _ in 0..instances {
            match Arc::clone(engine).new_context() {
                Ok(context) => self.lock().devices[at].free.push(context),
                Err(error @ BackendError::DeviceLost { .. }) => {
                    self.heed(at, &error);
                    return self.end().cloned().map_or(Ok(()), Err);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends a context of the device that the placement chooses; waits where none is free. An
    /// error where no device is left.
    pub(super) fn lease(&self) -> Result<Lease<'_>, BackendError> {
        let lent = self.lease_beside(&[])?;
        lent.ok_or_else(|| BackendError::Run { reason: "it has no execution context".to_owned() })
    }

    /// Lends one more context to whoever holds these; `None` where that is all there are.
    fn lease_beside(&self, held: &[Lease<'_>]) -> Result<Option<Lease<'_>>, BackendError> {
        loop {
            let Some((state, at)) = self.wait_for_one(held)? else { return Ok(None) };
            match self.lend(state, at) {
                // It was lost while it was idle: another one may have a context.
                Err(BackendError::DeviceLost { .. }) => {}
                lent => return lent.map(Some),
            }
        }
    }

    fn wait_for_one(
        &self,
        held: &[Lease<'_>],
    ) -> Result<Option<(MutexGuard<'_, State>, usize)>, BackendError> {
        let mut state = self.lock();
        loop {
            if let Some(at) = state.choose(&self.gauge) {
                return Ok(Some((state, at)));
            }
            if let Some(end) = self.end.get() {
                return Err(end.clone());
            }
            if state.devices.is_empty() {
                return Err(BackendError::Run { reason: "its engine was unloaded".to_owned() });
            }
            // Those of a device that was lost meanwhile do not come back.
            let is_used = |at: usize| state.devices[at].loss.is_none();
            let used = state.devices.iter().filter(|device| device.loss.is_none());
            let contexts: usize = used.map(Device::contexts).sum();
            if held.iter().filter(|lease| is_used(lease.at)).count() == contexts {
                return Ok(None);
            }
            state.waiting += 1;
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
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
        let since = Instant::now();
        let mut lease = Lease { pool: self, at, engine, context, since, batches: 0 };
        if lease.context.is_none() {
            // Where it fails, dropping the lease makes it missing again.
            let made = Arc::clone(&lease.engine).new_context();
            lease.context = Some(made.inspect_err(|error| self.heed(at, error))?);
        }
        Ok(lease)
    }

    /// Takes a device out of the rotation where the error says that it is lost.
    fn heed(&self, at: usize, error: &BackendError) {
        let BackendError::DeviceLost { reason, .. } = error else { return };
        let mut state = self.lock();
        let Some(device) = state.devices.get_mut(at).filter(|device| device.loss.is_none()) else {
            return;
        };
        device.lose(reason);
        let number = device.loaded.device;
        let left = state.devices.iter().filter(|device| device.loss.is_none()).count();
        if left == 0 {
            self.end.get_or_init(|| error.clone());
        }
        drop(state);
        self.returned.notify_all();
        (self.on_loss)(number, reason, left);
    }

    /// Why no device is left; `None` where one is.
    pub(super) fn end(&self) -> Option<&BackendError> {
        self.end.get()
    }

    /// What is wrong with the first device that is lost.
    pub(super) fn loss(&self) -> Option<BackendError> {
        self.lock().devices.iter().find_map(|device| {
            let (number, reason) = (device.loaded.device.unwrap_or(0), device.loss.clone()?);
            Some(BackendError::DeviceLost { device: number, reason })
        })
    }

    /// Every device, the lost ones too.
    pub(super) fn devices(&self) -> Vec<DeviceStatus> {
        self.lock().devices.iter().map(Device::status).collect()
    }

    /// Every context of every device: waits until all are free.
    pub(super) fn lease_all(&self) -> Result<Vec<Lease<'_>>, BackendError> {
        let mut leases = Vec::new();
        while let Some(lease) = self.lease_beside(&leases)? {
            leases.push(lease);
        }
        Ok(leases)
    }

    /// Whether every engine computes on this machine's own processor.
    pub(super) fn is_on_host(&self) -> bool {
        self.lock().devices.iter().all(|device| device.loaded.engine.is_on_host())
    }

    /// How many contexts there are on all devices.
    pub(super) fn contexts(&self) -> usize {
        self.lock().devices.iter().map(Device::contexts).sum()
    }

    /// What engines and contexts hold on all devices, where the backend counts it.
    pub(super) fn memory(&self) -> Option<EngineMemory> {
        let state = self.lock();
        let held = state.devices.iter().filter_map(|device| device.loaded.engine.memory());
        held.reduce(|sum, more| sum + more)
    }

    /// Lets go of engines and contexts; nothing is lent any more.
    pub(super) fn clear(&self) {
        let devices = std::mem::take(&mut self.lock().devices);
        self.returned.notify_all();
        drop(devices);
    }
}

impl State {
    /// The device of the next lease; `None` where no context is free.
    fn choose(&mut self, gauge: &Gauge) -> Option<usize> {
        if let [device] = self.devices.as_slice() {
            return device.is_free().then_some(0);
        }
        let devices = self.devices.iter_mut().enumerate();
        let free: Vec<DeviceLoad> = devices
            .filter(|(_, device)| device.is_free())
            .map(|(at, device)| device.load(at, gauge))
            .collect();
        let first = free.first()?;
        let chosen = self.placement.choose(&free);
        Some(free.get(chosen).unwrap_or(first).at)
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
    /// Batches of requests that ran.
    batches: u64,
}

impl Lease<'_> {
    /// The batch worth running for so many samples.
    pub(super) fn batch_for(&self, samples: usize, most: usize) -> usize {
        self.engine.batch_for(samples, most).min(most).max(samples)
    }

    /// Uses the context. One whose use fails for another reason than its inputs is not lent again,
    /// and none of a device that is lost.
    pub(super) fn using<R>(
        &mut self,
        work: impl FnOnce(&mut dyn ExecutionContext) -> Result<R, BackendError>,
    ) -> Result<R, BackendError> {
        let result = work(self.context()?);
        match &result {
            Err(BackendError::Run { .. } | BackendError::OutOfMemory { .. }) => self.context = None,
            Err(error) => self.pool.heed(self.at, error),
            Ok(_) => {}
        }
        result
    }

    fn context(&mut self) -> Result<&mut dyn ExecutionContext, BackendError> {
        match &mut self.context {
            Some(context) => Ok(context.as_mut()),
            None => Err(broken()),
        }
    }

    /// The context's bytes of an input, to write.
    pub(super) fn input_mut(
        &mut self,
        index: usize,
        shape: &Shape,
    ) -> Result<&mut [u8], BackendError> {
        let (pool, at) = (self.pool, self.at);
        self.context()?.input_mut(index, shape).inspect_err(|error| pool.heed(at, error))
    }

    /// The context's bytes of an output.
    pub(super) fn output(&self, index: usize) -> Result<(&Shape, &[u8]), BackendError> {
        self.context.as_ref().ok_or_else(broken)?.output(index)
    }

    /// The context is not used or lent again.
    pub(super) fn discard(&mut self) {
        self.context = None;
    }

    /// What it was used for was a batch of requests.
    pub(super) fn count_batch(&mut self) {
        self.batches += 1;
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
            device.batches += self.batches;
            device.take_back(self.context.take(), self.since.elapsed());
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
    use std::sync::atomic::Ordering;

    fn pool(fake: &Arc<Fake>, devices: usize, instances: usize) -> ContextPool {
        let loaded = (0..devices).map(|at| Loaded { device: Some(at), engine: fake.engine() });
        let placement = placement::of(deployment::Placement::LeastOutstanding);
        let gauge = Box::new(|_| Usage::default());
        ContextPool::new(loaded.collect(), instances, placement, gauge, Box::new(|_, _, _| ()))
            .unwrap()
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
    fn a_policy_that_names_no_device_gets_the_first_and_sees_only_those_that_are_free() {
        struct Past(Arc<Mutex<Vec<usize>>>);
        impl Placement for Past {
            fn choose(&mut self, free: &[DeviceLoad]) -> usize {
                self.0.lock().unwrap().extend(free.iter().map(|load| load.at));
                free.len()
            }
        }
        let fake = Arc::new(Fake::default());
        let loaded = (0..2).map(|at| Loaded { device: Some(at), engine: fake.engine() });
        let seen = Arc::default();
        let policy = Box::new(Past(Arc::clone(&seen)));
        let gauge = Box::new(|_| Usage::default());
        let on_loss = Box::new(|_: Option<usize>, _: &str, _: usize| ());
        let pool = ContextPool::new(loaded.collect(), 1, policy, gauge, on_loss).unwrap();
        let leases = [(); 2].map(|()| pool.lease().unwrap());
        assert_eq!(leases.each_ref().map(|lease| lease.at), [0, 1]);
        assert_eq!(*seen.lock().unwrap(), [0, 1, 1]);
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
