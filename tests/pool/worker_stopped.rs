//! A worker that is stopped (`SIGSTOP`) does not block its pool.

use std::time::Duration;

use futures::future::join_all;
use rustix::process::Signal;
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::{ProcessInfo, descendants, signal};
use crate::notes::Board;
use crate::pools::{all_idle, pids, ready};
use crate::tasks::{busy, pid, record_run};
use crate::{SHORT, assert_once_each, run_short_tasks};

#[procession::test]
async fn worker_stopped_by_a_signal_does_not_block_the_pool() {
    alone(
        "worker_stopped::worker_stopped_by_a_signal_does_not_block_the_pool",
        async {
            let board = Board::new();
            let pool = ready(2).await;
            run_short_tasks(&pool).await;
            let stopped = pool.workers()[0].pid().unwrap();
            signal(stopped, Signal::STOP);
            // A task that starts before the signal arrives would stay with the stopped worker.
            let is_stopped = |it: &ProcessInfo| it.pid == stopped && it.is_stopped();
            until(|| descendants().iter().any(is_stopped)).await;
            // The pool takes back the tasks that it gives to the stopped worker.
            let runs = (0..300).map(|n| pool.run(record_run, (board.notes(), n)));
            for outcome in within(join_all(runs)).await {
                outcome.unwrap();
            }
            let mapped = pool.map(record_run, (300..600).map(|n| (board.notes(), n)));
            within(mapped).await.unwrap();
            assert_once_each(&board, "ran", 600);
            // The same holds for large values, which need more than the ring.
            for _ in 0..4 {
                let large = ByteBuf::from(vec![1; 2 << 20]);
                let echo = within(pool.run(|bytes: ByteBuf| bytes, large.clone())).await;
                assert_eq!(echo.unwrap(), large);
            }
            // The worker is used again when it continues.
            signal(stopped, Signal::CONT);
            let used = async {
                while pool.run(pid, ()).await.unwrap() != stopped {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            within(used).await;
            assert_eq!(pool.metrics().crashed(), 0);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn worker_stopped_while_busy_can_be_timed_out_aborted_and_terminated() {
    alone(
        "worker_stopped::worker_stopped_while_busy_can_be_timed_out_aborted_and_terminated",
        async {
            let board = Board::new();
            let pool = ready(2).await;
            run_short_tasks(&pool).await;
            // The limit is long enough for both tasks to start first, under any load.
            let timed = pool.run(busy, board.notes()).timeout(40 * SHORT).spawn();
            let aborted = pool.spawn(busy, board.notes());
            for worker in board.lines("busy", 2).await {
                signal(worker.parse().unwrap(), Signal::STOP);
            }
            aborted.abort();
            assert!(within(aborted).await.unwrap_err().is_cancelled());
            assert!(within(timed).await.unwrap_err().is_timed_out());
            all_idle(&pool, 2).await;
            for worker in pids(&pool) {
                signal(worker, Signal::STOP);
            }
            let is_quiet = |it: &ProcessInfo| it.is_stopped() || it.is_spare();
            until(|| descendants().iter().all(is_quiet)).await;
            let waiting: Vec<_> = (0..300).map(|_| pool.spawn(pid, ())).collect();
            within(pool.terminate()).await;
            for outcome in within(join_all(waiting)).await {
                let error = outcome.unwrap_err();
                assert!(error.is_cancelled() && !error.started(), "{error:?}");
            }
            assert!(descendants().iter().all(ProcessInfo::is_spare));
        },
    )
    .await;
}
