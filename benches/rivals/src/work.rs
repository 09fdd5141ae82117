//! What the tasks do, the same for every contender, and how much of it.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procession::memory::Shared;
use rustix::time::{ClockId, clock_gettime};

/// Workers of a pool, unless the case is about a pool of [`CROWD`].
pub(crate) const WORKERS: usize = 2;
/// Workers of the pool that is started and shut down, and of the one whose memory is measured.
pub(crate) const CROWD: usize = 4;
/// Tasks awaited at the same time in `submitters`.
pub(crate) const SUBMITTERS: u64 = 64;
/// Items of `map-default`.
pub(crate) const ITEMS: u64 = 1_000_000;
/// Bytes of `big-argument`.
pub(crate) const BIG: usize = 64 << 20;
/// Tasks of `speedup`: half a second of work for one worker.
pub(crate) const LONG_TASKS: usize = 100;
/// CPU time of one of them, in microseconds.
pub(crate) const LONG_TASK: u64 = 5_000;
/// Tasks that `timer` keeps submitted: several per worker, so that none ever waits for the next.
pub(crate) const BACKLOG: usize = 8;
/// How long each of them spins, in microseconds.
pub(crate) const BUSY_TASK: u64 = 5_000;
/// A message of 64 bytes: as many as it has, whatever encodes it.
pub(crate) type Message = ([u8; 32], [u8; 32]);
/// The message that is sent.
pub(crate) const MESSAGE: Message = ([7; 32], [200; 32]);
/// Messages that a bounded channel holds.
pub(crate) const DEPTH: usize = 1024;
/// Bytes of a large message.
pub(crate) const LARGE: usize = 1 << 20;

/// Tasks that wait in `queued-`.
pub(crate) const QUEUED: usize = 100_000;
/// The time after which the loop of `cancelled-loop` is over time.
pub(crate) const LOOP_LIMIT: Duration = Duration::from_millis(5);
/// Time between two reads of the metrics.
pub(crate) const READ_INTERVAL: Duration = Duration::from_millis(1);

/// Processes started at the same time in `start-rate`.
pub(crate) const AT_ONCE: usize = 16;
/// Time between two starts in `start-apart`: so long that no spare is forked for the second.
pub(crate) const APART: Duration = Duration::from_millis(50);
/// Bytes of heap and threads of the parent in `start-large`.
pub(crate) const HEAP: usize = 1 << 30;
pub(crate) const THREADS: usize = 64;
/// Bytes that are loaded once in `preload-`.
pub(crate) const LOADED: u64 = 1 << 30;

/// The tiny task.
pub(crate) fn increment(x: u64) -> u64 {
    x.wrapping_add(1)
}

/// Which worker this is. It dwells for a moment, so that the workers that are still starting get
/// their share of the tasks.
pub(crate) fn whoami() -> u32 {
    thread::sleep(Duration::from_millis(1));
    process::id()
}

/// Uses `micros` of this thread's CPU time: neither a neighbour nor a preemption makes it less.
pub(crate) fn burn(micros: u64) {
    let end = cpu_time() + Duration::from_micros(micros);
    while cpu_time() < end {}
}

/// Computes for `micros` without ever entering the kernel, as real work does: the clock of a
/// thread's CPU time is a system call, and each is a chance for the kernel to switch.
pub(crate) fn spin(micros: u64) {
    let end = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < end {}
}

/// Says when it has begun, and computes until it is killed.
pub(crate) fn spin_for_ever(begun: Shared<AtomicU64>) {
    begun.store(now(), Ordering::Release);
    loop {
        std::hint::spin_loop();
    }
}

/// The nanoseconds of a clock that all processes have.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Reads both ends of a big argument, so that it must really be there.
pub(crate) fn length(bytes: &[u8]) -> u64 {
    assert_eq!((bytes.first(), bytes.last()), (Some(&1), Some(&1)));
    bytes.len() as u64
}

/// The big argument, every page of it in memory.
pub(crate) fn big() -> Vec<u8> {
    vec![1; BIG]
}

/// Makes this process large until the returned value is dropped.
pub(crate) fn ballast() -> Vec<u8> {
    for _ in 0..THREADS {
        thread::spawn(|| {
            loop {
                thread::park();
            }
        });
    }
    vec![1; HEAP]
}

pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("CPU time is never negative")
}
