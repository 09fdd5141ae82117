//! Holders and waiters of a mutex that are killed.

use std::time::{Duration, Instant};

use procession::sync::{Mutex, TryLockError};

use crate::deadline::{LIMIT, within};
use crate::notes::{Board, Notes};

fn hold(mutex: Mutex<u64>, notes: Notes) {
    let mut guard = mutex.blocking_lock().unwrap();
    *guard += 1;
    notes.meet("holds", "never");
}

async fn wait(mutex: Mutex<u64>, notes: Notes) {
    notes.write("waits", 0);
    drop(mutex.lock().await);
}

fn wait_blocking(mutex: Mutex<u64>, notes: Notes) {
    notes.write("waits", 0);
    drop(mutex.blocking_lock());
}

#[procession::test]
async fn mutex_of_a_dead_holder_is_poisoned_until_it_is_recovered() {
    let (mutex, board) = (Mutex::new(40).unwrap(), Board::new());
    let holder = procession::spawn(hold, (mutex.clone(), board.notes()));
    board.lines("holds", 1).await;
    let task = tokio::spawn({
        let mutex = mutex.clone();
        async move { mutex.lock().await.map(|guard| *guard) }
    });
    let thread = std::thread::spawn({
        let mutex = mutex.clone();
        move || mutex.blocking_lock().map(|guard| *guard)
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let begin = Instant::now();
    holder.abort();
    assert!(within(task).await.unwrap().is_err());
    assert!(thread.join().unwrap().is_err());
    assert!(begin.elapsed() < LIMIT);
    assert!(mutex.is_poisoned() && !mutex.is_locked());
    assert_eq!(mutex.try_lock().err(), Some(TryLockError::Poisoned));
    assert!(within(mutex.lock()).await.is_err());
    let mut guard = within(mutex.recover()).await;
    // What the dead process had not stored is not there.
    assert_eq!(*guard, 40);
    *guard = 50;
    drop(guard);
    assert!(!mutex.is_poisoned());
    assert_eq!(*within(mutex.lock()).await.unwrap(), 50);
    assert_eq!(*within(mutex.recover()).await, 50);
    assert_eq!(*mutex.blocking_recover(), 50);
}

#[procession::test]
async fn recovering_process_that_dies_poisons_again() {
    fn recover(mutex: Mutex<u64>, notes: Notes) {
        let _guard = mutex.blocking_recover();
        notes.meet("recovered", "never");
    }
    let (mutex, board) = (Mutex::new(0).unwrap(), Board::new());
    let holder = procession::spawn(hold, (mutex.clone(), board.notes()));
    board.lines("holds", 1).await;
    holder.abort();
    assert!(within(mutex.lock()).await.is_err());
    let recovering = procession::spawn(recover, (mutex.clone(), board.notes()));
    board.lines("recovered", 1).await;
    recovering.abort();
    assert!(within(mutex.lock()).await.is_err());
    assert_eq!(*within(mutex.recover()).await, 0);
    assert_eq!(*within(mutex.lock()).await.unwrap(), 0);
}

#[procession::test]
async fn waiter_that_dies_stops_nobody() {
    let (mutex, board) = (Mutex::new(0).unwrap(), Board::new());
    let guard = mutex.lock().await.unwrap();
    let waiters = [
        procession::spawn(wait, (mutex.clone(), board.notes())),
        procession::spawn(wait_blocking, (mutex.clone(), board.notes())),
        procession::spawn(wait, (mutex.clone(), board.notes())),
    ];
    board.lines("waits", 3).await;
    let mut own = Box::pin(mutex.lock());
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(futures::poll!(&mut own).is_pending());
    for waiter in &waiters {
        waiter.abort();
    }
    for waiter in waiters {
        assert!(within(waiter).await.is_err());
    }
    drop(guard);
    drop(within(own).await.unwrap());
    assert!(!mutex.is_poisoned());
    drop(within(mutex.lock()).await.unwrap());
}
