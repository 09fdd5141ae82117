//! A queue with limits: what waits for room, what is refused, and in which order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{ErrorKind, Pool, Priority, TaskHandle};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::notes::{Board, Notes};
use crate::pools::all_idle;
use crate::tasks::{held, record_run, spin};
use crate::{add, made, run_short_tasks};

/// A pool of one worker, which runs a task until something is written under `go`.
async fn busy(board: &Board, limit: usize) -> (Pool, TaskHandle<u32>) {
    let pool = Pool::builder().workers(1).queue_limit(limit);
    let pool = pool.build().unwrap();
    let running = hold(board, &pool).await;
    (pool, running)
}

async fn hold(board: &Board, pool: &Pool) -> TaskHandle<u32> {
    all_idle(pool, 1).await;
    let running = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    running
}

/// An argument that leaves a note when it is encoded.
#[derive(Deserialize)]
struct Noted(Notes);

impl Serialize for Noted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write("encoded", "");
        self.0.serialize(serializer)
    }
}

#[procession::test]
async fn try_spawn_gives_the_arguments_back_when_the_queue_is_full() {
    let board = Board::new();
    let (pool, running) = busy(&board, 2).await;
    let first = pool.try_spawn(add, (1, 1)).unwrap();
    let second = pool.try_spawn(add, (2, 2)).unwrap();
    let text = "text".to_owned();
    let address = text.as_ptr();
    let full = pool.try_spawn(|text: String| text, text).unwrap_err();
    assert!(full.to_string().contains("full"), "{full}");
    let text = full.into_inner();
    assert_eq!((text.as_str(), text.as_ptr()), ("text", address));
    assert_eq!(
        pool.try_spawn(add, (3, 4)).unwrap_err().into_inner(),
        (3, 4)
    );
    assert!(pool.try_spawn(|| (), ()).is_err());
    board.write("go", 1);
    within(running).await.unwrap();
    assert_eq!(
        within(first).await.unwrap() + within(second).await.unwrap(),
        6
    );
    until(|| pool.metrics().running() == 0).await;
    within(pool.try_spawn(add, (1, 1)).unwrap()).await.unwrap();
}

#[procession::test]
async fn queue_limit_counts_tasks_that_were_sent_ahead() {
    let board = Board::new();
    let pool = Pool::builder().workers(1).queue_limit(3).build().unwrap();
    // Of short tasks, many are sent to a worker ahead.
    run_short_tasks(&pool).await;
    let running = hold(&board, &pool).await;
    let queued: Vec<_> = (0..3)
        .map(|n| pool.try_spawn(add, (n, n)).unwrap())
        .collect();
    assert!(pool.try_spawn(add, (1, 1)).is_err());
    board.write("go", 1);
    within(running).await.unwrap();
    within(join_all(queued)).await;
}

#[procession::test]
async fn run_waits_for_room_before_its_arguments_are_encoded() {
    let board = Board::new();
    let (pool, running) = busy(&board, 1).await;
    let queued = pool.spawn(add, (1, 1));
    let mut run = pool.run(|_: Noted| 7, Noted(board.notes()));
    assert!(futures::poll!(&mut run).is_pending());
    assert!(!board.has("encoded"));
    assert_eq!(pool.metrics().queued() + pool.metrics().running(), 2);
    board.write("go", 1);
    assert_eq!(within(run).await.unwrap(), 7);
    assert!(board.has("encoded"));
    within(running).await.unwrap();
    within(queued).await.unwrap();
}

#[procession::test]
async fn spawn_queues_all_the_same() {
    let board = Board::new();
    let (pool, running) = busy(&board, 1).await;
    let handles: Vec<_> = (0..10).map(|n| pool.spawn(add, (n, n))).collect();
    assert!(pool.try_spawn(add, (1, 1)).is_err());
    let mut waiting = pool.run(add, (1, 1));
    assert!(futures::poll!(&mut waiting).is_pending());
    // A call that waited can be spawned, and is queued too.
    let spawned = waiting.spawn();
    board.write("go", 1);
    within(running).await.unwrap();
    assert_eq!(within(spawned).await.unwrap(), 2);
    for outcome in within(join_all(handles)).await {
        outcome.unwrap();
    }
}

#[procession::test]
async fn calls_that_wait_for_room_are_served_in_order_within_a_priority() {
    let board = Board::new();
    let (pool, running) = busy(&board, 0).await;
    let priorities = [Priority::Low, Priority::Normal, Priority::High];
    let mut runs: Vec<_> = (0..9)
        .map(|n| {
            let run = pool.run(record_run, (board.notes(), n));
            run.priority(priorities[n % 3])
        })
        .collect();
    for run in &mut runs {
        assert!(futures::poll!(run).is_pending());
    }
    board.write("go", 1);
    within(join_all(runs)).await;
    within(running).await.unwrap();
    let expected = [2, 5, 8, 1, 4, 7, 0, 3, 6];
    assert_eq!(board.read("ran"), expected.map(|n| n.to_string()));
}

#[procession::test]
async fn run_dropped_while_it_waits_for_room_loses_no_wake_up() {
    let board = Board::new();
    let (pool, running) = busy(&board, 0).await;
    for keep in [3, 0] {
        let mut runs: Vec<_> = (0..200).map(|n| pool.run(add, (n, n))).collect();
        for run in &mut runs {
            assert!(futures::poll!(run).is_pending());
        }
        runs.drain(keep..);
        if keep > 0 {
            board.write("go", 1);
            // One has the place when all are dropped.
            assert!(within(&mut runs[0]).await.is_ok());
        }
    }
    within(running).await.unwrap();
    assert_eq!(within(pool.run(add, (1, 2))).await.unwrap(), 3);
}

