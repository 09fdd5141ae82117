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
use crate::notes::{Board, Desk};
use crate::pools::{all_idle, pids, ready};
use crate::processes::kill;
use crate::tasks::{held, note, pid};
use crate::{once_each, teach};

#[procession::test]
async fn after_the_death_of_an_idle_worker_the_next_task_runs() {
    alone(
        "worker_killed::after_the_death_of_an_idle_worker_the_next_task_runs",
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
async fn a_worker_killed_while_it_starts_is_replaced() {
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
async fn of_many_busy_workers_the_one_that_is_killed_loses_its_task() {
    alone(
        "worker_killed::of_many_busy_workers_the_one_that_is_killed_loses_its_task",
        async {
            let pool = ready(4).await;
            let board = Board::new();
            let handles: Vec<_> = (0..4)
                .map(|_| pool.spawn(held, (board.desk(), "held".to_owned())))
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
async fn what_a_dead_worker_had_not_started_runs_elsewhere_once() {
    for workers in [1, 3] {
        let pool = ready(workers).await;
        teach(&pool).await;
        let board = Board::new();
        let held: Vec<_> = (0..workers)
            .map(|_| pool.spawn(held, (board.desk(), "held".to_owned())))
            .collect();
        let tasks: Vec<_> = (0..100)
            .map(|n| pool.spawn(note, (board.desk(), n)))
            .collect();
        let map = pool.map(note, (100..300).map(|n| (board.desk(), n)));
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
        once_each(&board, "ran", 300);
        assert_eq!(pool.metrics().crashed(), workers as u64);
    }
}

#[procession::test]
async fn what_is_done_is_never_done_again() {
    let pool = ready(1).await;
    let task = |desk: Desk, n: usize, padding: ByteBuf| {
        desk.write("ran", n);
        padding.len()
    };
    // This thread is the runtime's only one: the pool does not see that anything is done. Meanwhile the
    // requests of later tasks come to lie where those of the first were, if the pool gives the worker as
    // many as that; for that it must find it fast.
    let mut wrapped = false;
    for _ in 0..100 {
        teach(&pool).await;
        let board = Board::new();
        let mut handles = Vec::new();
        for n in 0..7 {
            let padding = ByteBuf::from(vec![0; 60_000]);
            handles.push(pool.spawn(task, (board.desk(), n, padding)));
            if pool.metrics().queued() > 0 {
                break;
            }
            board.wait_for("ran", n + 1);
        }
        wrapped = pool.metrics().queued() == 0;
        handles[0].abort();
        let count = handles.len();
        for outcome in within(join_all(handles)).await {
            assert_eq!(outcome.unwrap(), 60_000);
        }
        within(pool.run(pid, ())).await.unwrap();
        once_each(&board, "ran", count);
        if wrapped {
            break;
        }
    }
    assert!(wrapped, "no worker was ever given seven tasks");
}

static BEING_DECODED: AtomicUsize = AtomicUsize::new(0);

static MAY_GO_ON: AtomicUsize = AtomicUsize::new(0);

/// A number that can be decoded only when it may.
#[derive(Debug, Serialize)]
struct Gate(usize);

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = usize::deserialize(deserializer)?;
        BEING_DECODED.fetch_max(number, Ordering::SeqCst);
        while MAY_GO_ON.load(Ordering::SeqCst) < number {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self(number))
    }
}

/// Large enough to be decoded, in two halves, where its memory can be seen to change.
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
async fn a_dead_worker_s_memory_is_not_mistaken_for_its_successor_s() {
    let pool = ready(1).await;
    let first = pool.spawn(halves, 1);
    until(|| BEING_DECODED.load(Ordering::SeqCst) == 1).await;
    let worker = pool.workers()[0].pid().unwrap();
    kill(worker);
    until(|| !pids(&pool).contains(&worker)).await;
    // The next worker's first result comes in memory of the same number as the dead one's.
    let second = pool.spawn(halves, 2);
    until(|| BEING_DECODED.load(Ordering::SeqCst) == 2).await;
    MAY_GO_ON.store(1, Ordering::SeqCst);
    assert!(is_whole(within(first).await, 1));
    // Were it thought to be free again, the third would be written over the second.
    within(pool.run(pid, ())).await.unwrap();
    let third = pool.spawn(halves, 3);
    until(|| BEING_DECODED.load(Ordering::SeqCst) == 3).await;
    MAY_GO_ON.store(3, Ordering::SeqCst);
    assert!(is_whole(within(second).await, 2));
    assert!(is_whole(within(third).await, 3));
}
