//! Messages of a queue that were received and are not done, counted by receiving process.
//!
//! The channel's memory has a table with a row for each process that receives: messages received, messages done. A
//! receiver counts a message before it takes it, and sets a bit of the counter until it has taken it. If it dies in
//! between, the next holder of the receivers' lock sees the bit and corrects the count. What must stay true: the
//! received counters are written only under the receivers' lock. Never here: that lock; `mpmc` has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::shm::{ROWS, Shm};

/// The row of a process that has received nothing.
const NO_ROW: usize = usize::MAX;

/// The last row, which all processes share that found no row of their own. It belongs to no process.
const SHARED_ROW: usize = ROWS - 1;

/// The bit of the received counter that says that the last message is being taken.
const IS_TAKING: u64 = 1 << 63;

/// The table, as one end of this process uses it.
#[derive(Debug)]
pub(super) struct Unfinished {
    shm: Arc<Shm>,
    /// The row of this process, once it is known.
    row: AtomicUsize,
}

impl Unfinished {
    pub(super) fn new(shm: Arc<Shm>) -> Self {
        Self {
            shm,
            row: AtomicUsize::new(NO_ROW),
        }
    }

    /// Counts a message that this process is about to take. Needs the receivers' lock.
    #[inline]
    pub(super) fn begin_receive(&self) {
        let mut row = self.row.load(Ordering::Relaxed);
        if row == NO_ROW {
            row = self.find_row();
            self.row.store(row, Ordering::Relaxed);
        }
        let received = self.shm.row_received(row);
        // A load and a store are enough: only the holder of the lock writes the counter.
        let before = received.load(Ordering::Relaxed) & !IS_TAKING;
        received.store((before + 1) | IS_TAKING, Ordering::Release);
    }

    /// Notes that the message that was counted last is taken. Needs the receivers' lock.
    #[inline]
    pub(super) fn finish_receive(&self) {
        let received = self.shm.row_received(self.row.load(Ordering::Relaxed));
        let count = received.load(Ordering::Relaxed) & !IS_TAKING;
        received.store(count, Ordering::Release);
    }

    /// Completes the count of a receiver that died with the lock. `was_taken` says whether it had taken its message.
    /// Needs the receivers' lock.
    pub(super) fn recover(&self, was_taken: bool) {
        for row in 0..ROWS {
            let received = self.shm.row_received(row);
            let counted = received.load(Ordering::Relaxed);
            if counted & IS_TAKING != 0 {
                let excess = u64::from(!was_taken);
                let count = (counted & !IS_TAKING).saturating_sub(excess);
                received.store(count, Ordering::Release);
            }
        }
    }

    /// Counts one message as done. False if this process received none that is not done.
    pub(super) fn mark_done(&self) -> bool {
        let Some(row) = self.known_row() else {
            return false;
        };
        let (received, done) = (self.shm.row_received(row), self.shm.row_done(row));
        let counted = done.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < received.load(Ordering::Acquire) & !IS_TAKING).then(|| count + 1)
        });
        counted.is_ok()
    }

    /// How many messages were received and are not done.
    pub(super) fn received(&self) -> usize {
        self.count(|_| true)
    }

    /// How many of them were received by processes that have ended.
    pub(super) fn lost(&self) -> usize {
        self.count(|row| self.has_ended(row))
    }

    /// The row of this process, if it or another end of this process has received.
    fn known_row(&self) -> Option<usize> {
        let known = self.row.load(Ordering::Relaxed);
        if known != NO_ROW {
            return Some(known);
        }
        let row = self.own_row(std::process::id(), own_start())?;
        self.row.store(row, Ordering::Relaxed);
        Some(row)
    }

    /// A row for this process: its own, a free one, or the shared one. Needs the receivers' lock.
    fn find_row(&self) -> usize {
        let (pid, started) = (std::process::id(), own_start());
        self.own_row(pid, started).unwrap_or_else(|| {
            let free = (0..SHARED_ROW).find(|row| self.claim_row(*row, pid, started));
            free.unwrap_or(SHARED_ROW)
        })
    }

    fn own_row(&self, pid: u32, started: u64) -> Option<usize> {
        (0..SHARED_ROW).find(|row| {
            self.shm.row_pid(*row).load(Ordering::Acquire) == u64::from(pid)
                && self.shm.row_started(*row).load(Ordering::Acquire) == started
        })
    }

    /// Claims the row if it is unused, or its process has ended and left nothing undone. Needs the receivers' lock.
    fn claim_row(&self, row: usize, pid: u32, started: u64) -> bool {
        let is_free = self.shm.row_pid(row).load(Ordering::Acquire) == 0
            || (self.undone(row) == 0 && self.has_ended(row));
        if is_free {
            // In this order: a process that dies in between leaves an unused row.
            self.shm.row_pid(row).store(0, Ordering::Release);
            self.shm.row_started(row).store(started, Ordering::Release);
            let owner = self.shm.row_pid(row);
            owner.store(u64::from(pid), Ordering::Release);
        }
        is_free
    }

    /// Whether the process of `row` has ended. The shared row has no process.
    fn has_ended(&self, row: usize) -> bool {
        let pid = self.shm.row_pid(row).load(Ordering::Acquire) as u32;
        let started = self.shm.row_started(row).load(Ordering::Acquire);
        pid != 0
            && ProcessLife::of(pid)
                .is_none_or(|life| life.has_ended || (started != 0 && life.started != started))
    }

    fn count(&self, of: impl Fn(usize) -> bool) -> usize {
        let rows = (0..ROWS).map(|row| (row, self.undone(row)));
        let counted = rows.filter(|(row, undone)| *undone > 0 && of(*row));
        counted.fold(0, |sum, (_, undone)| sum.saturating_add(undone))
    }

    /// How many messages were received in `row` and are not done.
    fn undone(&self, row: usize) -> usize {
        // Read `done` before `received`: a racing update can then only over-count, never under-count.
        let done = self.shm.row_done(row).load(Ordering::Acquire);
        let received = self.shm.row_received(row).load(Ordering::Acquire) & !IS_TAKING;
        received.saturating_sub(done) as usize
    }
}

/// When this process started.
fn own_start() -> u64 {
    ProcessLife::of(std::process::id()).map_or(0, |life| life.started)
}

/// What the kernel says about a process.
struct ProcessLife {
    /// In clock ticks since the machine was booted.
    started: u64,
    /// The process has ended, and its parent has not reaped it yet.
    has_ended: bool,
}

impl ProcessLife {
    /// Reads `/proc/PID/stat` (`proc_pid_stat(5)`); `None` if there is no such process.
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may contain anything, parentheses too. The fields behind it contain none.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X");
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { started, has_ended })
    }
}
