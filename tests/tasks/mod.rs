//! Task functions that several test files run in workers and processes.

#![allow(dead_code, reason = "no test file needs all of it")]

use crate::notes::Notes;

/// The id of the process that runs the task.
pub(crate) fn pid() -> u32 {
    std::process::id()
}

/// Never returns, and uses no processor time.
pub(crate) fn parked() {
    loop {
        std::thread::park();
    }
}

/// Never returns, and uses all the processor time it can get.
pub(crate) fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// Writes its pid under `busy` and never returns.
pub(crate) fn busy(notes: Notes) {
    notes.write("busy", pid());
    parked();
}

/// Writes its pid under `name` and returns when the test has written something under `go`.
pub(crate) fn held(notes: Notes, name: String) -> u32 {
    notes.meet(&name, "go");
    pid()
}

/// Writes `n` under `ran`.
pub(crate) fn record_run(notes: Notes, n: usize) -> usize {
    notes.write("ran", n);
    n
}
