//! Permits among tasks, threads and processes that live.

use std::time::Duration;

use procession::sync::{Event, Semaphore, TryAcquireError};

use crate::deadline::within;
use crate::notes::{Board, Notes};

/// Notes that it is in, and how many are in at most.
async fn enter(semaphore: Semaphore, notes: Notes) -> usize {
    let mut most = 0;
    for _ in 0..20 {
        let permit = semaphore.acquire().await.unwrap();
        notes.write("in", 1);
        tokio::time::sleep(Duration::from_micros(300)).await;
        notes.write("out", 1);
        // Processes that come in and go out between the two looks are in the second alone.
        let inside = notes.read("in").len();
        most = most.max(inside.saturating_sub(notes.read("out").len()));
        drop(permit);
    }
    most
}

#[procession::test]
async fn semaphore_lets_in_as_many_as_it_has_permits() {
    let (semaphore, board) = (Semaphore::new(2).unwrap(), Board::new());
    let children: Vec<_> = (0..4)
        .map(|_| procession::spawn(enter, (semaphore.clone(), board.notes())))
        .collect();
    for child in children {
        // Each reads "in" before "out", so that it counts no more than two and its own.
        assert!(within(child).await.unwrap() <= 3);
    }
    assert_eq!(semaphore.available_permits(), 2);
    assert_eq!(board.read("in").len(), 80);
}

#[procession::test]
async fn semaphore_gives_permits_in_the_order_in_which_they_were_asked_for() {
    let semaphore = Semaphore::new(3).unwrap();
    let all = semaphore.try_acquire_many(3).unwrap();
    assert_eq!(all.num_permits(), 3);
    let mut many = semaphore.acquire_many(2);
    let mut one = semaphore.acquire();
    assert!(futures::poll!(&mut many).is_pending());
    assert!(futures::poll!(&mut one).is_pending());
    drop(all);
    let many = within(many).await.unwrap();
    let one = within(one).await.unwrap();
    assert_eq!(
        semaphore.try_acquire().err(),
        Some(TryAcquireError::NoPermits)
    );
    drop(many);
    assert_eq!(semaphore.available_permits(), 2);
    // A request for many is not overtaken by one for few, until it is given up.
    let mut many = semaphore.acquire_many(3);
    assert!(futures::poll!(&mut many).is_pending());
    assert!(semaphore.try_acquire().is_err());
    drop(many);
    drop(semaphore.try_acquire().unwrap());
    drop(one);
    assert_eq!(semaphore.available_permits(), 3);
}

#[procession::test]
async fn semaphore_timeouts_lose_no_permit() {
    let semaphore = Semaphore::new(1).unwrap();
    let permit = semaphore.blocking_acquire().unwrap();
    for limit in [0, 1, 20] {
        let limit = Duration::from_millis(limit);
        assert!(
            tokio::time::timeout(limit, semaphore.acquire())
                .await
                .is_err()
        );
    }
    let mut given = semaphore.acquire();
    assert!(futures::poll!(&mut given).is_pending());
    drop(permit);
    // It was given to a future that is dropped before it has seen that.
    drop(given);
    assert_eq!(semaphore.available_permits(), 1);
    drop(within(semaphore.acquire()).await.unwrap());
}

#[procession::test]
async fn closed_semaphore_refuses() {
    let semaphore = Semaphore::new(1).unwrap();
    let _permit = semaphore.acquire().await.unwrap();
    let mut waiting = semaphore.acquire();
    assert!(futures::poll!(&mut waiting).is_pending());
    semaphore.close();
    assert!(within(waiting).await.is_err());
    assert!(semaphore.is_closed() && semaphore.blocking_acquire().is_err());
    assert_eq!(semaphore.try_acquire().err(), Some(TryAcquireError::Closed));
}

#[procession::test]
async fn permits_are_added_and_forgotten_and_not_over_the_limit() {
    let semaphore = Semaphore::new(0).unwrap();
    let mut waiting = semaphore.acquire();
    assert!(futures::poll!(&mut waiting).is_pending());
    semaphore.add_permits(2);
    within(waiting).await.unwrap().forget();
    assert_eq!(semaphore.available_permits(), 1);
    assert_eq!(semaphore.forget_permits(5), 1);
    assert_eq!(semaphore.available_permits(), 0);
    assert!(!semaphore.try_add_permits(Semaphore::MAX_PERMITS + 1));
    assert!(std::panic::catch_unwind(|| semaphore.add_permits(usize::MAX)).is_err());
    assert_eq!(semaphore.available_permits(), 0);
    assert!(Semaphore::new(Semaphore::MAX_PERMITS + 1).is_err());
}

#[procession::test]
async fn semaphore_survives_a_hundred_tasks_that_cancel_at_random() {
    let semaphore = Semaphore::new(3).unwrap();
    let tasks: Vec<_> = (0..100_u64)
        .map(|n| {
            let semaphore = semaphore.clone();
            tokio::spawn(async move {
                for turn in 0..30_u64 {
                    let limit = Duration::from_micros((n * 37 + turn * 101) % 400);
                    let many = 1 + (n % 3) as u32;
                    let acquire = semaphore.acquire_many(many);
                    if let Ok(permits) = tokio::time::timeout(limit, acquire).await {
                        assert_eq!(permits.unwrap().num_permits(), many as usize);
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        within(task).await.unwrap();
    }
    assert_eq!(semaphore.available_permits(), 3);
}

/// Has requests served again and again.
fn serve_until_stopped(permits: Semaphore, stop: Event) {
    while !stop.is_set() {
        permits.available_permits();
    }
}

#[procession::test]
async fn semaphore_with_waiting_requests_is_not_overtaken_while_others_serve() {
    let (permits, stop) = (Semaphore::new(1).unwrap(), Event::new().unwrap());
    let child = procession::spawn(serve_until_stopped, (permits.clone(), stop.clone()));
    for _ in 0..200 {
        // A task without budget would not begin to wait.
        tokio::task::yield_now().await;
        let held = within(permits.acquire()).await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| permits.acquire()).collect();
        for future in &mut waiting {
            assert!(futures::poll!(future).is_pending());
        }
        drop(held);
        for future in waiting {
            assert!(permits.try_acquire().is_err());
            drop(within(future).await.unwrap());
        }
    }
    stop.set();
    within(child).await.unwrap();
}
