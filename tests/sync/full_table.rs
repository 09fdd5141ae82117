//! Processes that end with more waiting parties than an object has records for.

use futures::FutureExt as _;
use procession::sync::{Mutex, Semaphore};

use crate::deadline::within;
use crate::notes::{Board, Notes};

/// As many parties as an object has, and some more.
const PARTIES: usize = 4100;

/// After so many parties there is a note.
const STEP: usize = 100;

fn note_step(notes: &Notes, n: usize) {
    if n % STEP == 0 {
        notes.write("steps", n);
    }
}

/// Waits at both with many tasks until it is killed.
async fn wait_often(mutex: Mutex<u64>, semaphore: Semaphore, notes: Notes) {
    let mut locks: Vec<_> = (0..PARTIES).map(|_| mutex.lock()).collect();
    let mut permits: Vec<_> = (0..PARTIES).map(|_| semaphore.acquire_many(2)).collect();
    for (n, lock) in locks.iter_mut().enumerate() {
        assert!(lock.now_or_never().is_none());
        note_step(&notes, n);
    }
    for (n, permit) in permits.iter_mut().enumerate() {
        assert!(permit.now_or_never().is_none());
        note_step(&notes, n);
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
    // Without optimisation all of it takes seconds of a processor, of which a machine under load gives it a small share:
    // the limit is for each step.
    for steps in 1..=2 * PARTIES / STEP {
        board.lines("steps", steps).await;
    }
    board.lines("waits", 1).await;
    waits.abort();
    assert!(within(waits).await.is_err());
    drop(held);
    // No process has noticed that end: none waited.
    drop(within(mutex.lock()).await.unwrap());
    drop(semaphore.try_acquire().unwrap());
    drop(within(semaphore.acquire()).await.unwrap());
}
