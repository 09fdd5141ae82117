//! A worker that is stopped (`SIGSTOP`) does not block its pool.

use std::time::Duration;

use futures::future::join_all;
use rustix::process::Signal;
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::leftovers::{Found, alone, descendants};
use crate::notes::Board;
use crate::pools::{all_idle, pids, ready};
use crate::processes::signal;
use crate::tasks::{busy, note, pid};
use crate::{SHORT, once_each, teach};

#[procession::test]
async fn a_stopped_worker_holds_nobody_up() {
    alone("worker_stopped::a_stopped_worker_holds_nobody_up", async {
        let board = Board::new();
        let pool = ready(2).await;
        teach(&pool).await;
        let stopped = pool.workers()[0].pid().unwrap();
        signal(stopped, Signal::STOP);
        // What it has begun until the signal arrives is its own.
        let is_stopped = |it: &Found| it.pid == stopped && it.state == 'T';
        until(|| descendants().iter().any(is_stopped)).await;
        // Whatever it is given is taken back.
        let runs = (0..300).map(|n| pool.run(note, (board.desk(), n)));
        for outcome in within(join_all(runs)).await {
            outcome.unwrap();
        }
        let mapped = pool.map(note, (300..600).map(|n| (board.desk(), n)));
        within(mapped).await.unwrap();
        once_each(&board, "ran", 600);
        // Large values too, which need more than its ring.
        for _ in 0..4 {
            let large = ByteBuf::from(vec![1; 2 << 20]);
            let echo = within(pool.run(|bytes: ByteBuf| bytes, large.clone())).await;
            assert_eq!(echo.unwrap(), large);
        }
        // Once it goes on, it is used again.
        signal(stopped, Signal::CONT);
        let used = async {
            while pool.run(pid, ()).await.unwrap() != stopped {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(used).await;
        assert_eq!(pool.metrics().crashed(), 0);

        // One that is stopped while it runs something can be timed out, aborted and terminated.
        // Long enough for both to have begun before, under any load.
        let timed = pool.run(busy, board.desk()).timeout(40 * SHORT).spawn();
        let aborted = pool.spawn(busy, board.desk());
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
        until(|| descendants().iter().all(|it| it.state == 'T')).await;
        let waiting: Vec<_> = (0..300).map(|_| pool.spawn(pid, ())).collect();
        within(pool.terminate()).await;
        for outcome in within(join_all(waiting)).await {
            let error = outcome.unwrap_err();
            assert!(error.is_cancelled() && !error.started(), "{error:?}");
        }
        assert!(descendants().iter().all(Found::is_spare));
    })
    .await;
}
