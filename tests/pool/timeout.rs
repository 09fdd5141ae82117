//! Timeouts: which task they end, when, and what else they cost.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::Pool;
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::notes::{Board, Desk};
use crate::pools::ready;
use crate::tasks::{held, note, pid, spin};
use crate::{LONG, SHORT, add, once_each, teach};

#[procession::test]
async fn a_timeout_stops_what_spins_in_a_pool_that_was_idle() {
    let pool = ready(1).await;
    let before = pool.workers()[0].pid().unwrap();
    let error = within(pool.run(spin, ()).timeout(SHORT)).await.unwrap_err();
    assert!(error.is_timed_out() && error.started(), "{error:?}");
    assert_eq!(error.pid(), Some(before));
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), before);
    // And again, in a pool whose alarm has gone off before.
    tokio::time::sleep(2 * SHORT).await;
    let error = within(pool.run(spin, ()).timeout(SHORT)).await.unwrap_err();
    assert!(error.is_timed_out());
    assert_eq!(pool.metrics().timed_out(), 2);
}

#[procession::test]
async fn the_pool_s_timeout_is_for_every_task_that_has_none_of_its_own() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .task_timeout(SHORT)
        .build()
        .unwrap();
    let error = within(pool.run(spin, ())).await.unwrap_err();
    assert!(error.is_timed_out(), "{error:?}");
    let handle = pool
        .run(held, (board.desk(), "here".to_owned()))
        .timeout(LONG);
    let handle = handle.spawn();
    board.lines("here", 1).await;
    tokio::time::sleep(2 * SHORT).await;
    board.write("go", 1);
    within(handle).await.unwrap();
}

#[procession::test]
async fn a_timeout_counts_from_the_start_and_not_while_a_task_waits() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(held, (board.desk(), "here".to_owned()));
    board.lines("here", 1).await;
    let waiting: Vec<_> = (0..4)
        .map(|n| pool.run(add, (n, 1)).timeout(SHORT).spawn())
        .collect();
    tokio::time::sleep(3 * SHORT).await;
    board.write("go", 1);
    within(first).await.unwrap();
    for outcome in within(join_all(waiting)).await {
        outcome.unwrap();
    }
}

#[procession::test]
async fn a_timeout_of_nothing_is_a_timeout() {
    let pool = ready(1).await;
    let outcome = within(pool.run(spin, ()).timeout(Duration::ZERO)).await;
    assert!(outcome.unwrap_err().is_timed_out());
    within(pool.run(add, (1, 1)).timeout(Duration::MAX))
        .await
        .unwrap();
}

#[procession::test]
async fn a_timeout_is_no_other_task_s_business() {
    let board = Board::new();
    let pool = ready(2).await;
    teach(&pool).await;
    let held = pool.spawn(held, (board.desk(), "held".to_owned()));
    board.lines("held", 1).await;
    // Behind the one that spins stand tasks that have to be taken back from its worker.
    let spinning: Vec<_> = (0..3)
        .map(|_| pool.run(spin, ()).timeout(SHORT).spawn())
        .collect();
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let run = pool.run(note, (board.desk(), n));
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
    once_each(&board, "ran", 200);
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.timed_out(), metrics.crashed(), metrics.cancelled()),
        (3, 0, 0)
    );
}

#[procession::test]
async fn what_is_just_in_time_and_what_is_just_late_have_one_outcome() {
    // As many as possible end in the moment in which their time is over.
    let board = Board::new();
    let pool = ready(2).await;
    let limit = Duration::from_millis(4);
    let task = |desk: Desk, n: usize, nanos: u64| {
        let end = std::time::Instant::now() + Duration::from_nanos(nanos);
        while std::time::Instant::now() < end {
            std::hint::spin_loop();
        }
        desk.write("ran", n);
        n
    };
    let tasks: Vec<_> = (0..150)
        .map(|n| {
            let nanos = 3_000_000 + 20_000 * n as u64;
            let run = pool.run(task, (board.desk(), n, nanos));
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
    assert_eq!((counts.crashed(), counts.failed()), (0, 0));
}

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
