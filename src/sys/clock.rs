//! The monotonic clock, which all processes of a machine share.
//!
//! # Safety
//!
//! `clock_gettime(2)` stores one structure at the given address. It is called through the C library and not through
//! rustix, whose reader of the vDSO crashes under valgrind.
#![allow(unsafe_code)]

use std::time::Duration;

/// A moment of `CLOCK_MONOTONIC`, in nanoseconds; the same in every process (`clock_gettime(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Moment(u64);

impl Moment {
    #[inline]
    pub(crate) fn now() -> Self {
        Self(read(libc::CLOCK_MONOTONIC))
    }

    /// The moment of the kernel's last tick: up to a few milliseconds old, at a quarter of the cost of `now`.
    #[inline]
    pub(crate) fn last_tick() -> Self {
        Self(read(libc::CLOCK_MONOTONIC_COARSE))
    }

    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The time from `earlier` to this moment, or zero if `earlier` is later.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` after this one.
    pub(crate) fn plus(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// The time since the machine has started, in the ticks in which `/proc` says when a process has started
/// (`proc_pid_stat(5)`): hundredths of a second on every architecture of this crate.
pub(crate) fn boot_ticks() -> u64 {
    read(libc::CLOCK_BOOTTIME) / 10_000_000
}

/// The clock `id`, in nanoseconds.
#[inline]
fn read(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: stores one structure. It cannot fail: every kernel has these clocks.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
