//! Ending a process on the thread that ran its task.
//!
//! The C library's `exit` first destroys the thread-locals of the thread that calls it, the last made first (glibc's
//! `__call_tls_dtors`), and then does what the program has arranged for its end. What a task has left in a
//! thread-local may wait for ever: a runtime waits for a blocking call. So a timer runs meanwhile, which ends the
//! process as it stands. The oldest thread-local, destroyed last, stops it: whatever else the program does at its
//! end has all the time it takes.
//!
//! # Safety
//!
//! The handler only calls `_exit`, and is there only when the program has nothing left to do but to end.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::time::Duration;

/// How long the thread-locals of a task may take.
const PATIENCE: Duration = Duration::from_millis(100);

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

/// Makes the thread-local that is to be the oldest of the calling thread.
pub(crate) fn prepare() {
    OLDEST.with(|it| it.0.set(false));
}

/// Ends this process with status 0, in reasonable time.
///
/// For the thread that has called [`prepare`].
pub(crate) fn exit() -> ! {
    // Elsewhere `exit` leaves thread-locals alone, and nobody would stop the timer.
    if cfg!(target_env = "gnu") && OLDEST.try_with(|it| it.0.set(true)).is_ok() {
        take_no_longer();
    }
    std::process::exit(0)
}

fn take_no_longer() {
    // SAFETY: all-zero is a valid set of signals, and no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = leave as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the structure outlives the call, and the handler does nothing but end the process.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    let mut alarm = action.sa_mask;
    // SAFETY: a set of this function's own.
    unsafe { libc::sigaddset(&raw mut alarm, libc::SIGALRM) };
    // SAFETY: likewise; nothing else waits for this signal any more.
    unsafe {
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const alarm, std::ptr::null_mut());
    }
    set_timer(PATIENCE);
}

/// Has `SIGALRM` come after so long (`setitimer(2)`), or never if that is nothing.
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
