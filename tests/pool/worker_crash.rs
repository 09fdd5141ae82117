//! Workers that end by what their tasks do, and the programs that tasks start.

use std::process::{Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use procession::{ErrorKind, Pool};
use rustix::process::{Pid, Signal, test_kill_process};

use crate::SHORT;
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Desk};
use crate::pools::ready;
use crate::processes::{kill, signal};
use crate::tasks::{parked, pid};

fn is_there(pid: &str) -> bool {
    test_kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap()).is_ok()
}

fn with_children(desk: Desk, name: String) {
    for _ in 0..2 {
        let mut sleep = Command::new("sleep");
        let child = sleep.arg("1000").stdin(Stdio::null()).spawn().unwrap();
        desk.write(&name, child.id());
    }
    parked();
}

#[procession::test]
async fn whatever_ends_a_task_ends_what_it_started_and_only_that() {
    alone(
        "worker_crash::whatever_ends_a_task_ends_what_it_started_and_only_that",
        async {
            let board = Board::new();
            let desk = |name: &str| (board.desk(), name.to_owned());
            let pool = ready(2).await;
            let other = pool.spawn(with_children, desk("other"));
            let others = board.lines("other", 2).await;

            let timed = pool.run(with_children, desk("timed")).timeout(2 * SHORT);
            assert!(within(timed).await.unwrap_err().is_timed_out());

            let mut dropped = Box::pin(pool.run(with_children, desk("dropped")));
            assert!(futures::poll!(&mut dropped).is_pending());
            board.lines("dropped", 2).await;
            drop(dropped);

            let aborted = pool.spawn(with_children, desk("aborted"));
            board.lines("aborted", 2).await;
            aborted.abort();
            assert!(within(aborted).await.unwrap_err().is_cancelled());

            let crashed = pool.spawn(with_children, desk("crashed"));
            board.lines("crashed", 2).await;
            kill(board.read_worker(&pool, crashed.id()));
            assert!(within(crashed).await.unwrap_err().is_crashed());

            for name in ["timed", "dropped", "aborted", "crashed"] {
                for child in board.read(name) {
                    until(|| !is_there(&child)).await;
                }
            }
            assert!(others.iter().all(|child| is_there(child)));
            other.abort();
            assert!(within(other).await.unwrap_err().is_cancelled());
            within(pool.shutdown()).await;
        },
    )
    .await;
}

trait ReadWorker {
    fn read_worker(&self, pool: &Pool, task: procession::TaskId) -> u32;
}

impl ReadWorker for Board {
    /// The worker that runs `task`.
    fn read_worker(&self, pool: &Pool, task: procession::TaskId) -> u32 {
        let infos = pool.workers();
        let runner = infos.iter().find(|it| it.current_task() == Some(task));
        runner.unwrap().pid().unwrap()
    }
}

fn overflow(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 512]);
    overflow(n + 1) + frame[usize::try_from(n % 512).unwrap()]
}

#[procession::test]
async fn a_pool_outlives_every_way_to_die() {
    alone("worker_crash::a_pool_outlives_every_way_to_die", async {
        let pool = ready(1).await;
        for _ in 0..3 {
            let error = within(pool.run(|| std::process::exit(0), ()))
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.exit_code()),
                (ErrorKind::Exited, Some(0))
            );
            let error = within(pool.run(|| std::process::exit(7), ()))
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.exit_code()),
                (ErrorKind::Exited, Some(7))
            );
            let error = within(pool.run(|| std::process::abort(), ()))
                .await
                .unwrap_err();
            assert_eq!(
                (error.kind(), error.signal()),
                (ErrorKind::Crashed, Some(6))
            );
            for number in [Signal::SEGV, Signal::TERM, Signal::BUS] {
                let raw = number.as_raw();
                let suicide = |number: i32| {
                    let number = Signal::from_named_raw(number).unwrap();
                    signal(pid(), number);
                    parked();
                };
                let error = within(pool.run(suicide, raw)).await.unwrap_err();
                assert_eq!(
                    (error.kind(), error.signal()),
                    (ErrorKind::Crashed, Some(raw))
                );
            }
            let error = within(pool.run(overflow, 0)).await.unwrap_err();
            assert!(error.is_crashed() && error.started(), "{error:?}");
            assert_eq!(within(pool.run(|n: u64| n, 3)).await.unwrap(), 3);
        }
        let metrics = pool.metrics();
        assert_eq!((metrics.crashed(), metrics.completed()), (21, 3));
        within(pool.shutdown()).await;
    })
    .await;
}

#[procession::test]
async fn a_thread_that_a_task_left_behind_kills_who_is_there_then() {
    // The worker dies of it while it runs nothing, or something else; nobody hangs.
    let pool = ready(1).await;
    let mine = || {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(3));
            std::process::abort();
        });
    };
    for _ in 0..10 {
        let first = within(pool.run(mine, ())).await;
        let outcomes = within(join_all((0..50).map(|n| pool.run(|n: u64| n, n)))).await;
        let failed = outcomes.into_iter().filter_map(Result::err);
        let failed: Vec<_> = failed.chain(first.err()).collect();
        assert!(
            failed.iter().all(|error| error.signal() == Some(6)),
            "{failed:?}"
        );
        // One that was left behind, and one that an earlier round did.
        assert!(failed.len() <= 2, "{failed:?}");
    }
}
