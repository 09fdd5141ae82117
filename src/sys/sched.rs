//! How the kernel schedules a process: its processors and its nice value.

use std::io;

use rustix::thread::CpuSet;

/// The processors that the main thread of this process may run on, by number.
pub(crate) fn affinity() -> Vec<u32> {
    let own = rustix::thread::sched_getaffinity(Some(rustix::process::getpid()));
    let own = own.unwrap_or_else(|_| CpuSet::new()); // none: as it is inherited
    let numbers = 0..CpuSet::MAX_CPU;
    let mine = numbers.filter(|number| own.is_set(*number));
    mine.map(|number| number as u32).collect()
}

/// Whether these can be the numbers of the processors of any machine.
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

/// Lets the calling thread, and what it starts, run on these processors alone.
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

/// The nice value of a process that steps back by `steps` from this one.
///
/// The main thread's counts: other threads may have values of their own.
pub(crate) fn nice_below(steps: i32) -> i32 {
    let own = rustix::process::getpriority_process(Some(rustix::process::getpid()));
    own.unwrap_or(0).saturating_add(steps).clamp(-20, 19)
}

/// Gives the calling thread, and so the threads it starts, this nice value.
pub(crate) fn set_nice(priority: i32) -> io::Result<()> {
    if rustix::process::getpriority_process(None)? != priority {
        rustix::process::setpriority_process(None, priority)?;
    }
    Ok(())
}
