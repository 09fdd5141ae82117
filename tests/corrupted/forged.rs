//! Words of a worker's rings that say what is not so.

use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use procession::{ErrorKind, JoinError};

use crate::deadline::within;
use crate::descriptors::ring_doorbells;
use crate::memory::{be_quiet, fill, mappings, own_memory};
use crate::{double, working_pool};

/// Says that it has not begun, and dies.
fn poison() {
    be_quiet();
    fill("memfd:procession-worker", 0);
    std::process::abort()
}

#[procession::test]
async fn task_that_hides_its_start_is_not_tried_for_ever() {
    let pool = working_pool(2).await;
    let poisoned: Vec<_> = (0..4).map(|_| pool.spawn(poison, ())).collect();
    let honest: Vec<_> = (0..40).map(|n| pool.spawn(double, n)).collect();
    for (n, call) in honest.into_iter().enumerate() {
        match within(call).await {
            Ok(value) => assert_eq!(value, 2 * n as u64),
            // It ran in such a worker before, and its reply was overwritten before it was read.
            Err(error) => assert!(error.started() && says_nonsense(&error), "{error}"),
        }
    }
    for call in poisoned {
        let error = within(call).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Crashed, "{error}");
    }
    assert_eq!(within(pool.run(double, 1)).await.unwrap(), 2);
}

fn says_nonsense(error: &JoinError) -> bool {
    error.is_crashed() && error.to_string().contains("wrote what cannot be")
}

/// Overwrites every stamp of the last second in its rings by one of the far future, again and again.
fn stamp_the_future() {
    be_quiet();
    let memory = own_memory();
    let ranges = mappings("memfd:procession-worker");
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let now = (seconds * 1e9) as u64;
    let recent = now - 2_000_000_000..now + 10_000_000_000;
    loop {
        for range in &ranges {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            memory.read_exact_at(&mut bytes, range.start).unwrap();
            for (place, word) in bytes.chunks_exact(8).enumerate() {
                let word = u64::from_ne_bytes(word.try_into().unwrap());
                if recent.contains(&word) {
                    let at = range.start + 8 * place as u64;
                    memory
                        .write_all_at(&(u64::MAX / 2).to_ne_bytes(), at)
                        .unwrap();
                }
            }
        }
    }
}

#[procession::test]
async fn time_limit_holds_for_a_worker_that_stamps_the_future() {
    let pool = working_pool(2).await;
    let began = Instant::now();
    let call = pool
        .run(stamp_the_future, ())
        .timeout(Duration::from_millis(200));
    let error = within(call).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert_eq!(within(pool.run(double, 1)).await.unwrap(), 2);
}

/// How much longer than its limit a worker may take that does not start its task, because it was stopped
/// (`src/pool/driving/time_limit.rs`).
const UNSTARTED: Duration = Duration::from_secs(5);

/// Erases its rings again and again: it never says that it has begun.
fn erase_for_ever() {
    be_quiet();
    loop {
        fill("memfd:procession-worker", 0);
    }
}

#[procession::test]
async fn time_limit_holds_for_a_worker_that_erases_its_rings() {
    let pool = working_pool(1).await;
    let call = pool
        .run(erase_for_ever, ())
        .timeout(Duration::from_millis(200));
    // The parent sees that its request is erased when the limit is over. It may be tried three times.
    let began = Instant::now();
    let error = within(call).await.unwrap_err();
    let taken = began.elapsed();
    assert!(taken < UNSTARTED, "{taken:?}: {error}");
    let expected = [ErrorKind::TimedOut, ErrorKind::Crashed];
    assert!(expected.contains(&error.kind()), "{error}");
    assert_eq!(within(pool.run(double, 1)).await.unwrap(), 2);
}

/// Overwrites its rings by bytes that are no frames, has the parent read them, and continues as if nothing had
/// happened.
fn overwrite(byte: u8) {
    be_quiet();
    fill("memfd:procession-worker", byte);
    ring_doorbells();
    std::thread::park();
}

#[procession::test]
async fn worker_that_overwrites_its_rings_is_killed_and_says_why() {
    let pool = working_pool(1).await;
    let error = within(pool.run(overwrite, 0xa5)).await.unwrap_err();
    assert!(says_nonsense(&error), "{error}");
    assert_eq!(pool.metrics().corrupted(), 1);
    assert_eq!(within(pool.run(double, 1)).await.unwrap(), 2);
}
