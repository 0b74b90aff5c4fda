//! How much memory there is for one more model: the host's, as the kernel and the control groups
//! of this process bound it, and a device's, as its backend counts it.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::backend;
use crate::process::resident_bytes;

/// Where a model takes memory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::runtime) enum Place {
    /// This machine's.
    Host,
    /// A device's, under its backend and number.
    Device(String, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host memory"),
            Self::Device(_, number) => write!(f, "memory of device {number}"),
        }
    }
}

/// Says how much memory there is. The system's, but for tests.
pub(in crate::runtime) trait Memory: Send + Sync {
    /// Bytes that can still be taken; `None` where nobody counts them.
    fn available(&self, place: &Place) -> Option<u64>;
    /// Bytes of host memory that this process has.
    fn resident(&self) -> Option<u64>;
}

/// What this machine says.
pub(in crate::runtime) struct System;

impl Memory for System {
    fn available(&self, place: &Place) -> Option<u64> {
        match place {
            Place::Host => host_available(Path::new("/")),
            Place::Device(backend, number) => {
                let usage = backend::by_name(backend).ok()?.usage(Some(*number))?;
                Some(usage.total.saturating_sub(usage.used))
            }
        }
    }

    fn resident(&self) -> Option<u64> {
        resident_bytes()
    }
}

/// What the kernel says can be taken without swapping, or less where a control group of this
/// process has less left. `root` is the root of the file system.
fn host_available(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = machine.and_then(|text| Some(field(&text, "MemAvailable:")? * 1024));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let groups = groups.lines().filter_map(|line| group_available(root, line));
    machine.into_iter().chain(groups).min()
}

/// The first number of the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// One version of the kernel's control groups: where they are and what their files are called.
struct Hierarchy {
    mounts: &'static [&'static str],
    limit: &'static str,
    usage: &'static str,
    /// Of the file cache, what goes first; in `memory.stat`.
    cache: &'static str,
}

const VERSION_2: Hierarchy = Hierarchy {
    mounts: &["sys/fs/cgroup", "sys/fs/cgroup/unified"],
    limit: "memory.max",
    usage: "memory.current",
    cache: "inactive_file ",
};

const VERSION_1: Hierarchy = Hierarchy {
    mounts: &["sys/fs/cgroup/memory"],
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cache: "total_inactive_file ",
};

/// The least that is left in the group that a line of `/proc/self/cgroup` names, and in those
/// around it. In a container that sees its own group as the root, the path of the line may lead
/// nowhere: then the root is the group.
fn group_available(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let hierarchy = match controllers {
        "" => VERSION_2,
        controllers if controllers.split(',').any(|name| name == "memory") => VERSION_1,
        _ => return None,
    };
    let left = |mount: &&str| {
        let mount = root.join(mount);
        let group = mount.join(path.trim_start_matches('/'));
        let around = group.ancestors().take_while(|folder| folder.starts_with(&mount));
        around.filter_map(|folder| left_in(&hierarchy, folder)).min()
    };
    hierarchy.mounts.iter().filter_map(left).min()
}

fn left_in(hierarchy: &Hierarchy, folder: &Path) -> Option<u64> {
    let number = |file: &str| -> Option<u64> {
        fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
    };
    // Without a limit the file holds a word, or in version 1 a number beyond all memory.
    let (limit, usage) = (number(hierarchy.limit)?, number(hierarchy.usage)?);
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let cache = field(&stat, hierarchy.cache).unwrap_or(0);
    Some(limit.saturating_sub(usage.saturating_sub(cache)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    struct Root(tempfile::TempDir);

    impl Root {
        fn new(cgroup: &str) -> Self {
            let root = Self(tempfile::tempdir().unwrap());
            let meminfo = "MemTotal: 33554432 kB\nMemFree: 1 kB\nMemAvailable: 16777216 kB\n";
            root.write("proc/meminfo", meminfo).write("proc/self/cgroup", cgroup)
        }

        fn write(self, path: &str, text: &str) -> Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn available(&self) -> Option<u64> {
            host_available(self.0.path())
        }
    }

    #[test]
    fn without_limits_it_is_what_the_kernel_says() {
        assert_eq!(Root::new("0::/user\n").available(), Some(16 * GIB));
        let none = Root::new("0::/user\n").write("proc/meminfo", "");
        assert_eq!(none.available(), None);
        let unlimited = Root::new("0::/user\n")
            .write("sys/fs/cgroup/user/memory.max", "max\n")
            .write("sys/fs/cgroup/user/memory.current", "5\n");
        assert_eq!(unlimited.available(), Some(16 * GIB));
    }

    #[test]
    fn the_tightest_group_around_this_process_bounds_it() {
        let root = Root::new("0::/pod/container\n")
            .write("sys/fs/cgroup/pod/container/memory.max", &(8 * GIB).to_string())
            .write("sys/fs/cgroup/pod/container/memory.current", &GIB.to_string())
            .write("sys/fs/cgroup/pod/memory.max", &(4 * GIB).to_string())
            .write("sys/fs/cgroup/pod/memory.current", &(3 * GIB).to_string())
            .write("sys/fs/cgroup/pod/memory.stat", "anon 1\ninactive_file 1073741824\n");
        assert_eq!(root.available(), Some(2 * GIB));
    }

    #[test]
    fn in_a_container_the_root_of_the_groups_is_its_own() {
        let root = Root::new("0::/not/seen/in/here\n")
            .write("sys/fs/cgroup/memory.max", &GIB.to_string())
            .write("sys/fs/cgroup/memory.current", "0");
        assert_eq!(root.available(), Some(GIB));
    }

    #[test]
    fn groups_of_version_1_are_read_too() {
        let root = Root::new("5:cpu,cpuacct:/x\n3:memory:/docker/1\n0::/x\n")
            .write("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", &(2 * GIB).to_string())
            .write("sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes", &GIB.to_string())
            .write("sys/fs/cgroup/memory/docker/1/memory.stat", "total_inactive_file 1024\n")
            .write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
            .write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n");
        assert_eq!(root.available(), Some(GIB + 1024));
    }

    #[test]
    fn files_that_make_no_sense_bound_nothing() {
        let root = Root::new("\n::\n0\n0::/../../..\nx:memory\n")
            .write("sys/fs/cgroup/memory.max", "-5\n")
            .write("sys/fs/cgroup/memory.current", "many\n");
        assert_eq!(root.available(), Some(16 * GIB));
    }

    #[test]
    fn this_machine_says_something() {
        assert!(System.available(&Place::Host).unwrap() > 0);
        assert!(System.resident().unwrap() > 0);
        assert_eq!(System.available(&Place::Device("cpu".into(), 0)), None);
    }
}
