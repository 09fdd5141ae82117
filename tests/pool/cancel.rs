//! Work that is dropped or aborted: it ends in every state, and affects no other task.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{ErrorKind, Pool};
use serde_bytes::ByteBuf;

use crate::deadline::{self, until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Desk};
use crate::pools::{idle, pids, ready};
use crate::tasks::{busy, note, pid};
use crate::{add, kinds};

#[procession::test]
async fn an_abort_handle_ends_its_task_and_no_other() {
    let board = Board::new();
    let pool = ready(1).await;
    let running = pool.spawn(busy, board.desk());
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

/// Numbers that look random and are the same every time (xorshift, Marsaglia 2003).
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// Starts calls of all kinds and drops every one at some moment.
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
async fn a_thousand_dropped_calls_leave_nothing() {
    alone("cancel::a_thousand_dropped_calls_leave_nothing", async {
        let pool = ready(2).await;
        let limit = Duration::from_secs(120);
        let drops = (1..=4).map(|seed| drop_at_random(&pool, 250, seed));
        deadline::within_limit(limit, join_all(drops)).await;
        idle(&pool).await;
        let metrics = pool.metrics();
        assert_eq!((metrics.crashed(), metrics.failed()), (0, 0), "{metrics:?}");
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
    })
    .await;
}

#[procession::test]
async fn what_is_dropped_while_it_waits_never_runs() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(|desk: Desk| desk.meet("first", "go"), board.desk());
    board.lines("first", 1).await;
    let before = pids(&pool);
    {
        let mut runs: Vec<_> = (0..50).map(|n| pool.run(note, (board.desk(), n))).collect();
        for run in &mut runs {
            assert!(futures::poll!(run).is_pending());
        }
        let mut map = pool.map(note, (0..50).map(|n| (board.desk(), n)));
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
async fn what_comes_and_goes_while_nothing_is_given_out_does_not_pile_up() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(|desk: Desk| desk.meet("first", "go"), board.desk());
    board.lines("first", 1).await;
    let kept: Vec<_> = (0..10)
        .map(|n| pool.spawn(note, (board.desk(), n)))
        .collect();
    for n in 0..20_000 {
        let mut run = pool.run(note, (board.desk(), 1_000 + n));
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
async fn a_dropped_call_gives_its_slot_back_and_nobody_else_s() {
    alone(
        "cancel::a_dropped_call_gives_its_slot_back_and_nobody_else_s",
        async {
            let board = Board::new();
            let pool = ready(2).await;
            let other = pool.spawn(|desk: Desk| desk.meet("other", "go"), board.desk());
            let others = board.lines("other", 1).await;
            for n in 1..=5 {
                let mut run = pool.run(busy, board.desk());
                assert!(futures::poll!(&mut run).is_pending());
                board.lines("busy", n).await;
                drop(run);
                let seen = within(pool.run(pid, ())).await.unwrap();
                assert_ne!(seen.to_string(), others[0]);
            }
            assert!(!other.is_finished());
            board.write("go", 1);
            within(other).await.unwrap();
            // The last one's worker may still be dying while its successor is there.
            until(|| pool.metrics().cancelled() == 5).await;
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn a_call_that_is_done_is_not_killed_by_being_dropped() {
    let board = Board::new();
    let pool = ready(1).await;
    let mut workers = HashSet::new();
    for n in 0..20 {
        let mut run = pool.run(note, (board.desk(), n));
        assert!(futures::poll!(&mut run).is_pending());
        // This thread is the runtime's only one: the pool does not see that it is done.
        board.wait_for("ran", n + 1);
        std::thread::sleep(Duration::from_millis(1));
        drop(run);
        workers.insert(within(pool.run(pid, ())).await.unwrap());
    }
    // Dropped a moment too early, it may have cost its worker: not every time. And each has one outcome, at the latest
    // when its worker has ended: the next one may be at work before.
    assert!(workers.len() < 20, "{workers:?}");
    until(|| pool.metrics().completed() + pool.metrics().cancelled() == 40).await;
}

#[procession::test]
async fn aborted_while_its_arguments_are_being_encoded() {
    alone(
        "cancel::aborted_while_its_arguments_are_being_encoded",
        async {
            let board = Board::new();
            let pool = ready(1).await;
            for _ in 0..10 {
                let large = ByteBuf::from(vec![1; 16 << 20]);
                let handle = pool.spawn(
                    |desk: Desk, bytes: ByteBuf| desk.write("ran", bytes.len()),
                    (board.desk(), large),
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
async fn an_aborted_task_has_one_outcome() {
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
