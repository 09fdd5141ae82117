//! Work that is dropped or aborted: it ends in every state, and affects no other task.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{ErrorKind, Pool};
use serde_bytes::ByteBuf;

use crate::deadline::{self, until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::pools::{idle, pids, ready};
use crate::tasks::{busy, pid, record_run};
use crate::{add, kinds};

#[procession::test]
async fn abort_handle_ends_its_task_and_no_other() {
    let board = Board::new();
    let pool = ready(1).await;
    let running = pool.spawn(busy, board.notes());
    board.lines("busy", 1).await;
    let waiting: Vec<_> = (0..5).map(|n| pool.spawn(add, (n, n))).collect();
    let third = waiting[2].abort_handle();
    assert!(!third.is_finished());
    third.abort();
    third.clone().abort();
    assert!(third.is_finished());
    let first = running.abort_handle();
    std::thread::spawn(move || first.abort()).join().unwrap();
    let error = within(running).await.unwrap_err();
    assert!(error.is_cancelled() && error.started(), "{error:?}");
    let outcomes = within(join_all(waiting)).await;
    let expected = [None, None, Some(ErrorKind::Cancelled), None, None];
    assert_eq!(kinds(&outcomes), expected);
    assert!(!outcomes[2].as_ref().unwrap_err().started());
    third.abort();
    assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
    let handle = pool.spawn(add, (1, 1));
    let late = handle.abort_handle();
    within(handle).await.unwrap();
    late.abort();
    drop(pool);
    late.abort();
    assert!(late.is_finished());
}

/// Pseudo-random numbers, the same in every run (xorshift, Marsaglia 2003).
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// Starts calls of all kinds and drops each at a random moment, unless it has finished before.
async fn drop_at_random(pool: &Pool, count: u64, seed: u64) {
    let mut random = random(seed);
    for n in 0..count {
        let micros = random(3_000);
        let sleepy = |micros: u64| std::thread::sleep(Duration::from_micros(micros));
        let lazy = async |micros: u64| tokio::time::sleep(Duration::from_micros(micros)).await;
        let echo = |bytes: ByteBuf| bytes;
        let patience = tokio::time::sleep(Duration::from_micros(random(4_000)));
        let moment = async {
            for _ in 0..random(30) {
                tokio::task::yield_now().await;
            }
            if n % 2 == 0 {
                patience.await;
            }
        };
        tokio::select! {
            () = moment => {}
            outcome = async {
                match n % 5 {
                    0 => pool.run(sleepy, micros).await,
                    1 => pool.run(lazy, micros).await,
                    2 => pool.run(sleepy, micros).timeout(Duration::from_millis(1)).await.or(Ok(())),
                    3 => pool.run(echo, ByteBuf::from(vec![7; 1 << 19])).await.map(drop),
                    _ => pool.map(sleepy, std::iter::repeat_n(micros / 8, 20)).await.map(drop),
                }
            } => outcome.unwrap(),
        }
    }
}

#[procession::test]
async fn run_dropped_a_thousand_times_leaves_nothing() {
    alone(
        "cancel::run_dropped_a_thousand_times_leaves_nothing",
        async {
            let pool = ready(2).await;
            let limit = Duration::from_secs(120);
            let drops = (1..=4).map(|seed| drop_at_random(&pool, 250, seed));
            deadline::within_limit(limit, join_all(drops)).await;
            idle(&pool).await;
            let metrics = pool.metrics();
            let failed = (metrics.crashed(), metrics.failed());
            assert_eq!(failed, (0, metrics.timed_out()), "{metrics:?}");
            assert!(
                metrics.cancelled() > 0 && metrics.completed() > 0,
                "{metrics:?}"
            );
            assert_eq!(metrics.running(), 0);
            let runs = (0..100).map(|n| pool.run(|n: u64| n, n));
            for outcome in within(join_all(runs)).await {
                outcome.unwrap();
            }
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn run_dropped_while_queued_never_starts() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(|notes: Notes| notes.meet("first", "go"), board.notes());
    board.lines("first", 1).await;
    let before = pids(&pool);
    {
        let mut runs: Vec<_> = (0..50)
            .map(|n| pool.run(record_run, (board.notes(), n)))
            .collect();
        for run in &mut runs {
            assert!(futures::poll!(run).is_pending());
        }
        let mut map = pool.map(record_run, (0..50).map(|n| (board.notes(), n)));
        assert!(futures::poll!(map.next()).is_pending());
        assert!(pool.metrics().queued() > 50);
    }
    assert_eq!((pool.metrics().queued(), pool.metrics().running()), (0, 1));
    board.write("go", 1);
    within(first).await.unwrap();
    for _ in 0..3 {
        within(pool.run(pid, ())).await.unwrap();
    }
    assert!(!board.has("ran"));
    assert_eq!(pids(&pool), before);
}

#[procession::test]
async fn run_dropped_while_queued_leaves_the_queue() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(|notes: Notes| notes.meet("first", "go"), board.notes());
    board.lines("first", 1).await;
    let kept: Vec<_> = (0..10)
        .map(|n| pool.spawn(record_run, (board.notes(), n)))
        .collect();
    for n in 0..20_000 {
        let mut run = pool.run(record_run, (board.notes(), 1_000 + n));
        assert!(futures::poll!(&mut run).is_pending());
    }
    board.write("go", 1);
    within(first).await.unwrap();
    for (n, outcome) in within(join_all(kept)).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n);
    }
    assert_eq!(board.read("ran").len(), 10);
}

