//! Processes seen from outside: whether they exist, and signals to them.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Sends `signal` to the process `pid`; panics if there is no such process.
#[track_caller]
pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(of(pid), signal).expect("the process exists");
}

/// Kills the process `pid`; panics if there is no such process.
#[track_caller]
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Kills the process `pid` if it exists.
pub(crate) fn kill_if_running(pid: u32) {
    let _ = kill_process(of(pid), Signal::KILL);
}

/// Whether the process `pid` has ended and been reaped.
pub(crate) fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

fn of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a pid is not 0")
}
