//! [`Placement`]: which device runs a batch, of those that have a free context.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use crate::deployment;

/// A device with a free context, and how loaded it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeviceLoad {
    /// Its place among the model's devices.
    pub at: usize,
    /// Batches of this model that it runs now.
    pub outstanding: usize,
    /// Bytes in use on it, by whatever program; `None` where the backend does not count them.
    pub memory: Option<u64>,
    /// The fraction of the last second in which it ran batches of this model, by context.
    pub utilization: f64,
}

/// A way to choose a device.
///
/// One of your own:
///
/// ```
/// use trt_pipeline::runtime::{DeviceLoad, Placement};
///
/// /// The first device, until it runs as many batches as this: then the next one.
/// struct FillUp {
///     most: usize,
/// }
///
/// impl Placement for FillUp {
///     fn choose(&mut self, free: &[DeviceLoad]) -> usize {
///         free.iter().position(|load| load.outstanding < self.most).unwrap_or(0)
///     }
/// }
///
/// let load = |at, outstanding| DeviceLoad { at, outstanding, memory: None, utilization: 0.0 };
/// assert_eq!(FillUp { most: 2 }.choose(&[load(0, 2), load(1, 0)]), 1);
/// ```
///
/// `MultiDevice` of the library API takes it.
pub trait Placement: Send {
    /// Whether it looks at the memory and the utilization of devices. Asking for them takes longer
    /// than choosing should, and is left out where it does not.
    fn needs_usage(&self) -> bool {
        true
    }

    /// The index in `free`, which is not empty, of the device to run on. Called for each batch,
    /// under a lock, so it must be short; an index past the end means the first device.
    fn choose(&mut self, free: &[DeviceLoad]) -> usize;
}

/// The way that a deployment names.
pub(super) fn of(policy: deployment::Placement) -> Box<dyn Placement> {
    use deployment::Placement as Policy;
    match policy {
        Policy::LeastOutstanding => Box::new(LeastOutstanding::default()),
        Policy::RoundRobin => Box::new(RoundRobin::default()),
        Policy::Random => Box::new(Random::default()),
        Policy::MemoryAware => Box::new(MemoryAware),
        Policy::Utilization => Box::new(Utilization),
    }
}

/// The index of the device for which `measure` is the least: the first of them.
fn least<K: PartialOrd>(free: &[DeviceLoad], measure: impl Fn(&DeviceLoad) -> K) -> usize {
    let mut best = 0;
    for (index, load) in free.iter().enumerate() {
        if measure(load) < measure(&free[best]) {
            best = index;
        }
    }
    best
}

/// The device that runs the fewest batches; of several, each in turn.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastOutstanding {
    /// The place from which the next device is sought.
    next: usize,
}

impl Placement for LeastOutstanding {
    fn needs_usage(&self) -> bool {
        false
    }

    fn choose(&mut self, free: &[DeviceLoad]) -> usize {
        let index = least(free, |load| (load.outstanding, load.at < self.next));
        self.next = free[index].at + 1;
        index
    }
}

/// Each device in turn.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobin {
    /// The place from which the next device is sought.
    next: usize,
}

impl Placement for RoundRobin {
    fn needs_usage(&self) -> bool {
        false
    }

    fn choose(&mut self, free: &[DeviceLoad]) -> usize {
        let index = free.iter().position(|load| load.at >= self.next).unwrap_or(0);
        self.next = free[index].at + 1;
        index
    }
}

/// Any device.
#[derive(Debug, Clone, Default)]
pub struct Random {
    seed: RandomState,
    drawn: u64,
}

impl Placement for Random {
    fn needs_usage(&self) -> bool {
        false
    }

    fn choose(&mut self, free: &[DeviceLoad]) -> usize {
        self.drawn += 1;
        let number = self.seed.hash_one(self.drawn) % free.len() as u64;
        usize::try_from(number).unwrap_or(0)
    }
}

/// The device with the least memory in use.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryAware;

impl Placement for MemoryAware {
    fn choose(&mut self, free: &[DeviceLoad]) -> usize {
        least(free, |load| (load.memory, load.outstanding))
    }
}

/// The device that was busy for the least of the last second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utilization;

impl Placement for Utilization {
    fn choose(&mut self, free: &[DeviceLoad]) -> usize {
        least(free, |load| (load.utilization, load.outstanding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads() -> [DeviceLoad; 3] {
        let load = |at, outstanding, memory, utilization| DeviceLoad {
            at,
            outstanding,
            memory: Some(memory),
            utilization,
        };
        [load(0, 2, 700, 0.4), load(1, 1, 900, 0.9), load(3, 3, 500, 0.1)]
    }

    #[test]
    fn each_policy_looks_at_its_own_number() {
        use deployment::Placement as Policy;
        let chosen = |policy| of(policy).choose(&loads());
        assert_eq!(chosen(Policy::LeastOutstanding), 1);
        assert_eq!(chosen(Policy::MemoryAware), 2);
        assert_eq!(chosen(Policy::Utilization), 2);
    }

    #[test]
    fn in_turn_means_every_device_also_when_some_are_not_free() {
        let mut policy = RoundRobin::default();
        let turns: Vec<_> = (0..4).map(|_| loads()[policy.choose(&loads())].at).collect();
        assert_eq!(turns, [0, 1, 3, 0]);
        assert_eq!(loads()[1..][policy.choose(&loads()[1..])].at, 1);
    }

    #[test]
    fn devices_that_are_equally_loaded_take_turns() {
        let idle = |at| DeviceLoad { at, outstanding: 0, memory: None, utilization: 0.0 };
        let free = [idle(0), idle(1), idle(2)];
        let mut policy = LeastOutstanding::default();
        let turns: Vec<_> = (0..4).map(|_| policy.choose(&free)).collect();
        assert_eq!(turns, [0, 1, 2, 0]);
        assert_eq!(policy.choose(&[idle(0), DeviceLoad { outstanding: 1, ..idle(1) }]), 0);
    }

    #[test]
    fn any_device_comes_up_at_random() {
        let mut policy = of(deployment::Placement::Random);
        let mut seen = [0; 3];
        (0..300).for_each(|_| seen[policy.choose(&loads())] += 1);
        assert!(seen.iter().all(|&times| times > 30), "{seen:?}");
    }
}
