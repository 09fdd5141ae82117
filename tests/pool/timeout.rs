//! Timeouts: which task they end, and when.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::Pool;
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::{held, pid, record_run, spin};
use crate::{LONG, SHORT, add, assert_once_each, run_short_tasks};

#[procession::test]
async fn timeout_stops_a_spinning_task_in_an_idle_pool() {
    let pool = ready(1).await;
    let before = pool.workers()[0].pid().unwrap();
    let error = within(pool.run(spin, ()).timeout(SHORT)).await.unwrap_err();
    assert!(error.is_timed_out() && error.started(), "{error:?}");
    assert_eq!(error.pid(), Some(before));
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), before);
    // The second timeout, after the timer of the pool has fired once.
    tokio::time::sleep(2 * SHORT).await;
    let error = within(pool.run(spin, ()).timeout(SHORT)).await.unwrap_err();
    assert!(error.is_timed_out());
    assert_eq!(pool.metrics().timed_out(), 2);
}

#[procession::test]
async fn task_timeout_applies_to_tasks_without_their_own() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .task_timeout(SHORT)
        .build()
        .unwrap();
    let error = within(pool.run(spin, ())).await.unwrap_err();
    assert!(error.is_timed_out(), "{error:?}");
    let handle = pool
        .run(held, (board.notes(), "here".to_owned()))
        .timeout(LONG);
    let handle = handle.spawn();
    board.lines("here", 1).await;
    tokio::time::sleep(2 * SHORT).await;
    board.write("go", 1);
    within(handle).await.unwrap();
}

#[procession::test]
async fn timeout_counts_from_the_start_of_the_task() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    // More than a call takes under any load, and less than it waits.
    let limit = 10 * SHORT;
    let waiting: Vec<_> = (0..4)
        .map(|n| pool.run(add, (n, 1)).timeout(limit).spawn())
        .collect();
    tokio::time::sleep(2 * limit).await;
    board.write("go", 1);
    within(first).await.unwrap();
    for outcome in within(join_all(waiting)).await {
        outcome.unwrap();
    }
}

#[procession::test]
async fn timeout_of_zero_ends_a_task_and_timeout_max_does_not() {
    let pool = ready(1).await;
    let outcome = within(pool.run(spin, ()).timeout(Duration::ZERO)).await;
    assert!(outcome.unwrap_err().is_timed_out());
    within(pool.run(add, (1, 1)).timeout(Duration::MAX))
        .await
        .unwrap();
}

#[procession::test]
async fn timeout_does_not_affect_other_tasks() {
    let board = Board::new();
    let pool = ready(2).await;
    run_short_tasks(&pool).await;
    let held = pool.spawn(held, (board.notes(), "held".to_owned()));
    board.lines("held", 1).await;
    // The pool has to take back the tasks that the spinning worker has prefetched.
    let spinning: Vec<_> = (0..3)
        .map(|_| pool.run(spin, ()).timeout(SHORT).spawn())
        .collect();
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let run = pool.run(record_run, (board.notes(), n));
            run.timeout(Duration::from_secs(60)).spawn()
        })
        .collect();
    for outcome in within(join_all(spinning)).await {
        assert!(outcome.unwrap_err().is_timed_out());
    }
    for (n, outcome) in within(join_all(tasks)).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n);
    }
    assert!(!held.is_finished());
    board.write("go", 1);
    within(held).await.unwrap();
    assert_once_each(&board, "ran", 200);
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.timed_out(), metrics.crashed(), metrics.cancelled()),
        (3, 0, 0)
    );
}

#[procession::test]
async fn timeout_at_the_moment_of_completion_gives_one_outcome() {
    // The running times cover the limit in small steps, so many tasks end close to their limit.
    let board = Board::new();
    let pool = ready(2).await;
    let limit = Duration::from_millis(4);
    let task = |notes: Notes, n: usize, nanos: u64| {
        let end = std::time::Instant::now() + Duration::from_nanos(nanos);
        while std::time::Instant::now() < end {
            std::hint::spin_loop();
        }
        notes.write("ran", n);
        n
    };
    let tasks: Vec<_> = (0..150)
        .map(|n| {
            let nanos = 3_000_000 + 20_000 * n as u64;
            let run = pool.run(task, (board.notes(), n, nanos));
            run.timeout(limit).spawn()
        })
        .collect();
    for (n, outcome) in within(join_all(tasks)).await.into_iter().enumerate() {
        match outcome {
            Ok(result) => assert_eq!(result, n),
            Err(error) => assert!(error.is_timed_out() && error.started(), "{error:?}"),
        }
    }
    let counts = pool.metrics();
    assert_eq!(counts.completed() + counts.timed_out(), 150, "{counts:?}");
    assert_eq!((counts.crashed(), counts.failed()), (0, counts.timed_out()));
}

#[procession::test]
async fn timeout_excludes_time_spent_by_the_executor() {
    let board = Board::new();
    let pool = ready(1).await;
    // More results than the ring holds: the worker waits until the pool has read the first results.
    let task = |notes: Notes, n: usize| {
        notes.write("ran", n);
        ByteBuf::from(vec![1; 50_000])
    };
    let items = (0..20).map(|n| (board.notes(), n));
    // More than an item takes under any load.
    let limit = 10 * SHORT;
    let mut map = pool.map(task, items).chunk_size(20).timeout(limit);
    assert!(futures::poll!(map.next()).is_pending());
    board.wait_for("ran", 5);
    std::thread::sleep(2 * limit);
    let mut count = 0;
    while let Some(outcome) = within(map.next()).await {
        outcome.unwrap();
        count += 1;
    }
    assert_eq!(count, 20);
}
