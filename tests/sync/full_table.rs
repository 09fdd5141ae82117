//! Processes that end with more waiting parties than an object has records for.

use futures::FutureExt as _;
use procession::sync::{Mutex, Semaphore};

use crate::deadline::within;
use crate::notes::{Board, Notes};

/// As many parties as an object has, and some more.
const PARTIES: usize = 4100;

/// Waits at both with many tasks until it is killed.
async fn wait_often(mutex: Mutex<u64>, semaphore: Semaphore, notes: Notes) {
    let mut locks: Vec<_> = (0..PARTIES).map(|_| mutex.lock()).collect();
    let mut permits: Vec<_> = (0..PARTIES).map(|_| semaphore.acquire_many(2)).collect();
    for lock in &mut locks {
        assert!(lock.now_or_never().is_none());
    }
    for permit in &mut permits {
        assert!(permit.now_or_never().is_none());
    }
    notes.write("waits", 0);
    std::future::pending::<()>().await;
}

#[procession::test]
async fn table_that_a_dead_process_has_filled_has_room_again() {
    let (mutex, semaphore) = (Mutex::new(0).unwrap(), Semaphore::new(1).unwrap());
    let board = Board::new();
    let held = mutex.lock().await.unwrap();
    let arguments = (mutex.clone(), semaphore.clone(), board.notes());
    let waits = procession::spawn(wait_often, arguments);
    board.lines("waits", 1).await;
    waits.abort();
    assert!(within(waits).await.is_err());
    drop(held);
    // No process has noticed that end: none waited.
    drop(within(mutex.lock()).await.unwrap());
    drop(semaphore.try_acquire().unwrap());
    drop(within(semaphore.acquire()).await.unwrap());
}
