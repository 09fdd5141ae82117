//! One function in one process, a file for each subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "what a task is given is its own"
)]

#[path = "../deadline/mod.rs"]
mod deadline;
#[path = "../leftovers/mod.rs"]
mod leftovers;
#[path = "../notes/mod.rs"]
mod notes;
#[path = "../processes/mod.rs"]
mod processes;
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
mod scheduling;
mod signals;
mod streams;

use std::io::{self, Write as _};
use std::process::Stdio;

use procession::{Process, ProcessBuilder, ProcessHandle, StartMethod};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::deadline::within;
use crate::leftovers::{Found, everybody};
use crate::tasks::parked;

/// Says that it has come as far as this, on its stdout.
pub(crate) fn say(word: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{word}").unwrap();
    stdout.flush().unwrap();
}

pub(crate) fn parked_after_a_word() {
    say("here");
    parked();
}

/// Waits for the next line of a child's output.
pub(crate) async fn line(output: &mut (impl AsyncRead + Unpin)) -> String {
    let mut line = Vec::new();
    // Byte by byte: what comes after the line is not this function's.
    while line.last() != Some(&b'\n') {
        line.push(within(output.read_u8()).await.unwrap());
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// Starts `f`, which says a word when it is where the test wants it, and waits for the word.
pub(crate) async fn ready<R>(f: fn() -> R, mut handle: ProcessHandle<R>) -> ProcessHandle<R> {
    let _ = f;
    let mut stdout = handle.take_stdout().unwrap();
    line(&mut stdout).await;
    handle
}

/// A process that is in its function and stays there.
pub(crate) async fn busy() -> ProcessHandle<()> {
    let handle = Process::builder()
        .stdout(Stdio::piped())
        .spawn(parked_after_a_word, ());
    ready(parked_after_a_word, handle).await
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

pub(crate) fn found(pid: u32) -> Option<Found> {
    everybody().into_iter().find(|found| found.pid == pid)
}
