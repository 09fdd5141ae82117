//! A worker is killed at every step.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use procession::Pool;
use serde_bytes::ByteBuf;

use crate::accounts::Accounts;
use crate::deadline::within;
use crate::leftovers::alone;
use crate::load::{large, note};
use crate::notes::Board;
use crate::pools::idle;
use crate::{kill, steps};

#[procession::test]
async fn a_worker_is_killed_at_every_step_of_its_work() {
    alone(
        "step_by_step::a_worker_is_killed_at_every_step_of_its_work",
        async {
            let pool = Pool::with_workers(1).unwrap();
            for step in 0..steps() {
                let board = Board::new();
                let accounts = Accounts::default();
                idle(&pool).await;
                let worker = pool.workers()[0].pid().unwrap();
                let mut handles = Vec::new();
                for size in [0, 100, 70_000, 400_000] {
                    let number = accounts.number();
                    let bytes = ByteBuf::from(vec![number as u8; size]);
                    let task = (board.desk(), number, bytes);
                    handles.push((number, pool.spawn(large, task)));
                }
                let numbers: Vec<_> = (0..40).map(|_| accounts.number()).collect();
                let items = numbers.iter().map(|&number| (board.desk(), number));
                let mut map = pool.map(note, items).chunk_size(20);
                assert!(futures::poll!(map.next()).is_pending());
                // The others have their turns meanwhile: this is the runtime's only thread.
                let moment = Instant::now() + step * Duration::from_micros(20);
                while Instant::now() < moment {
                    tokio::task::yield_now().await;
                }
                kill(worker);
                let mut failed = 0;
                for (number, handle) in handles {
                    let outcome = within(handle).await.map(|(number, _)| number);
                    failed += u32::from(outcome.is_err());
                    accounts.settle(number, outcome, &[]);
                }
                for &number in &numbers {
                    let outcome = within(map.next()).await.unwrap();
                    failed += u32::from(outcome.is_err());
                    accounts.settle(number, outcome, &[]);
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
async fn a_worker_is_killed_at_every_step_of_its_start() {
    alone(
        "step_by_step::a_worker_is_killed_at_every_step_of_its_start",
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
                kill(worker);
                match within(handle).await {
                    Ok(value) => assert_eq!(value, step),
                    Err(error) => {
                        assert_eq!((error.signal(), error.pid()), (Some(9), Some(worker)))
                    }
                }
                assert_eq!(within(pool.run(|n: u32| n, step)).await.unwrap(), step);
                within(pool.terminate()).await;
            }
        },
    )
    .await;
}
