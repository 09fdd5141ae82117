//! Workers that crash or exit by what their tasks do, and the programs that tasks start.

use std::process::{Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use procession::{ErrorKind, Pool, TaskId};
use rustix::process::{Pid, Signal, test_kill_process};

use crate::SHORT;
use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::{kill, signal};
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::{parked, pid};

fn exists(pid: &str) -> bool {
    test_kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap()).is_ok()
}

/// Starts two programs, writes their pids under `name`, and never returns.
#[allow(
    clippy::zombie_processes,
    reason = "the programs are left behind on purpose"
)]
fn start_programs(notes: Notes, name: String) {
    for _ in 0..2 {
        let mut sleep = Command::new("sleep");
        let child = sleep.arg("1000").stdin(Stdio::null()).spawn().unwrap();
        notes.write(&name, child.id());
    }
    parked();
}

#[procession::test]
async fn task_end_kills_the_programs_of_that_task_only() {
    alone(
        "worker_crash::task_end_kills_the_programs_of_that_task_only",
        async {
            let board = Board::new();
            let notes = |name: &str| (board.notes(), name.to_owned());
            let pool = ready(2).await;
            let other = pool.spawn(start_programs, notes("other"));
            let others = board.lines("other", 2).await;

            let timed = pool.run(start_programs, notes("timed")).timeout(2 * SHORT);
            assert!(within(timed).await.unwrap_err().is_timed_out());

            let mut dropped = Box::pin(pool.run(start_programs, notes("dropped")));
            assert!(futures::poll!(&mut dropped).is_pending());
            board.lines("dropped", 2).await;
            drop(dropped);

            let aborted = pool.spawn(start_programs, notes("aborted"));
            board.lines("aborted", 2).await;
            aborted.abort();
            assert!(within(aborted).await.unwrap_err().is_cancelled());

            let crashed = pool.spawn(start_programs, notes("crashed"));
            board.lines("crashed", 2).await;
            kill(worker_of(&pool, crashed.id()));
            assert!(within(crashed).await.unwrap_err().is_crashed());

            for name in ["timed", "dropped", "aborted", "crashed"] {
                for child in board.read(name) {
                    until(|| !exists(&child)).await;
                }
            }
            assert!(others.iter().all(|child| exists(child)));
            other.abort();
            assert!(within(other).await.unwrap_err().is_cancelled());
            within(pool.shutdown()).await;
        },
    )
    .await;
}

/// The pid of the worker that runs `task`.
fn worker_of(pool: &Pool, task: TaskId) -> u32 {
    let infos = pool.workers();
    let runner = infos.iter().find(|it| it.current_task() == Some(task));
    runner.unwrap().pid().unwrap()
}

#[allow(unconditional_recursion, reason = "the test needs a stack overflow")]
fn overflow(n: u64) -> u64 {
    let frame = std::hint::black_box([n; 512]);
    overflow(n + 1) + frame[usize::try_from(n % 512).unwrap()]
}

#[procession::test]
async fn pool_survives_every_way_a_worker_can_end() {
    alone(
        "worker_crash::pool_survives_every_way_a_worker_can_end",
        async {
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
                    let kill_self = |number: i32| {
                        let number = Signal::from_named_raw(number).unwrap();
                        signal(pid(), number);
                        parked();
                    };
                    let error = within(pool.run(kill_self, raw)).await.unwrap_err();
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
        },
    )
    .await;
}

#[procession::test]
async fn thread_left_behind_crashes_the_running_task_only() {
    // The thread aborts the worker while it runs another task or none.
    let pool = ready(1).await;
    let leave_a_thread = || {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(3));
            std::process::abort();
        });
    };
    for _ in 0..10 {
        let first = within(pool.run(leave_a_thread, ())).await;
        let outcomes = within(join_all((0..50).map(|n| pool.run(|n: u64| n, n)))).await;
        let failed = outcomes.into_iter().filter_map(Result::err);
        let failed: Vec<_> = failed.chain(first.err()).collect();
        assert!(
            failed.iter().all(|error| error.signal() == Some(6)),
            "{failed:?}"
        );
        // At most two crashes: by the thread of this round, and by the thread of the round before.
        assert!(failed.len() <= 2, "{failed:?}");
    }
}
