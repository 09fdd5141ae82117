//! How long a task may wait before it starts.

use std::time::{Duration, Instant};

use futures::future::join_all;
use procession::{ErrorKind, Pool, TaskHandle};

use crate::deadline::{until, within};
use crate::notes::{Board, Notes};
use crate::pools::{all_idle, pids};
use crate::tasks::{held, pid, record_run};
use crate::{LONG, SHORT, add, run_short_tasks};

fn assert_unstarted<R: std::fmt::Debug>(outcome: Result<R, procession::JoinError>) {
    let error = outcome.unwrap_err();
    assert_eq!(
        (error.kind(), error.started()),
        (ErrorKind::TimedOut, false)
    );
    assert!(
        error.to_string().contains("did not start in time"),
        "{error}"
    );
}

/// Starts a task that runs until something is written under `go`. Its own wait has no limit: a machine under load may
/// not let its worker run in time.
async fn hold(pool: &Pool, board: &Board) -> TaskHandle<u32> {
    let held = pool.run(held, (board.notes(), "here".to_owned()));
    let held = held.queue_timeout(LONG).spawn();
    board.lines("here", 1).await;
    held
}

#[procession::test]
async fn queue_timeout_ends_a_wait_for_a_worker() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .queue_timeout(SHORT)
        .build()
        .unwrap();
    all_idle(&pool, 1).await;
    let before = pids(&pool);
    let running = hold(&pool, &board).await;
    let begun = Instant::now();
    let late: Vec<_> = (0..20)
        .map(|n| pool.spawn(record_run, (board.notes(), n)))
        .collect();
    let patient = pool
        .run(record_run, (board.notes(), 100))
        .queue_timeout(LONG)
        .spawn();
    let map = pool.map(record_run, (0..10).map(|n| (board.notes(), n)));
    for outcome in within(map.collect_all()).await {
        assert_unstarted(outcome);
    }
    for outcome in within(join_all(late)).await {
        assert_unstarted(outcome);
    }
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(pool.metrics().queued() + pool.metrics().running(), 2);
    board.write("go", 1);
    // The task that had started was not limited.
    within(running).await.unwrap();
    assert_eq!(within(patient).await.unwrap(), 100);
    assert_eq!(board.read("ran"), ["100"]);
    assert_eq!(pids(&pool), before);
    assert_eq!(pool.metrics().timed_out(), 30);
}

#[procession::test]
async fn queue_timeout_revokes_a_task_that_was_sent_ahead() {
    let board = Board::new();
    let pool = Pool::with_workers(1).unwrap();
    run_short_tasks(&pool).await;
    let before = pids(&pool);
    let running = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    let ahead = pool.spawn(record_run, (board.notes(), 1));
    let late = pool
        .run(record_run, (board.notes(), 2))
        .queue_timeout(SHORT);
    assert_unstarted(within(late).await);
    board.write("go", 1);
    within(running).await.unwrap();
    within(ahead).await.unwrap();
    assert_eq!(board.read("ran"), ["1"]);
    assert_eq!(pids(&pool), before);
}

#[procession::test]
async fn queue_timeout_ends_a_wait_for_room() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .queue_limit(0)
        .queue_timeout(SHORT);
    let pool = pool.build().unwrap();
    all_idle(&pool, 1).await;
    let running = hold(&pool, &board).await;
    let runs = (0..10).map(|n| pool.run(record_run, (board.notes(), n)));
    let (outcomes, permit) = within(futures::future::join(join_all(runs), pool.reserve())).await;
    for outcome in outcomes {
        assert_unstarted(outcome);
    }
    assert_unstarted(permit);
    let mut patient = pool.run(record_run, (board.notes(), 7)).queue_timeout(LONG);
    assert!(futures::poll!(&mut patient).is_pending());
    board.write("go", 1);
    within(running).await.unwrap();
    assert_eq!(within(patient).await.unwrap(), 7);
    assert_eq!(board.read("ran"), ["7"]);
}

#[procession::test]
async fn queue_timeout_holds_while_no_worker_can_start() {
    let stuck = |notes: Notes| notes.meet("preparing", "go");
    let board = Board::new();
    let pool = Pool::builder().workers(1).initializer(stuck, board.notes());
    let pool = pool.build().unwrap();
    assert_unstarted(within(pool.run(add, (1, 1)).queue_timeout(SHORT)).await);
    let large = pool.run(|text: String| text.len(), "x".repeat(1 << 20));
    assert_unstarted(within(large.queue_timeout(SHORT)).await);
    board.write("go", 1);
    assert_eq!(within(pool.run(add, (1, 1))).await.unwrap(), 2);
}

#[procession::test]
async fn queue_timeout_never_ends_a_task_that_has_started() {
    let pool = Pool::builder()
        .workers(2)
        .queue_timeout(SHORT)
        .build()
        .unwrap();
    all_idle(&pool, 2).await;
    let slow = || std::thread::sleep(3 * SHORT);
    // On a machine under load the worker may not begin in time.
    let mut count = 0;
    let ran = async {
        while let Err(error) = pool.run(slow, ()).await {
            assert_unstarted::<()>(Err(error));
            count += 1;
        }
    };
    within(ran).await;
    // At the deadline of many short tasks each has started or not, and none is lost.
    let millis = |n: u64| std::thread::sleep(Duration::from_millis(n));
    let runs = (0..200).map(|n| pool.run(millis, n % 3));
    let outcomes = within(join_all(runs)).await;
    let late = outcomes.into_iter().filter_map(Result::err);
    let before = count;
    for error in late {
        assert_unstarted::<()>(Err(error));
        count += 1;
    }
    assert!(
        count > before,
        "200 tasks of a millisecond take longer than 50"
    );
    assert_eq!(pool.metrics().timed_out(), count);
    until(|| pool.metrics().running() == 0).await;
    let patient = pool.run(pid, ()).queue_timeout(LONG);
    assert!(within(patient).await.is_ok());
}
