//! How much memory this process can still get, as far as the kernel tells.
//!
//! The kernel does not refuse shared memory beyond it: it kills a process for it. So a caller that wants much asks here
//! first.

use std::fs;
use std::path::{Path, PathBuf};

/// The bytes that are free, or can be made free, on this machine and in the control groups of this process.
///
/// `None` if nothing is known: there is no `/proc`.
pub(super) fn available_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|it| of_machine(&it));
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = group_directories(&own).filter_map(|it| of_group(&it));
    machine.into_iter().chain(groups).min()
}

/// By `/proc/meminfo` (`proc_meminfo(5)`).
fn of_machine(meminfo: &str) -> Option<u64> {
    let kibibytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    let swap = kibibytes("SwapFree:").unwrap_or(0);
    Some((kibibytes("MemAvailable:")? + swap).saturating_mul(1024))
}

/// The directories of a process's memory control groups, from `/proc/PID/cgroup` (`cgroups(7)`). Each group is limited
/// by those above it. Within a namespace of control groups, the paths begin at its root.
fn group_directories(cgroup: &str) -> impl Iterator<Item = PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = path.map(|path| Path::new("/sys/fs/cgroup").join(path));
    let all = own.into_iter().flat_map(|own| {
        let all: Vec<_> = own.ancestors().map(Path::to_owned).collect();
        all
    });
    all.take_while(|it| it.starts_with("/sys/fs/cgroup"))
}

/// What a group may still take (`memory.max` of the kernel's "Control Group v2"). Its page cache is none of what it has
/// taken: that is given back when memory is needed.
fn of_group(directory: &Path) -> Option<u64> {
    let most = fs::read_to_string(directory.join("memory.max")).ok()?;
    let most: u64 = most.trim().parse().ok()?;
    let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
    Some(most.saturating_sub(taken(&stat)))
}

fn taken(stat: &str) -> u64 {
    let kinds = ["anon ", "shmem ", "kernel "].into_iter();
    let bytes = kinds.filter_map(|kind| {
        let line = stat.lines().find_map(|line| line.strip_prefix(kind))?;
        line.trim().parse::<u64>().ok()
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_the_kernels_files() {
        let meminfo = "MemTotal:  9 kB\nMemAvailable:   22 kB\nSwapFree:  2 kB\n";
        assert_eq!(of_machine(meminfo), Some(24 * 1024));
        assert_eq!(of_machine("MemTotal: 9 kB\n"), None);
        assert_eq!(taken("anon 5\nfile 100\nkernel_stack 9\nshmem 7\n"), 12);
        assert!(available_bytes().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn every_group_above_counts() {
        let found: Vec<_> = group_directories("1:name=x:/y\n0::/a/b\n").collect();
        let expected = ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert_eq!(group_directories("").count(), 0);
    }
}
