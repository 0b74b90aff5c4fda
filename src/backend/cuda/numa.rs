//! [`Processors`]: those near a GPU, on machines where memory is nearer to some than to others.
//!
//! Pinned memory is copied over the bus that its GPU is on: it belongs into the memory of the
//! processors at that bus. The kernel puts a page there when one of them first touches it.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Some of this machine's processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Processors(Vec<RangeInclusive<usize>>);

/// The processors near a PCI device, which is named as `0000:3b:00.0`. `None` where all are equally
/// near, or nobody knows. `sys` is where the kernel's `/sys` is.
pub(super) fn near(sys: &Path, bus: &str) -> Option<Processors> {
    let read = |path: &str| fs::read_to_string(sys.join(path)).ok();
    let list = |path: &str| parse(read(path)?.trim());
    let nodes = list("devices/system/node/online")?;
    if nodes.len() < 2 {
        return None;
    }
    let node = read(&format!("bus/pci/devices/{bus}/numa_node"))?;
    // -1 where the firmware does not say.
    let node: u32 = node.trim().parse().ok()?;
    let near = list(&format!("devices/system/node/node{node}/cpulist"))?;
    (near.len() > 0).then_some(near)
}

/// The kernel's form of a list of numbers: `0-3,8`.
fn parse(text: &str) -> Option<Processors> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(range).collect::<Option<_>>().map(Processors)
}

impl Processors {
    fn len(&self) -> usize {
        self.0.iter().map(|range| range.clone().count()).sum()
    }

    /// Runs some work on these processors, as far as this thread may; where it may not, on those
    /// that it is on.
    pub(super) fn visit<R>(&self, work: impl FnOnce() -> R) -> R {
        let _back = self.move_there();
        work()
    }

    fn move_there(&self) -> Option<Back> {
        let before = sched_getaffinity(None).ok()?;
        let mut there = CpuSet::new();
        let mut both = self.0.iter().cloned().flatten().take_while(|at| *at < CpuSet::MAX_CPU);
        both.by_ref().filter(|at| before.is_set(*at)).for_each(|at| there.set(at));
        if there.count() == 0 {
            return None;
        }
        sched_setaffinity(None, &there).ok()?;
        Some(Back(before))
    }
}

/// Lets the thread run where it did before.
struct Back(CpuSet);

impl Drop for Back {
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(None, &self.0) {
            tracing::warn!("a thread stays on some processors: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sys(tempfile::TempDir);

    impl Sys {
        fn new(nodes: &str) -> Self {
            Self(tempfile::tempdir().unwrap()).write("devices/system/node/online", nodes)
        }

        fn write(self, path: &str, text: &str) -> Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn near(&self) -> Option<Processors> {
            near(self.0.path(), "0000:3b:00.0")
        }
    }

    #[test]
    fn the_processors_of_the_gpus_node_are_near_it() {
        let sys = Sys::new("0-1\n")
            .write("bus/pci/devices/0000:3b:00.0/numa_node", "1\n")
            .write("devices/system/node/node0/cpulist", "0-3\n")
            .write("devices/system/node/node1/cpulist", "4-7,12\n");
        assert_eq!(sys.near(), Some(Processors(vec![4..=7, 12..=12])));
    }

    #[test]
    fn nothing_is_nearer_where_there_is_one_node_or_nobody_knows() {
        let node = "bus/pci/devices/0000:3b:00.0/numa_node";
        let cpus = "devices/system/node/node0/cpulist";
        assert_eq!(Sys::new("0\n").write(node, "0\n").write(cpus, "0-3\n").near(), None);
        assert_eq!(Sys::new("0-1\n").write(node, "-1\n").write(cpus, "0-3\n").near(), None);
        assert_eq!(Sys::new("0-1\n").write(cpus, "0-3\n").near(), None, "not a PCI device");
        assert_eq!(Sys::new("0-1\n").write(node, "0\n").near(), None);
        assert_eq!(Sys::new("0-1\n").write(node, "0\n").write(cpus, "\n").near(), None);
        assert_eq!(Sys::new("0-1\n").write(node, "0\n").write(cpus, "many\n").near(), None);
    }

    #[test]
    fn a_thread_visits_processors_and_comes_back() {
        let affinity = || sched_getaffinity(None).unwrap();
        let before = affinity();
        let first = (0..CpuSet::MAX_CPU).find(|at| before.is_set(*at)).unwrap();
        let there = Processors(vec![first..=first]).visit(affinity);
        assert_eq!((there.count(), there.is_set(first)), (1, true));
        assert_eq!(affinity(), before);
        // Not one of those that it may run on.
        let nowhere = Processors(vec![CpuSet::MAX_CPU..=usize::MAX]);
        assert_eq!(nowhere.visit(affinity), before);
    }
}
