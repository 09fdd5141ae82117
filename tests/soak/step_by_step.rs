//! A worker is killed at every step of its work and of its start.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use procession::Pool;

use crate::call::Call;
use crate::causes::Cause;
use crate::deadline::within;
use crate::ledger::Ledger;
use crate::leftovers::alone;
use crate::leftovers::processes::kill_if_running;
use crate::notes::Board;
use crate::operations::work;
use crate::pools::drained;
use crate::settings::Settings;
use crate::steps;

#[procession::test]
async fn worker_killed_at_every_step_of_its_work_fails_one_task() {
    alone(
        "step_by_step::worker_killed_at_every_step_of_its_work_fails_one_task",
        async {
            let pool = Pool::with_workers(1).unwrap();
            for step in 0..steps() {
                work_until_killed(&pool, step).await;
            }
            within(pool.shutdown()).await;
        },
    )
    .await;
}

/// Gives the worker tasks of all kinds and kills it at this step. At most one task fails.
async fn work_until_killed(pool: &Pool, step: u32) {
    let board = Board::new();
    let ledger = Ledger::new(Settings::plain(1));
    drained(pool).await;
    let worker = pool.workers()[0].pid().unwrap();
    let call = |bytes| Call::returning(ledger.number(), &ledger.settings).with_bytes(bytes);
    let large = [0, 100, 70_000, 400_000].map(call);
    let handles = large.clone().map(|it| pool.spawn(work, it.work(&board)));
    let items: Vec<_> = (0..40).map(|_| call(0)).collect();
    let works = items.iter().map(|it| it.work(&board));
    let mut map = pool.map(work, works).chunk_size(20);
    assert!(futures::poll!(map.next()).is_pending());
    // The runtime has only this thread: the pool works while this task yields.
    let moment = Instant::now() + step * Duration::from_micros(20);
    while Instant::now() < moment {
        tokio::task::yield_now().await;
    }
    ledger.kills(worker);
    kill_if_running(worker);
    let mut failed = 0;
    let mut ended = |call: &Call, outcome| {
        failed += u32::from(call.ended(&ledger, outcome) != Cause::Done);
    };
    for (call, handle) in large.iter().zip(handles) {
        ended(call, within(handle).await);
    }
    for call in &items {
        ended(call, within(map.next()).await.unwrap());
    }
    assert!(failed <= 1, "one death cost {failed} tasks at step {step}");
    ledger.check_runs(&board);
}

#[procession::test]
async fn worker_killed_at_every_step_of_its_start_is_replaced() {
    alone(
        "step_by_step::worker_killed_at_every_step_of_its_start_is_replaced",
        async {
            for step in 0..steps() {
                let pool = Pool::with_workers(1).unwrap();
                let handle = pool.spawn(|n: u32| n, step);
                while pool.workers()[0].pid().is_none() {
                    tokio::task::yield_now().await;
                }
                let worker = pool.workers()[0].pid().unwrap();
                let moment = Instant::now() + step * Duration::from_micros(40);
                while Instant::now() < moment {
                    tokio::task::yield_now().await;
                }
                kill_if_running(worker);
                match within(handle).await {
                    Ok(value) => assert_eq!(value, step),
                    Err(error) => {
                        assert_eq!((error.signal(), error.pid()), (Some(9), Some(worker)));
                    }
                }
                assert_eq!(within(pool.run(|n: u32| n, step)).await.unwrap(), step);
                within(pool.terminate()).await;
            }
        },
    )
    .await;
}
