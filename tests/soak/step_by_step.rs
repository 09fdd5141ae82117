//! A worker is killed at every step of its work and of its start.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use procession::Pool;
use serde_bytes::ByteBuf;

use crate::accounts::Accounts;
use crate::deadline::within;
use crate::leftovers::alone;
use crate::leftovers::processes::kill_if_running;
use crate::load::{large, note};
use crate::notes::Board;
use crate::pools::drained;
use crate::steps;

#[procession::test]
async fn worker_killed_at_every_step_of_its_work_fails_one_task() {
    alone(
        "step_by_step::worker_killed_at_every_step_of_its_work_fails_one_task",
        async {
            let pool = Pool::with_workers(1).unwrap();
            for step in 0..steps() {
                let board = Board::new();
                let accounts = Accounts::default();
                drained(&pool).await;
                let worker = pool.workers()[0].pid().unwrap();
                let mut handles = Vec::new();
                for size in [0, 100, 70_000, 400_000] {
                    let number = accounts.number();
                    let bytes = ByteBuf::from(vec![number as u8; size]);
                    let task = (board.notes(), number, bytes);
                    handles.push((number, pool.spawn(large, task)));
                }
                let numbers: Vec<_> = (0..40).map(|_| accounts.number()).collect();
                let items = numbers.iter().map(|&number| (board.notes(), number));
                let mut map = pool.map(note, items).chunk_size(20);
                assert!(futures::poll!(map.next()).is_pending());
                // The runtime has only this thread: the pool works while this task yields.
                let moment = Instant::now() + step * Duration::from_micros(20);
                while Instant::now() < moment {
                    tokio::task::yield_now().await;
                }
                kill_if_running(worker);
                let mut failed = 0;
                for (number, handle) in handles {
                    let outcome = within(handle).await.map(|(number, _)| number);
                    failed += u32::from(outcome.is_err());
                    accounts.record(number, outcome, &[]);
                }
                for &number in &numbers {
                    let outcome = within(map.next()).await.unwrap();
                    failed += u32::from(outcome.is_err());
                    accounts.record(number, outcome, &[]);
                }
                assert!(failed <= 1, "one death cost {failed} tasks at step {step}");
                accounts.compare(&board);
            }
            within(pool.shutdown()).await;
        },
    )
    .await;
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
