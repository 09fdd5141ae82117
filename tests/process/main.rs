//! `Process` through its public interface: one file for each topic.
//!
//! This file has what several topics use.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "arguments of tasks are owned values"
)]

#[path = "../asleep/mod.rs"]
mod asleep;
#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../executor/mod.rs"]
mod executor;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;
#[path = "../tasks/mod.rs"]
mod tasks;

mod abort;
mod builder;
mod detach;
mod drop;
mod exit;
mod family;
mod identity;
mod limits;
mod parent_end;
mod replaced;
mod room;
mod runtimes;
mod scheduling;
mod signals;
mod streams;
mod terminal;

use std::io::{self, Write as _};
use std::process::Stdio;

use procession::{Process, ProcessBuilder, ProcessHandle, StartMethod};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::deadline::within;
use crate::leftovers::processes::{ProcessInfo, all_processes};
use crate::tasks::parked;

/// Writes a line to stdout. A test reads it to know how far the process has come.
pub(crate) fn say(word: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{word}").unwrap();
    stdout.flush().unwrap();
}

pub(crate) fn say_and_park() {
    say("here");
    parked();
}

/// Reads the next line of a child's output.
pub(crate) async fn read_line(output: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    // Byte by byte: the output behind the line stays unread.
    while line.last() != Some(&b'\n') {
        line.push(within(output.read_u8()).await.unwrap());
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// Waits until the process has written its first line to its piped stdout.
pub(crate) async fn has_spoken<R>(mut handle: ProcessHandle<R>) -> ProcessHandle<R> {
    let mut stdout = handle.take_stdout().unwrap();
    read_line(&mut stdout).await;
    handle
}

/// A process whose function has started and never returns.
pub(crate) async fn parked_process() -> ProcessHandle<()> {
    let handle = Process::builder()
        .stdout(Stdio::piped())
        .spawn(say_and_park, ());
    has_spoken(handle).await
}

pub(crate) const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Exec];

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn by(method: StartMethod) -> ProcessBuilder {
    Process::builder().start_method(method)
}

pub(crate) fn command_line(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line)
        .trim_end_matches('\0')
        .to_owned()
}

pub(crate) fn found(pid: u32) -> Option<ProcessInfo> {
    all_processes().into_iter().find(|found| found.pid == pid)
}
