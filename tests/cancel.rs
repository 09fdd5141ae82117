//! Work that is not wanted any more: it ends wherever it is, takes nobody with it and leaves nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;
mod notes;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use deadline::{until, within};
use futures::StreamExt as _;
use futures::future::join_all;
use leftovers::alone;
use notes::{Board, Desk};
use procession::task::{cancelled, is_cancelled};
use procession::{Pool, PoolBuilder, WorkerState};
use serde_bytes::ByteBuf;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

const SHORT: Duration = Duration::from_millis(50);

fn pid() -> u32 {
    std::process::id()
}

fn parked() {
    loop {
        std::thread::park();
    }
}

fn busy(desk: Desk) {
    desk.write("busy", pid());
    parked();
}

fn note(desk: Desk, n: usize) -> usize {
    desk.write("ran", n);
    n
}

fn pids(pool: &Pool) -> HashSet<u32> {
    pool.workers()
        .iter()
        .filter_map(procession::WorkerInfo::pid)
        .collect()
}

async fn idle(pool: &Pool) {
    until(|| {
        let infos = pool.workers();
        infos.iter().all(|it| it.state() == WorkerState::Idle) && pool.metrics().queued() == 0
    })
    .await;
}

async fn built(builder: PoolBuilder) -> Pool {
    let pool = builder.build().unwrap();
    idle(&pool).await;
    pool
}

async fn ready(workers: usize) -> Pool {
    built(Pool::builder().workers(workers)).await
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

// ---- dropped -----------------------------------------------------------------------------------

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
    alone("a_thousand_dropped_calls_leave_nothing", async {
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
        "a_dropped_call_gives_its_slot_back_and_nobody_else_s",
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
    alone("aborted_while_its_arguments_are_being_encoded", async {
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
    })
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

// ---- cooperative -------------------------------------------------------------------------------

fn graceful(workers: usize, grace: Duration) -> PoolBuilder {
    Pool::builder().workers(workers).cancel_grace(grace)
}

/// Stops when it is told to, and says so.
fn stops(desk: Desk, n: usize) -> usize {
    desk.write("busy", n);
    let end = Instant::now() + deadline::LIMIT;
    while !is_cancelled() {
        assert!(Instant::now() < end, "nobody told");
        std::thread::sleep(Duration::from_millis(1));
    }
    desk.write("stopped", n);
    n
}

async fn stops_async(desk: Desk, n: usize) -> usize {
    desk.write("busy", n);
    cancelled().await;
    assert!(is_cancelled());
    desk.write("stopped", n);
    n
}

#[procession::test]
async fn a_task_that_stops_when_it_is_told_saves_its_worker() {
    let board = Board::new();
    let pool = built(graceful(1, LONG)).await;
    let before = pids(&pool);

    let aborted = pool.spawn(stops, (board.desk(), 0));
    board.lines("busy", 1).await;
    aborted.abort();
    aborted.abort();
    assert!(within(aborted).await.unwrap_err().is_cancelled());

    let timed = pool.run(stops_async, (board.desk(), 1)).timeout(SHORT);
    let error = within(timed).await.unwrap_err();
    assert!(error.is_timed_out() && error.started(), "{error:?}");

    let mut dropped = Box::pin(pool.run(stops_async, (board.desk(), 2)));
    assert!(futures::poll!(&mut dropped).is_pending());
    board.lines("busy", 3).await;
    drop(dropped);
    board.lines("stopped", 3).await;

    // The next one is not told what was meant for them.
    assert!(!within(pool.run(is_cancelled, ())).await.unwrap());
    let patient = async || {
        let never = cancelled();
        tokio::time::timeout(SHORT, never).await.is_err()
    };
    assert!(within(pool.run(patient, ())).await.unwrap());
    assert_eq!(pids(&pool), before);
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.cancelled(), metrics.timed_out()),
        (2, 1),
        "{metrics:?}"
    );
}

#[procession::test]
async fn a_task_that_does_not_stop_is_killed_after_its_grace() {
    alone(
        "a_task_that_does_not_stop_is_killed_after_its_grace",
        async {
            let board = Board::new();
            let grace = 4 * SHORT;
            let pool = built(graceful(2, grace)).await;
            let other = pool.spawn(|desk: Desk| desk.meet("other", "go"), board.desk());
            board.lines("other", 1).await;
            let before = pids(&pool);
            let handle = pool.spawn(busy, board.desk());
            board.lines("busy", 1).await;
            let told = Instant::now();
            handle.abort();
            let error = within(handle).await.unwrap_err();
            assert!(error.is_cancelled() && error.started(), "{error:?}");
            assert!(told.elapsed() >= grace);
            idle_but(&pool, 1).await;
            assert_eq!(pids(&pool).intersection(&before).count(), 1);
            board.write("go", 1);
            within(other).await.unwrap();
            let limited = pool.run(busy, board.desk()).timeout(SHORT);
            assert!(within(limited).await.unwrap_err().is_timed_out());
            within(pool.shutdown()).await;
        },
    )
    .await;
}

async fn idle_but(pool: &Pool, busy: usize) {
    until(|| {
        let infos = pool.workers();
        let state = |state| infos.iter().filter(|it| it.state() == state).count();
        infos.len() == 2 && state(WorkerState::Busy) == busy && state(WorkerState::Idle) == 2 - busy
    })
    .await;
}

#[procession::test]
async fn what_stands_behind_a_task_in_its_grace_runs_elsewhere() {
    let board = Board::new();
    let pool = built(graceful(1, LONG)).await;
    let handle = pool.spawn(stops, (board.desk(), 0));
    board.lines("busy", 1).await;
    let behind: Vec<_> = (0..20)
        .map(|n| pool.spawn(note, (board.desk(), n)))
        .collect();
    handle.abort();
    assert!(within(handle).await.unwrap_err().is_cancelled());
    for (n, outcome) in within(join_all(behind)).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n);
    }
    assert_eq!(board.read("ran").len(), 20);
}

