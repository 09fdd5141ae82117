//! Limits of a worker that runs several tasks: the task that goes over one is known.

use futures::future::join_all;

use super::{parked_async, several};
use crate::deadline::within;
use crate::notes::Board;

/// Allocates until that fails.
async fn grow() -> usize {
    let mut all = Vec::new();
    loop {
        tokio::task::yield_now().await;
        all.push(vec![1_u8; 8 << 20]);
        if all.len() > 1 << 20 {
            return all.len();
        }
    }
}

#[procession::test]
async fn task_over_the_memory_limit_is_known_and_those_beside_it_crash() {
    let pool = several(1, 3).memory_limit(256 << 20).build().unwrap();
    let board = Board::new();
    let parked: Vec<_> = (0..2)
        .map(|n| pool.spawn(parked_async, (board.notes(), n)))
        .collect();
    board.lines("begun", 2).await;
    let error = within(pool.run(grow, ())).await.unwrap_err();
    assert!(error.is_memory_exceeded(), "{error:?}");
    for outcome in within(join_all(parked)).await {
        let error = outcome.unwrap_err();
        assert!(error.is_crashed() && error.started(), "{error:?}");
    }
    assert_eq!(within(pool.run(async || 1_u8, ())).await.unwrap(), 1);
}

/// A panic that cannot unwind.
async fn aborts_by_panic() -> u32 {
    extern "C" fn cannot_unwind() {
        panic!("this function cannot unwind");
    }
    tokio::task::yield_now().await;
    cannot_unwind();
    0
}

#[procession::test]
async fn panic_that_aborts_is_of_its_task_and_those_beside_it_crash() {
    let pool = several(1, 3).build().unwrap();
    let board = Board::new();
    let parked: Vec<_> = (0..2)
        .map(|n| pool.spawn(parked_async, (board.notes(), n)))
        .collect();
    board.lines("begun", 2).await;
    let error = within(pool.run(aborts_by_panic, ())).await.unwrap_err();
    assert!(error.is_panic(), "{error:?}");
    let message = error.panic().unwrap().message();
    assert!(message.contains("this function cannot unwind"), "{message}");
    for outcome in within(join_all(parked)).await {
        let error = outcome.unwrap_err();
        assert!(error.is_crashed() && error.panic().is_none(), "{error:?}");
    }
}
