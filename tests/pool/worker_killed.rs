//! A killed worker costs the one task that it was running.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{JoinError, Pool};
use serde::{Deserialize, Deserializer, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};
use crate::pools::{all_idle, pids, ready};
use crate::tasks::{held, pid, record_run};
use crate::{assert_once_each, run_short_tasks};

#[procession::test]
async fn worker_killed_while_idle_is_replaced_for_the_next_task() {
    alone(
        "worker_killed::worker_killed_while_idle_is_replaced_for_the_next_task",
        async {
            let pool = ready(1).await;
            for n in 0..20 {
                let worker = pool.workers()[0].pid().unwrap();
                kill(worker);
                if n % 2 == 0 {
                    until(|| !pids(&pool).contains(&worker)).await;
                }
                assert_ne!(within(pool.run(pid, ())).await.unwrap(), worker);
            }
            assert_eq!(pool.metrics().crashed(), 0);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn worker_killed_while_starting_is_replaced() {
    let pool = Pool::with_workers(1).unwrap();
    for _ in 0..3 {
        until(|| pool.workers().iter().any(|it| it.pid().is_some())).await;
        let worker = pool.workers()[0].pid().unwrap();
        kill(worker);
        until(|| !pids(&pool).contains(&worker)).await;
    }
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), pid());
}

#[procession::test]
async fn worker_killed_while_busy_fails_its_own_task_only() {
    alone(
        "worker_killed::worker_killed_while_busy_fails_its_own_task_only",
        async {
            let pool = ready(4).await;
            let board = Board::new();
            let handles: Vec<_> = (0..4)
                .map(|_| pool.spawn(held, (board.notes(), "held".to_owned())))
                .collect();
            let workers = board.lines("held", 4).await;
            let victim: u32 = workers[2].parse().unwrap();
            kill(victim);
            until(|| handles.iter().any(procession::TaskHandle::is_finished)).await;
            assert_eq!(handles.iter().filter(|it| it.is_finished()).count(), 1);
            board.write("go", 1);
            let (failed, done): (Vec<_>, Vec<_>) = within(join_all(handles))
                .await
                .into_iter()
                .partition(Result::is_err);
            assert_eq!((failed.len(), done.len()), (1, 3));
            let error = failed[0].as_ref().unwrap_err();
            assert!(error.is_crashed() && error.started(), "{error:?}");
            assert_eq!((error.signal(), error.pid()), (Some(9), Some(victim)));
            assert!(error.to_string().contains("SIGKILL"), "{error}");
            assert!(done.iter().all(|it| *it.as_ref().unwrap() != victim));
            assert_eq!(pool.metrics().crashed(), 1);
            all_idle(&pool, 4).await;
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn worker_killed_before_it_started_a_task_does_not_fail_it() {
    for workers in [1, 3] {
        let pool = ready(workers).await;
        run_short_tasks(&pool).await;
        let board = Board::new();
        let held: Vec<_> = (0..workers)
            .map(|_| pool.spawn(held, (board.notes(), "held".to_owned())))
            .collect();
        let tasks: Vec<_> = (0..100)
            .map(|n| pool.spawn(record_run, (board.notes(), n)))
            .collect();
        let map = pool.map(record_run, (100..300).map(|n| (board.notes(), n)));
        let mut map = map.chunk_size(20);
        assert!(futures::poll!(map.next()).is_pending());
        board.lines("held", workers).await;
        for line in board.read("held") {
            kill(line.parse().unwrap());
        }
        for (n, outcome) in within(join_all(tasks)).await.into_iter().enumerate() {
            assert_eq!(outcome.unwrap(), n);
        }
        for n in 100..300 {
            assert_eq!(within(map.next()).await.unwrap().unwrap(), n);
        }
        for outcome in within(join_all(held)).await {
            assert!(outcome.unwrap_err().is_crashed());
        }
        assert_once_each(&board, "ran", 300);
        assert_eq!(pool.metrics().crashed(), workers as u64);
    }
}

#[procession::test]
async fn abort_does_not_repeat_finished_tasks() {
    let pool = ready(1).await;
    let task = |notes: Notes, n: usize, padding: ByteBuf| {
        notes.write("ran", n);
        padding.len()
    };
    // The runtime has only this thread, so the pool does not see that tasks have finished. The requests of
    // later tasks overwrite the requests of the first tasks in the ring, if the pool gives the worker so many
    // tasks. It does after many short tasks.
    let mut wrapped = false;
    for _ in 0..100 {
        run_short_tasks(&pool).await;
        let board = Board::new();
        let mut handles = Vec::new();
        for n in 0..7 {
            let padding = ByteBuf::from(vec![0; 60_000]);
            handles.push(pool.spawn(task, (board.notes(), n, padding)));
            if pool.metrics().queued() > 0 {
                break;
            }
            board.wait_for("ran", n + 1);
        }
        wrapped = pool.metrics().queued() == 0;
        // The next has run, so the first has sent its result. A task that is alone may not have.
        if wrapped {
            handles[0].abort();
        }
        let count = handles.len();
        for outcome in within(join_all(handles)).await {
            assert_eq!(outcome.unwrap(), 60_000);
        }
        within(pool.run(pid, ())).await.unwrap();
        assert_once_each(&board, "ran", count);
        if wrapped {
            break;
        }
    }
    assert!(wrapped, "the pool never gave seven tasks to the worker");
}

static BEING_DECODED: AtomicUsize = AtomicUsize::new(0);
static MAY_BE_DECODED: AtomicUsize = AtomicUsize::new(0);

/// A number whose decoding blocks until `MAY_BE_DECODED` has reached it.
#[derive(Debug, Serialize)]
struct Gate(usize);

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = usize::deserialize(deserializer)?;
        BEING_DECODED.fetch_max(number, Ordering::SeqCst);
        while MAY_BE_DECODED.load(Ordering::SeqCst) < number {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self(number))
    }
}

/// Two large parts with a gate between them: a change of their shared memory during decoding shows.
type Halves = (ByteBuf, Gate, ByteBuf);

fn halves(number: usize) -> Halves {
    let half = ByteBuf::from(vec![u8::try_from(number).unwrap(); 300_000]);
    (half.clone(), Gate(number), half)
}

fn is_whole(outcome: Result<Halves, JoinError>, number: usize) -> bool {
    let (first, gate, second) = outcome.unwrap();
    let all = |half: &ByteBuf| half.iter().all(|&byte| usize::from(byte) == number);
    gate.0 == number && first.len() == 300_000 && all(&first) && all(&second)
}

#[procession::test]
async fn worker_killed_does_not_release_the_results_of_its_successor() {
    let pool = ready(1).await;
    let first = pool.spawn(halves, 1);
    until(|| BEING_DECODED.load(Ordering::SeqCst) == 1).await;
    let worker = pool.workers()[0].pid().unwrap();
    kill(worker);
    until(|| !pids(&pool).contains(&worker)).await;
    // The first result of the next worker has the same memory number as the result of the killed worker.
    let second = pool.spawn(halves, 2);
    until(|| BEING_DECODED.load(Ordering::SeqCst) == 2).await;
    MAY_BE_DECODED.store(1, Ordering::SeqCst);
    assert!(is_whole(within(first).await, 1));
    // If the pool released the memory of the second result here, the third result would overwrite it.
    within(pool.run(pid, ())).await.unwrap();
    let third = pool.spawn(halves, 3);
    until(|| BEING_DECODED.load(Ordering::SeqCst) == 3).await;
    MAY_BE_DECODED.store(3, Ordering::SeqCst);
    assert!(is_whole(within(second).await, 2));
    assert!(is_whole(within(third).await, 3));
}