#[procession::test]
async fn run_dropped_while_running_frees_its_own_worker_only() {
    alone(
        "cancel::run_dropped_while_running_frees_its_own_worker_only",
        async {
            let board = Board::new();
            let pool = ready(2).await;
            let other = pool.spawn(|notes: Notes| notes.meet("other", "go"), board.notes());
            let others = board.lines("other", 1).await;
            for n in 1..=5 {
                let mut run = pool.run(busy, board.notes());
                assert!(futures::poll!(&mut run).is_pending());
                board.lines("busy", n).await;
                drop(run);
                let seen = within(pool.run(pid, ())).await.unwrap();
                assert_ne!(seen.to_string(), others[0]);
            }
            assert!(!other.is_finished());
            board.write("go", 1);
            within(other).await.unwrap();
            // The last killed worker may end after its successor has started.
            until(|| pool.metrics().cancelled() == 5).await;
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn run_dropped_after_its_task_finished_keeps_the_worker() {
    let board = Board::new();
    let pool = ready(1).await;
    let mut workers = HashSet::new();
    for n in 0..20 {
        let mut run = pool.run(record_run, (board.notes(), n));
        assert!(futures::poll!(&mut run).is_pending());
        // The runtime has only this thread, so the pool does not see that the task has finished.
        board.wait_for("ran", n + 1);
        std::thread::sleep(Duration::from_millis(1));
        drop(run);
        workers.insert(within(pool.run(pid, ())).await.unwrap());
    }
    // A call that is dropped a moment too early may cost its worker, but not in every round. Each call is
    // counted once, at the latest when its worker has ended, which may be after the next call has started.
    assert!(workers.len() < 20, "{workers:?}");
    until(|| pool.metrics().completed() + pool.metrics().cancelled() == 40).await;
}

#[procession::test]
async fn abort_while_arguments_are_encoded_prevents_the_start() {
    alone(
        "cancel::abort_while_arguments_are_encoded_prevents_the_start",
        async {
            let board = Board::new();
            let pool = ready(1).await;
            for _ in 0..10 {
                let large = ByteBuf::from(vec![1; 16 << 20]);
                let handle = pool.spawn(
                    |notes: Notes, bytes: ByteBuf| notes.write("ran", bytes.len()),
                    (board.notes(), large),
                );
                handle.abort();
                assert!(within(handle).await.unwrap_err().is_cancelled());
            }
            idle(&pool).await;
            within(pool.run(pid, ())).await.unwrap();
            assert!(!board.has("ran"));
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn abort_gives_one_outcome() {
    let pool = ready(2).await;
    let mut random = random(99);
    let mut counts = (0, 0);
    for _ in 0..300 {
        let handle = pool.spawn(|micros: u64| micros, random(100));
        let end = Instant::now() + Duration::from_micros(random(200));
        while Instant::now() < end {
            tokio::task::yield_now().await;
        }
        handle.abort();
        handle.abort();
        match within(handle).await {
            Ok(_) => counts.0 += 1,
            Err(error) => {
                assert!(error.is_cancelled(), "{error:?}");
                counts.1 += 1;
            }
        }
    }
    idle(&pool).await;
    let metrics = pool.metrics();
    assert_eq!((metrics.completed(), metrics.cancelled()), counts);
}
