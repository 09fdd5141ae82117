//! Processes of this machine seen from outside: which exist, and signals to them.

use std::fmt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// One process, as `/proc/PID/stat` describes it (`proc_pid_stat(5)`).
#[derive(Debug, Clone)]
pub(crate) struct ProcessInfo {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) state: char,
    pub(crate) command: String,
}

impl ProcessInfo {
    /// The process `pid`, if it exists.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command may contain parentheses. No field behind it does.
        let (head, tail) = stat.rsplit_once(')')?;
        let (_, command) = head.split_once('(')?;
        let mut fields = tail.split_whitespace();
        Some(Self {
            pid,
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            command: command.to_owned(),
        })
    }

    /// Whether it is a fork server, which runs for as long as its parent.
    pub(crate) fn is_fork_server(&self) -> bool {
        self.command == "procession-fork" && !self.has_ended()
    }

    /// Whether it is a spare: a forked child that has no task yet.
    pub(crate) fn is_spare(&self) -> bool {
        self.command.starts_with("procession-spar")
    }

    /// Whether it has ended and its parent has not reaped it yet.
    pub(crate) fn has_ended(&self) -> bool {
        self.state == 'Z'
    }

    /// Whether all its threads are stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state == 'T'
    }
}

impl fmt::Display for ProcessInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid,
            parent,
            state,
            command,
        } = self;
        write!(
            f,
            "process {pid} ({command}, state {state}), child of {parent}"
        )
    }
}

/// Every process of this machine.
pub(crate) fn all_processes() -> Vec<ProcessInfo> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(ProcessInfo::of)
        .collect()
}

/// The children of this process.
pub(crate) fn children() -> Vec<ProcessInfo> {
    let mut found = all_processes();
    found.retain(|process| process.parent == std::process::id());
    found
}

/// The children of this process, their children and so on, including ended processes that are not reaped.
/// Fork servers are left out: they run for as long as their parent.
pub(crate) fn descendants() -> Vec<ProcessInfo> {
    let all = all_processes();
    let mut family = vec![std::process::id()];
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        for process in all.iter().filter(|process| process.parent == parent) {
            family.push(process.pid);
            found.push(process.clone());
        }
        next += 1;
    }
    found.retain(|process| !process.is_fork_server());
    found
}

/// The running processes that were started with `key=value` in their environment, without this process.
/// The variable outlives the parent of a process; it does not outlive the process.
pub(crate) fn marked(key: &str, value: &str) -> Vec<ProcessInfo> {
    let variable = format!("{key}={value}");
    let has_mark = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|found| found == variable.as_bytes())
    };
    let mut found = all_processes();
    found.retain(|process| process.pid != std::process::id() && has_mark(process.pid));
    found
}

/// Kills every process that [`marked`] finds.
pub(crate) fn kill_marked(key: &str, value: &str) {
    for process in marked(key, value) {
        kill_if_running(process.pid);
    }
}

/// Sends `signal` to the process `pid`; panics if there is no such process.
#[track_caller]
pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(pid_of(pid), signal).expect("the process exists");
}

/// Kills the process `pid`; panics if there is no such process.
#[track_caller]
pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Sends `signal` to the process `pid` if it exists.
#[track_caller]
pub(crate) fn signal_if_running(pid: u32, signal: Signal) {
    let _ = kill_process(pid_of(pid), signal);
}

/// Kills the process `pid` if it exists.
#[track_caller]
pub(crate) fn kill_if_running(pid: u32) {
    signal_if_running(pid, Signal::KILL);
}

/// Whether the process `pid` has ended and been reaped.
pub(crate) fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[track_caller]
fn pid_of(pid: u32) -> Pid {
    let number = i32::try_from(pid).expect("a pid fits into an i32");
    Pid::from_raw(number).expect("0 is not a process")
}
