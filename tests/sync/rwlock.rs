//! Readers and writers, alive and killed.

use std::time::Duration;

use procession::sync::{Event, RwLock, TryLockError};

use crate::deadline::within;
use crate::notes::{Board, Notes};

fn read(lock: RwLock<[u64; 20]>, notes: Notes) {
    let _guard = lock.blocking_read().unwrap();
    notes.meet("reads", "never");
}

fn write(lock: RwLock<[u64; 20]>, notes: Notes) {
    let mut guard = lock.blocking_write().unwrap();
    guard[0] = 9;
    notes.meet("writes", "never");
}

#[procession::test]
async fn readers_share_and_a_writer_is_alone() {
    let (lock, board) = (RwLock::new([1; 20]).unwrap(), Board::new());
    let reader = procession::spawn(read, (lock.clone(), board.notes()));
    board.lines("reads", 1).await;
    let own = lock.try_read().unwrap();
    assert_eq!(own[19], 1);
    assert_eq!(lock.try_write().err(), Some(TryLockError::WouldBlock));
    let mut writer = Box::pin(lock.write());
    assert!(futures::poll!(&mut writer).is_pending());
    // A reader that comes after a waiting writer waits.
    assert_eq!(lock.try_read().err(), Some(TryLockError::WouldBlock));
    drop(own);
    assert!(futures::poll!(&mut writer).is_pending());
    // A reader that dies lets the writer in, and poisons nothing.
    reader.abort();
    let mut guard = within(writer).await.unwrap();
    guard[19] = 2;
    assert!(lock.is_locked() && lock.try_read().is_err());
    drop(guard);
    assert!(!lock.is_locked() && !lock.is_poisoned());
    assert_eq!(within(lock.read()).await.unwrap()[19], 2);
}

#[procession::test]
async fn cancelled_writer_lets_readers_in() {
    let lock = RwLock::new(0_u8).unwrap();
    let reading = lock.blocking_read().unwrap();
    let limit = Duration::from_millis(5);
    assert!(tokio::time::timeout(limit, lock.write()).await.is_err());
    drop(lock.try_read().unwrap());
    drop(reading);
    *lock.try_write().unwrap() = 1;
    assert_eq!(*lock.blocking_read().unwrap(), 1);
}

#[procession::test]
async fn writer_that_dies_poisons_until_it_is_recovered() {
    let (lock, board) = (RwLock::new([1; 20]).unwrap(), Board::new());
    let writer = procession::spawn(write, (lock.clone(), board.notes()));
    board.lines("writes", 1).await;
    let (mut reads, mut writes) = (lock.read(), lock.write());
    assert!(futures::poll!(&mut reads).is_pending());
    assert!(futures::poll!(&mut writes).is_pending());
    writer.abort();
    assert!(within(reads).await.is_err() && within(writes).await.is_err());
    assert!(lock.is_poisoned());
    assert_eq!(lock.try_read().err(), Some(TryLockError::Poisoned));
    assert_eq!(within(lock.recover()).await[0], 1);
    assert!(!lock.is_poisoned());
    lock.blocking_recover()[0] = 3;
    assert_eq!(within(lock.read()).await.unwrap()[0], 3);
}

/// Has requests served again and again.
fn serve_until_stopped(lock: RwLock<u32>, stop: Event) {
    while !stop.is_set() {
        lock.is_locked();
    }
}

#[procession::test]
async fn rwlock_with_waiting_writers_is_not_overtaken_while_others_serve() {
    let (lock, stop) = (RwLock::new(0_u32).unwrap(), Event::new().unwrap());
    let child = procession::spawn(serve_until_stopped, (lock.clone(), stop.clone()));
    for _ in 0..200 {
        // A task without budget would not begin to wait.
        tokio::task::yield_now().await;
        let held = within(lock.read()).await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| lock.write()).collect();
        for future in &mut waiting {
            assert!(futures::poll!(future).is_pending());
        }
        assert!(lock.try_read().is_err());
        drop(held);
        for future in waiting {
            assert!(lock.try_read().is_err() && lock.try_write().is_err());
            drop(within(future).await.unwrap());
        }
    }
    stop.set();
    within(child).await.unwrap();
}
