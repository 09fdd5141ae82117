//! Tasks of one worker run at the same time and finish in any order.

use std::collections::HashSet;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::Emit;
use serde_bytes::ByteBuf;

use super::{note, ready, several, waiting};
use crate::deadline::within;
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::tasks::{held, pid};
use crate::{add, made};

#[procession::test]
async fn hundred_waiting_tasks_of_one_worker_run_at_the_same_time() {
    alone(
        "tasks_per_worker::concurrency::hundred_waiting_tasks_of_one_worker_run_at_the_same_time",
        async {
            let pool = ready(1, 100).await;
            let board = Board::new();
            let tasks: Vec<_> = (0..100)
                .map(|_| pool.spawn(all_met, (board.notes(), 100)))
                .collect();
            let pids = within(join_all(tasks)).await;
            let pids: HashSet<_> = pids.into_iter().map(Result::unwrap).collect();
            assert_eq!(pids.len(), 1);
            assert_eq!(pool.metrics().completed(), 100);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

/// A map that reads fewer items ahead than the workers can run would wait for ever.
#[procession::test]
async fn map_has_an_item_for_each_task_that_its_workers_can_run() {
    let pool = ready(2, 8).await;
    let board = Board::new();
    let items = (0..16).map(|_| (board.notes(), 16));
    let pids: HashSet<_> = within(pool.map(all_met, items))
        .await
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(pids.len(), 2);
}

/// Returns when so many tasks are here.
async fn all_met(notes: Notes, count: usize) -> u32 {
    notes.write("here", pid());
    while notes.read("here").len() < count {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    pid()
}

#[procession::test]
async fn tasks_finish_out_of_order() {
    let pool = ready(1, 5).await;
    let board = Board::new();
    let mut tasks: Vec<_> = (0..5)
        .map(|n| Some(pool.spawn(waiting, (board.notes(), n))))
        .collect();
    board.lines("begun", 5).await;
    assert_eq!((pool.metrics().running(), pool.metrics().busy()), (5, 1));
    for n in [4, 1, 3, 0, 2] {
        board.write(&format!("go-{n}"), 1);
        assert_eq!(within(tasks[n].take().unwrap()).await.unwrap(), n);
        assert!(tasks.iter().flatten().all(|it| !it.is_finished()));
    }
}

#[procession::test]
async fn task_beyond_the_number_waits_until_another_has_ended() {
    let pool = ready(1, 2).await;
    let board = Board::new();
    let tasks: Vec<_> = (0..3)
        .map(|n| pool.spawn(waiting, (board.notes(), n)))
        .collect();
    let begun = board.lines("begun", 2).await;
    assert!(!begun.contains(&"2".to_owned()), "{begun:?}");
    board.write("go-2", 1);
    assert!(!tasks[2].is_finished());
    board.write("go-0", 1);
    let [first, second, third] = <[_; 3]>::try_from(tasks).unwrap();
    assert_eq!(within(first).await.unwrap(), 0);
    assert_eq!(within(third).await.unwrap(), 2);
    board.write("go-1", 1);
    assert_eq!(within(second).await.unwrap(), 1);
}

#[procession::test]
async fn function_that_is_not_async_does_not_stop_the_others() {
    let pool = ready(1, 3).await;
    let board = Board::new();
    let blocking = pool.spawn(held, (board.notes(), "held".to_owned()));
    let waits = pool.spawn(waiting, (board.notes(), 0));
    board.lines("held", 1).await;
    board.lines("begun", 1).await;
    assert_eq!(within(pool.run(add, (1, 2))).await.unwrap(), 3);
    board.write("go-0", 1);
    assert_eq!(within(waits).await.unwrap(), 0);
    board.write("go", 1);
    assert_eq!(
        within(blocking).await.unwrap(),
        within(pool.run(pid, ())).await.unwrap()
    );
}

#[procession::test]
async fn map_and_stream_and_calls_mix() {
    let pool = ready(2, 4).await;
    let board = Board::new();
    let waits = pool.spawn(waiting, (board.notes(), 0));
    board.lines("begun", 1).await;
    let squares = pool.map(async |n: u64| n * n, 0..1000);
    let items = pool.stream(emit_all, 100);
    let sums = join_all((0..200_u64).map(|n| pool.run(add, (n, 1))));
    let (squares, items, sums) =
        within(async { tokio::join!(squares, items.collect::<Vec<_>>(), sums) }).await;
    assert_eq!(
        squares.unwrap(),
        (0..1000).map(|n| n * n).collect::<Vec<_>>()
    );
    let items: Vec<_> = items.into_iter().map(Result::unwrap).collect();
    assert_eq!(items, (0..100).collect::<Vec<_>>());
    for (n, sum) in (0..).zip(sums) {
        assert_eq!(sum.unwrap(), n + 1);
    }
    board.write("go-0", 1);
    assert_eq!(within(waits).await.unwrap(), 0);
}

async fn emit_all(emit: Emit<u32>, count: u32) {
    for n in 0..count {
        emit.send(n).await;
        tokio::task::yield_now().await;
    }
}

#[procession::test]
async fn long_values_of_tasks_at_the_same_time_arrive_whole() {
    let pool = ready(1, 4).await;
    let long = async |bytes: ByteBuf| {
        tokio::task::yield_now().await;
        bytes
    };
    let runs = (0..24_u8).map(|n| {
        let len = 1 << (8 + n % 16);
        (n, len, pool.spawn(long, made(n, len)))
    });
    for (n, len, run) in runs.collect::<Vec<_>>() {
        assert_eq!(within(run).await.unwrap(), made(n, len));
    }
}

#[procession::test]
async fn ends_of_channels_reach_the_task_that_they_were_sent_to() {
    let pool = ready(1, 8).await;
    let board = Board::new();
    let runs = (0..16_usize).map(|n| {
        let (tx, rx) = procession::channel::<usize>().unwrap();
        let echo = async |notes: Notes, n: usize, tx: procession::PipeSender<usize>| {
            note(&notes, "go").await;
            tx.send(n).await.is_ok()
        };
        (n, rx, pool.spawn(echo, (board.notes(), n, tx)))
    });
    let runs: Vec<_> = runs.collect();
    board.write("go", 1);
    for (n, rx, run) in runs {
        assert_eq!(within(rx.recv()).await.unwrap(), n);
        assert!(within(run).await.unwrap());
    }
    // And descriptors in results.
    let makes = async || {
        let (tx, rx) = procession::channel::<u32>().unwrap();
        tx.send(pid()).await.unwrap();
        rx
    };
    let ends = within(join_all((0..16).map(|_| pool.run(makes, ())))).await;
    for end in ends {
        within(end.unwrap().recv()).await.unwrap();
    }
}

#[procession::test]
async fn tasks_are_spread_over_the_workers() {
    let pool = ready(2, 4).await;
    let board = Board::new();
    let tasks: Vec<_> = (0..8)
        .map(|_| pool.spawn(all_met, (board.notes(), 8)))
        .collect();
    let pids = within(join_all(tasks)).await;
    let pids: HashSet<_> = pids.into_iter().map(Result::unwrap).collect();
    assert_eq!(pids.len(), 2);
}

#[procession::test]
async fn future_that_is_not_send_runs() {
    let pool = several(1, 3).build().unwrap();
    let local = async |n: u32| {
        let held = std::rc::Rc::new(n);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        *held
    };
    let all = within(pool.map(local, 0..50)).await.unwrap();
    assert_eq!(all, (0..50).collect::<Vec<_>>());
}
