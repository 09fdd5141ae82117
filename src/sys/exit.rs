//! Exiting on the thread that ran the task, with a limit on the time of its thread-local destructors.
//!
//! The C library's `exit` first destroys the thread-locals of the calling thread, the last made first (glibc's
//! `__call_tls_dtors`), and then runs the `atexit` handlers. A thread-local of a task may wait for ever: a runtime
//! waits for a blocking call. So a timer runs during the destructors and ends the process when it expires. The oldest
//! thread-local, which is destroyed last, stops the timer: the `atexit` handlers have no time limit.
//!
//! # Safety
//!
//! The handler only calls `_exit`, and is installed only when the process has nothing left to do but to exit.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::time::Duration;

/// The time limit of a task's thread-local destructors: long for destructors that only free memory, short for the
/// application, which awaits the exit.
const DESTRUCTORS_LIMIT: Duration = Duration::from_millis(100);

/// Stops the timer when it is destroyed.
struct Oldest(Cell<bool>);

impl Drop for Oldest {
    fn drop(&mut self) {
        if self.0.get() {
            set_timer(Duration::ZERO);
        }
    }
}

thread_local! {
    static OLDEST: Oldest = const { Oldest(Cell::new(false)) };
}

/// Makes the oldest thread-local of the calling thread. Called before any other thread-local exists.
pub(crate) fn prepare() {
    OLDEST.with(|it| it.0.set(false));
}

/// Exits with status 0. The thread-local destructors of the calling thread take at most [`DESTRUCTORS_LIMIT`].
///
/// The calling thread has called [`prepare`].
pub(crate) fn exit() -> ! {
    // Other C libraries do not destroy thread-locals in `exit`, so nothing would stop the timer.
    if cfg!(target_env = "gnu") && OLDEST.try_with(|it| it.0.set(true)).is_ok() {
        start_timer();
    }
    std::process::exit(0)
}

fn start_timer() {
    // SAFETY: all-zero is a valid set of signals, and no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = leave as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the structure outlives the call, and the handler does nothing but end the process.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    let mut alarm = action.sa_mask;
    // SAFETY: a set of this function's own.
    unsafe { libc::sigaddset(&raw mut alarm, libc::SIGALRM) };
    // SAFETY: likewise; no other code of this process waits for this signal now.
    unsafe {
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const alarm, std::ptr::null_mut());
    }
    set_timer(DESTRUCTORS_LIMIT);
}

/// Has the kernel send `SIGALRM` once after this time (`setitimer(2)`). Zero stops the timer.
fn set_timer(after: Duration) {
    let never = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let timer = libc::itimerval {
        it_interval: never,
        it_value: libc::timeval {
            tv_sec: after.as_secs() as libc::time_t,
            tv_usec: libc::suseconds_t::from(after.subsec_micros()),
        },
    };
    // SAFETY: the structure outlives the call.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

extern "C" fn leave(_signal: libc::c_int) {
    // SAFETY: ends the process; allowed in a handler (`signal-safety(7)`).
    unsafe { libc::_exit(0) }
}
