//! What tasks do. Runs in the workers.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use procession::{Cached, Emit, task};
use serde::{Deserialize, Deserializer, Serialize};
use serde_bytes::ByteBuf;

use crate::leftovers::processes::{kill, signal};
use crate::notes::Notes;
use crate::spin;

/// How much memory a task keeps that makes its worker grow.
const GROWTH: usize = 2 << 20;

/// More memory than a round allows a worker.
const TOO_MUCH: usize = 2 << 30;

/// What a task does before its end, and how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    Return,
    /// Computes for so many microseconds.
    Spin(u64),
    Sleep(u64),
    /// Gives signs of life for so many microseconds.
    SendAlive(u64),
    /// Leaves memory behind.
    Grow,
    /// Leaves a file in its scratch directory.
    LeaveFile,
    /// Leaves a process behind.
    LeaveChild,
    Panic,
    Abort,
    /// Kills its own worker.
    Kill,
    Segfault,
    Exit(u8),
    /// Asks for more memory than there is.
    AllocateTooMuch,
    /// Computes for ever.
    SpinForever,
    /// Waits for ever.
    Hang,
    /// Waits until it is cancelled, and returns.
    ReturnWhenCancelled,
    /// Waits until it is cancelled, and panics.
    PanicWhenCancelled,
}

impl Operation {
    /// Whether it ends only when it is ended.
    pub(crate) fn is_endless(self) -> bool {
        matches!(
            self,
            Self::SpinForever | Self::Hang | Self::ReturnWhenCancelled | Self::PanicWhenCancelled
        )
    }

    /// Whether it may use much processor time. A panic and a crash look up the names of functions.
    pub(crate) fn computes(self) -> bool {
        matches!(
            self,
            Self::SpinForever
                | Self::Panic
                | Self::PanicWhenCancelled
                | Self::Abort
                | Self::Segfault
                | Self::AllocateTooMuch
        )
    }

    /// The signal that ends its worker.
    pub(crate) fn signal(self) -> Option<i32> {
        match self {
            Self::Abort => Some(6),
            Self::Kill => Some(9),
            Self::Segfault => Some(11),
            _ => None,
        }
    }

    fn perform(self, notes: &Notes) {
        match self {
            Self::Return => {}
            Self::Spin(micros) => spin(Duration::from_micros(micros)),
            Self::Sleep(micros) => std::thread::sleep(Duration::from_micros(micros)),
            Self::SendAlive(micros) => send_alive(Duration::from_micros(micros)),
            Self::Grow => grow(),
            Self::LeaveFile => leave_a_file(notes),
            Self::LeaveChild => leave_a_child(),
            Self::Panic => panic!("as it was told to"),
            Self::Abort => std::process::abort(),
            Self::Kill => end_of_process(|| kill(std::process::id())),
            Self::Segfault => {
                end_of_process(|| signal(std::process::id(), rustix::process::Signal::SEGV));
            }
            Self::Exit(code) => std::process::exit(code.into()),
            Self::AllocateTooMuch => drop(std::hint::black_box(vec![1_u8; TOO_MUCH])),
            Self::SpinForever => loop {
                std::hint::spin_loop();
            },
            Self::Hang => end_of_process(|| ()),
            Self::ReturnWhenCancelled => wait_until_cancelled(),
            Self::PanicWhenCancelled => {
                wait_until_cancelled();
                panic!("as it was cancelled");
            }
        }
    }

    /// Does the same, and waits as a future where it waits.
    async fn perform_async(self, notes: &Notes) {
        match self {
            Self::Sleep(micros) => tokio::time::sleep(Duration::from_micros(micros)).await,
            Self::Hang => std::future::pending().await,
            Self::ReturnWhenCancelled => task::cancelled().await,
            other => other.perform(notes),
        }
    }
}

/// Waits for the end of this process.
fn end_of_process(how: impl FnOnce()) {
    how();
    loop {
        std::thread::park();
    }
}

fn send_alive(span: Duration) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        task::alive();
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn wait_until_cancelled() {
    while !task::is_cancelled() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn grow() {
    static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    KEPT.lock().unwrap().push(vec![1; GROWTH]);
}

fn leave_a_file(notes: &Notes) {
    let path = task::scratch_dir().unwrap();
    std::fs::write(path.join("left"), "behind").unwrap();
    notes.write("scratch", path.display());
}

#[allow(
    clippy::zombie_processes,
    reason = "the process is left behind on purpose"
)]
fn leave_a_child() {
    let mut sleep = Command::new("sleep");
    let sleep = sleep.arg("1000").stdin(Stdio::null());
    sleep
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
}

fn note(notes: &Notes, number: u64) {
    notes.write("ran", format!("{number} {}", std::process::id()));
}

/// What a call is given.
pub(crate) type Work = (Notes, u64, Operation, ByteBuf);

/// Notes that it runs, does what it was told, and returns its number.
pub(crate) fn work(
    notes: Notes,
    number: u64,
    operation: Operation,
    bytes: ByteBuf,
) -> (u64, ByteBuf) {
    note(&notes, number);
    operation.perform(&notes);
    (number, bytes)
}

/// As [`work`], and can be dropped while it waits.
pub(crate) async fn work_async(
    notes: Notes,
    number: u64,
    operation: Operation,
    bytes: ByteBuf,
) -> (u64, ByteBuf) {
    note(&notes, number);
    operation.perform_async(&notes).await;
    (number, bytes)
}

/// Sends `items` numbers before it does what it was told.
pub(crate) fn emit(emit: Emit<u64>, notes: Notes, number: u64, operation: Operation, items: u64) {
    note(&notes, number);
    for item in 0..items {
        emit.blocking_send(item);
    }
    operation.perform(&notes);
}

/// Reads a value that its worker has kept. Returns its number if the value is right.
pub(crate) fn look_up(
    values: Cached<Vec<u64>>,
    notes: Notes,
    number: u64,
    operation: Operation,
) -> u64 {
    note(&notes, number);
    operation.perform(&notes);
    let last = values.len() as u64 - 1;
    values.iter().take(1).sum::<u64>() + number - (values[last as usize] - last)
}

/// A result that cannot be decoded.
#[derive(Debug, Serialize)]
pub(crate) struct Undecodable(u64);

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer)?;
        Err(serde::de::Error::custom("it is undecodable"))
    }
}

pub(crate) fn return_undecodable(notes: Notes, number: u64) -> Undecodable {
    note(&notes, number);
    Undecodable(number)
}

/// Runs in each worker at once.
pub(crate) fn announce(notes: Notes, number: u64) -> (u64, u32) {
    note(&notes, number);
    (number, std::process::id())
}
