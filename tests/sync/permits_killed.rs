//! Holders of permits and waiters for them that are killed.

use std::time::{Duration, Instant};

use procession::sync::Semaphore;

use crate::deadline::{LIMIT, within};
use crate::notes::{Board, Notes};
use crate::seconds;

fn hold(semaphore: Semaphore, notes: Notes, permits: u32) {
    let _held = semaphore.blocking_acquire_many(permits).unwrap();
    notes.meet("holds", "never");
}

async fn wait(semaphore: Semaphore, notes: Notes) {
    notes.write("waits", 0);
    let _held = semaphore.acquire().await.unwrap();
    std::future::pending::<()>().await;
}

#[procession::test]
async fn permits_of_a_dead_process_are_given_back() {
    let (semaphore, board) = (Semaphore::new(3).unwrap(), Board::new());
    let holder = procession::spawn(hold, (semaphore.clone(), board.notes(), 3));
    board.lines("holds", 1).await;
    assert_eq!(semaphore.available_permits(), 0);
    let mut waiting = Box::pin(semaphore.acquire_many(2));
    assert!(futures::poll!(&mut waiting).is_pending());
    let begin = Instant::now();
    holder.abort();
    let two = within(waiting).await.unwrap();
    assert!(begin.elapsed() < LIMIT);
    assert_eq!(semaphore.available_permits(), 1);
    drop(two);
    assert_eq!(semaphore.available_permits(), 3);
    // None was waiting when this one died.
    let holder = procession::spawn(hold, (semaphore.clone(), board.notes(), 3));
    board.lines("holds", 2).await;
    holder.abort();
    assert!(within(holder).await.is_err());
    drop(within(semaphore.acquire_many(3)).await.unwrap());
}

#[procession::test]
async fn waiter_that_dies_takes_no_permit_along() {
    let (semaphore, board) = (Semaphore::new(1).unwrap(), Board::new());
    let permit = semaphore.acquire().await.unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|_| procession::spawn(wait, (semaphore.clone(), board.notes())))
        .collect();
    board.lines("waits", 3).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut own = Box::pin(semaphore.acquire());
    assert!(futures::poll!(&mut own).is_pending());
    drop(permit);
    for waiter in waiters {
        // One after the other gets the permit, and dies with it.
        waiter.abort();
        assert!(within(waiter).await.is_err());
    }
    drop(within(own).await.unwrap());
    assert_eq!(semaphore.available_permits(), 1);
}

#[procession::test]
async fn no_permit_is_lost_while_processes_are_killed_at_every_moment() {
    async fn use_up(semaphore: Semaphore) {
        loop {
            let many = semaphore.acquire_many(2);
            let _ = tokio::time::timeout(Duration::from_micros(200), many).await;
            drop(semaphore.acquire().await);
        }
    }
    let semaphore = Semaphore::new(2).unwrap();
    let living = procession::spawn(use_up, semaphore.clone());
    let end = Instant::now() + seconds();
    for number in 0_u64.. {
        if Instant::now() > end {
            break;
        }
        let victim = procession::spawn(use_up, semaphore.clone());
        tokio::time::sleep(Duration::from_micros(2000 + number * 997 % 15_000)).await;
        victim.abort();
        assert!(within(victim).await.is_err());
        drop(within(semaphore.acquire_many(2)).await.unwrap());
    }
    living.abort();
    assert!(within(living).await.is_err());
    assert_eq!(semaphore.available_permits(), 2);
}
