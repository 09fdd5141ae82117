//! A limit on the processor time that this process uses from one moment on (`timer_create(2)`).
//!
//! `RLIMIT_CPU` counts from the start of a process and in seconds. A timer of the process's own clock counts from any
//! moment, as finely as the kernel accounts for time (a tick, 1 to 10 ms). When it expires, the kernel sends SIGXCPU,
//! as for the limit.
//!
//! # Safety
//!
//! The calls read or store structures of the caller's.
#![allow(unsafe_code)]

use std::io;
use std::ptr::null_mut;
use std::time::Duration;

/// The longest limit that does not overflow the kernel's count of nanoseconds: 146 years.
const LONGEST_LIMIT: Duration = Duration::from_nanos(u64::MAX >> 2);

/// See the module. A process that is forked from this one has no such timer.
#[derive(Debug)]
pub(crate) struct CpuTimer {
    timer: libc::timer_t,
    limit: libc::timespec,
}

// SAFETY: the timer's id is of the process, and any thread may set it.
unsafe impl Send for CpuTimer {}

impl CpuTimer {
    /// A timer that is not armed.
    pub(crate) fn new(limit: Duration) -> io::Result<Self> {
        let limit = limit.clamp(Duration::from_nanos(1), LONGEST_LIMIT);
        // SAFETY: all-zero is an event without a value.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGXCPU;
        let mut timer: libc::timer_t = null_mut();
        let clock = libc::CLOCK_PROCESS_CPUTIME_ID;
        // SAFETY: reads one structure and stores one id.
        match unsafe { libc::timer_create(clock, &raw mut event, &raw mut timer) } {
            0 => Ok(Self {
                timer,
                limit: timespec(limit),
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The limit counts from now.
    pub(crate) fn arm(&self) {
        self.set(self.limit);
    }

    /// There is no limit until the timer is armed again.
    pub(crate) fn disarm(&self) {
        self.set(timespec(Duration::ZERO));
    }

    fn set(&self, value: libc::timespec) {
        let setting = libc::itimerspec {
            it_interval: timespec(Duration::ZERO),
            it_value: value,
        };
        // It cannot fail: the timer exists and the time is one. SAFETY: reads one structure.
        unsafe { libc::timer_settime(self.timer, 0, &raw const setting, null_mut()) };
    }
}

/// The time as the kernel takes it; 0 disarms a timer.
fn timespec(time: Duration) -> libc::timespec {
    // SAFETY: all-zero is a time.
    let mut spec: libc::timespec = unsafe { std::mem::zeroed() };
    spec.tv_sec = libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX);
    spec.tv_nsec = time.subsec_nanos().into();
    spec
}
