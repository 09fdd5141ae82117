//! Scheduling attributes of a process: CPU affinity and nice value.

use std::io;

use rustix::thread::CpuSet;

/// The CPUs that the main thread of this process may run on, by number.
pub(crate) fn affinity() -> Vec<u32> {
    let own = rustix::thread::sched_getaffinity(Some(rustix::process::getpid()));
    // An empty list means that children keep the affinity they inherit.
    let own = own.unwrap_or_else(|_| CpuSet::new());
    let numbers = 0..CpuSet::MAX_CPU;
    let mine = numbers.filter(|number| own.is_set(*number));
    mine.map(|number| number as u32).collect()
}

/// Checks that `processors` is not empty and holds only numbers that the kernel can have for CPUs.
pub(crate) fn check_affinity(processors: Option<&[u32]>) -> io::Result<()> {
    let possible = |number: &u32| (*number as usize) < CpuSet::MAX_CPU;
    match processors {
        Some(list) if list.is_empty() || !list.iter().all(possible) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there are no processors for it to run on",
        )),
        _ => Ok(()),
    }
}

/// Restricts the calling thread, and the threads and processes it starts, to these CPUs.
pub(crate) fn set_affinity(processors: &[u32]) -> io::Result<()> {
    check_affinity(Some(processors))?;
    let mut wanted = CpuSet::new();
    for processor in processors {
        wanted.set(*processor as usize);
    }
    if rustix::thread::sched_getaffinity(None)? != wanted {
        rustix::thread::sched_setaffinity(None, &wanted)?;
    }
    Ok(())
}

/// The nice value of this process's main thread plus `steps`, clamped to the kernel's range.
pub(crate) fn nice_below(steps: i32) -> i32 {
    let own = rustix::process::getpriority_process(Some(rustix::process::getpid()));
    own.unwrap_or(0).saturating_add(steps).clamp(-20, 19)
}

/// Sets the nice value of the calling thread, which the threads it starts inherit.
pub(crate) fn set_nice(priority: i32) -> io::Result<()> {
    if rustix::process::getpriority_process(None)? != priority {
        rustix::process::setpriority_process(None, priority)?;
    }
    Ok(())
}