#[procession::test]
async fn a_large_result_does_not_make_a_cancelled_task_succeed() {
    let board = Board::new();
    let pool = built(graceful(1, LONG)).await;
    let task = |desk: Desk| {
        stops(desk, 0);
        ByteBuf::from(vec![1; 1 << 20])
    };
    for n in 1..=3 {
        let handle = pool.spawn(task, board.desk());
        board.lines("busy", n).await;
        handle.abort();
        assert!(within(handle).await.unwrap_err().is_cancelled());
    }
    assert_eq!(pool.metrics().cancelled(), 3);
    assert_eq!(pool.metrics().completed(), 0);
}

#[procession::test]
async fn terminate_does_not_wait_for_the_grace() {
    alone("terminate_does_not_wait_for_the_grace", async {
        let board = Board::new();
        let pool = built(graceful(2, LONG)).await;
        let handles: Vec<_> = (0..4).map(|_| pool.spawn(busy, board.desk())).collect();
        board.lines("busy", 2).await;
        handles[0].abort();
        within(pool.terminate()).await;
        for outcome in within(join_all(handles)).await {
            assert!(outcome.unwrap_err().is_cancelled());
        }
    })
    .await;
}

#[procession::test]
async fn outside_a_task_nothing_is_cancelled() {
    assert!(!is_cancelled());
    assert!(futures::poll!(Box::pin(cancelled())).is_pending());
}

// ---- time --------------------------------------------------------------------------------------

#[procession::test]
async fn time_that_the_executor_takes_is_not_the_task_s() {
    let board = Board::new();
    let pool = ready(1).await;
    // More results than the ring holds: the last ones wait for somebody to read them.
    let task = |desk: Desk, n: usize| {
        desk.write("ran", n);
        ByteBuf::from(vec![1; 50_000])
    };
    let items = (0..20).map(|n| (board.desk(), n));
    let mut map = pool.map(task, items).chunk_size(20).timeout(2 * SHORT);
    assert!(futures::poll!(map.next()).is_pending());
    board.wait_for("ran", 5);
    std::thread::sleep(6 * SHORT);
    let mut count = 0;
    while let Some(outcome) = within(map.next()).await {
        outcome.unwrap();
        count += 1;
    }
    assert_eq!(count, 20);
}
