//! Notifications: how many, whom, and what becomes of unused ones.

use std::time::Duration;

use procession::sync::{Condvar, Mutex};

use crate::deadline::within;
use crate::notes::{Board, Notes};

async fn wait(mutex: Mutex<u32>, condvar: Condvar, notes: Notes) {
    let guard = mutex.lock().await.unwrap();
    notes.write("waits", 0);
    let mut guard = condvar.wait(guard).await.unwrap();
    *guard += 1;
    notes.write("woken", 0);
}

fn wait_blocking(mutex: Mutex<u32>, condvar: Condvar, notes: Notes) {
    let guard = mutex.blocking_lock().unwrap();
    notes.write("waits", 0);
    let mut guard = condvar.blocking_wait(guard).unwrap();
    *guard += 1;
    notes.write("woken", 0);
}

/// Waits until `count` parties are in the table: they have released the lock.
async fn until_waiting(mutex: &Mutex<u32>, board: &Board, count: usize) {
    board.lines("waits", count).await;
    drop(within(mutex.lock()).await.unwrap());
}

#[procession::test]
async fn notifications_are_exact() {
    let (mutex, condvar, board) = (
        Mutex::new(0).unwrap(),
        Condvar::new().unwrap(),
        Board::new(),
    );
    let arguments = || (mutex.clone(), condvar.clone(), board.notes());
    let mut children = Vec::new();
    for count in 1..=6 {
        children.push(match count % 2 {
            0 => procession::spawn(wait, arguments()),
            _ => procession::spawn(wait_blocking, arguments()),
        });
        until_waiting(&mutex, &board, count).await;
    }
    let settled = Duration::from_millis(100);
    condvar.notify_one();
    board.lines("woken", 1).await;
    assert_eq!(condvar.notify(2), 2);
    board.lines("woken", 3).await;
    tokio::time::sleep(settled).await;
    assert_eq!(*within(mutex.lock()).await.unwrap(), 3);
    condvar.notify_all();
    for child in children {
        within(child).await.unwrap();
    }
    assert_eq!(*within(mutex.lock()).await.unwrap(), 6);
    assert_eq!(condvar.notify(7), 0);
    // A notification for none is not kept.
    let waits = condvar.wait(within(mutex.lock()).await.unwrap());
    assert!(tokio::time::timeout(settled, waits).await.is_err());
}

#[procession::test]
async fn cancelled_wait_lets_go_of_the_lock_and_passes_its_notification_on() {
    let (mutex, condvar) = (Mutex::new(0_u32).unwrap(), Condvar::new().unwrap());
    let mut first = condvar.wait(within(mutex.lock()).await.unwrap());
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = condvar.wait(within(mutex.lock()).await.unwrap());
    assert!(futures::poll!(&mut second).is_pending());
    condvar.notify_one();
    drop(first);
    drop(within(second).await.unwrap());
    // Before its first poll it has the lock, and releases it.
    let unpolled = condvar.wait(within(mutex.lock()).await.unwrap());
    assert!(mutex.is_locked());
    drop(unpolled);
    assert!(!mutex.is_locked());
}

#[procession::test]
async fn waiter_that_dies_steals_no_notification() {
    let (mutex, condvar, board) = (
        Mutex::new(0).unwrap(),
        Condvar::new().unwrap(),
        Board::new(),
    );
    let arguments = || (mutex.clone(), condvar.clone(), board.notes());
    let dying = procession::spawn(wait, arguments());
    until_waiting(&mutex, &board, 1).await;
    // Notified, and dead before it has the lock.
    let guard = within(mutex.lock()).await.unwrap();
    let mut own = condvar.wait(guard);
    assert!(futures::poll!(&mut own).is_pending());
    let guard = within(mutex.lock()).await.unwrap();
    condvar.notify_one();
    dying.abort();
    assert!(within(dying).await.is_err());
    drop(guard);
    drop(within(own).await.unwrap());
    // Dead before it was notified.
    let dying = procession::spawn(wait_blocking, arguments());
    until_waiting(&mutex, &board, 2).await;
    let guard = within(mutex.lock()).await.unwrap();
    let mut own = condvar.wait(guard);
    assert!(futures::poll!(&mut own).is_pending());
    dying.abort();
    assert!(within(dying).await.is_err());
    assert_eq!(condvar.notify(1), 1);
    assert_eq!(*within(own).await.unwrap(), 0);
}

#[procession::test]
async fn condition_is_waited_for_between_processes() {
    async fn count_up(mutex: Mutex<u32>, condvar: Condvar) {
        for _ in 0..100 {
            *mutex.lock().await.unwrap() += 1;
            condvar.notify_one();
        }
    }
    let (mutex, condvar) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
    let child = procession::spawn(count_up, (mutex.clone(), condvar.clone()));
    let guard = within(mutex.lock()).await.unwrap();
    let guard = within(condvar.wait_while(guard, |n| *n < 50))
        .await
        .unwrap();
    assert!(*guard >= 50);
    let guard = condvar.blocking_wait_while(guard, |n| *n < 100).unwrap();
    assert_eq!(*guard, 100);
    drop(guard);
    within(child).await.unwrap();
}

#[procession::test]
async fn dead_holder_ends_the_wait_with_an_error() {
    fn die(mutex: Mutex<u32>, notes: Notes) {
        let _guard = mutex.blocking_lock();
        notes.meet("holds", "never");
    }
    let (mutex, condvar, board) = (
        Mutex::new(0).unwrap(),
        Condvar::new().unwrap(),
        Board::new(),
    );
    let mut waiting = condvar.wait(within(mutex.lock()).await.unwrap());
    assert!(futures::poll!(&mut waiting).is_pending());
    let holder = procession::spawn(die, (mutex.clone(), board.notes()));
    board.lines("holds", 1).await;
    condvar.notify_one();
    holder.abort();
    assert!(within(waiting).await.is_err());
}