#[procession::test]
async fn future_that_is_not_polled_keeps_its_place_from_nothing() {
    let board = Board::new();
    let (pool, running) = busy(&board, 0).await;
    let mut first = pool.run(add, (1, 1));
    assert!(futures::poll!(&mut first).is_pending());
    board.write("go", 1);
    within(running).await.unwrap();
    // The first has the only place, but is not polled.
    assert_eq!(within(pool.run(add, (1, 2))).await.unwrap(), 3);
    assert_eq!(within(first).await.unwrap(), 2);
}

#[procession::test]
async fn closing_ends_the_wait_for_room() {
    for (kind, terminate) in [(ErrorKind::Closed, false), (ErrorKind::Cancelled, true)] {
        let board = Board::new();
        let (pool, running) = busy(&board, 0).await;
        let mut run = pool.run(add, (1, 1));
        let mut reserve = pool.reserve();
        let mut map = pool.map(|n: u64| n, [1, 2]);
        assert!(futures::poll!(&mut run).is_pending());
        assert!(futures::poll!(&mut reserve).is_pending());
        assert!(futures::poll!(map.next()).is_pending());
        let end = match terminate {
            true => pool.terminate(),
            false => pool.shutdown(),
        };
        let error = within(run).await.unwrap_err();
        assert_eq!((error.kind(), error.started()), (kind, false));
        assert_eq!(within(reserve).await.unwrap_err().kind(), kind);
        let error = within(map.next()).await.unwrap().unwrap_err();
        assert!(error.is_closed(), "{error}");
        assert!(
            within(pool.try_spawn(add, (1, 1)).unwrap())
                .await
                .unwrap_err()
                .is_closed()
        );
        board.write("go", 1);
        assert_eq!(within(running).await.is_err(), terminate);
        within(end).await;
    }
}

#[procession::test]
async fn killed_workers_lose_no_place() {
    let pool = Pool::builder().workers(2).queue_limit(1).build().unwrap();
    for _ in 0..5 {
        let crashes = (0..6).map(|_| pool.run(|| -> u64 { std::process::abort() }, ()));
        for outcome in within(join_all(crashes)).await {
            assert!(outcome.unwrap_err().is_crashed());
        }
        let stuck = (0..6).map(|_| pool.run(spin, ()).timeout(crate::SHORT));
        for outcome in within(join_all(stuck)).await {
            assert!(outcome.unwrap_err().is_timed_out());
        }
        let sums = (0..50).map(|n| pool.run(add, (n, n)));
        for outcome in within(join_all(sums)).await {
            outcome.unwrap();
        }
    }
    until(|| pool.metrics().running() == 0).await;
    let handles: Vec<_> = (0..3).map(|_| pool.try_spawn(|| (), ()).unwrap()).collect();
    within(join_all(handles)).await;
}

#[procession::test]
async fn map_reads_no_input_while_the_queue_is_full() {
    let board = Board::new();
    let (pool, running) = busy(&board, 2).await;
    let read = AtomicUsize::new(0);
    let items = (0..50_u64).inspect(|_| {
        read.fetch_add(1, Ordering::Relaxed);
    });
    let mut map = pool.map(|n: u64| n * 2, items).concurrency(20);
    assert!(futures::poll!(map.next()).is_pending());
    assert_eq!(read.load(Ordering::Relaxed), 2);
    assert!(pool.try_spawn(add, (1, 1)).is_err());
    board.write("go", 1);
    within(running).await.unwrap();
    let mut expected = 0;
    while let Some(outcome) = within(map.next()).await {
        assert_eq!(outcome.unwrap(), expected);
        expected += 2;
        // Calls and the map take turns.
        assert_eq!(within(pool.run(add, (1, 2))).await.unwrap(), 3);
    }
    assert_eq!(expected, 100);
}

#[procession::test]
async fn queue_bytes_bound_the_arguments_that_wait() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .queue_bytes(1_000)
        .build()
        .unwrap();
    let running = hold(&board, &pool).await;
    let len = |bytes: ByteBuf| bytes.len();
    let first = pool.try_spawn(len, made(1, 400)).unwrap();
    let second = pool.try_spawn(len, made(1, 400)).unwrap();
    let third = pool.try_spawn(len, made(3, 400)).unwrap_err();
    assert_eq!(third.into_inner(), made(3, 400));
    let small = pool.try_spawn(len, made(1, 100)).unwrap();
    let mut large = pool.run(len, made(1, 600));
    let mut larger = pool.run(len, made(1, 1 << 20));
    assert!(futures::poll!(&mut large).is_pending());
    assert!(futures::poll!(&mut larger).is_pending());
    assert!(pool.try_spawn(len, made(1, 10)).is_err(), "others wait");
    assert!(matches!(futures::poll!(pool.reserve()), Poll::Pending));
    let metrics = pool.metrics();
    assert_eq!(metrics.queued() + metrics.running(), 4);
    let queued = metrics.queued_bytes();
    assert!((900..1_000).contains(&queued), "{queued}");
    board.write("go", 1);
    within(running).await.unwrap();
    assert_eq!(within(large).await.unwrap(), 600);
    // Longer than the limit: it passes when no other waits.
    assert_eq!(within(larger).await.unwrap(), 1 << 20);
    for handle in [first, second, small] {
        within(handle).await.unwrap();
    }
    until(|| pool.metrics().running() == 0).await;
    assert_eq!(pool.metrics().queued_bytes(), 0);
}
