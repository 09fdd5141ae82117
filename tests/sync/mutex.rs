//! A mutex among tasks, threads and processes that live.

use std::time::Duration;

use procession::Pool;
use procession::sync::{Event, Mutex, TryLockError};

use crate::deadline::within;
use crate::leftovers;

async fn add_many(total: Mutex<u64>, times: u64) {
    for _ in 0..times {
        *total.lock().await.unwrap() += 1;
    }
}

fn add_many_blocking(total: Mutex<u64>, times: u64) {
    for _ in 0..times {
        *total.blocking_lock().unwrap() += 1;
    }
}

#[procession::test]
async fn mutex_excludes_tasks_threads_and_processes() {
    let total = Mutex::new(0_u64).unwrap();
    let (times, all) = (2000, 6 * 2000);
    let children = [
        procession::spawn(add_many, (total.clone(), times)),
        procession::spawn(add_many, (total.clone(), times)),
        procession::spawn(add_many_blocking, (total.clone(), times)),
    ];
    let thread = std::thread::spawn({
        let total = total.clone();
        move || add_many_blocking(total, times)
    });
    let tasks = [
        tokio::spawn(add_many(total.clone(), times)),
        tokio::spawn(add_many(total.clone(), times)),
    ];
    for child in children {
        within(child).await.unwrap();
    }
    for task in tasks {
        within(task).await.unwrap();
    }
    thread.join().unwrap();
    assert_eq!(*within(total.lock()).await.unwrap(), all);
}

#[procession::test]
async fn mutex_that_is_held_is_not_locked_again() {
    let mutex = Mutex::new([7_u8; 3]).unwrap();
    let guard = mutex.try_lock().unwrap();
    assert!(mutex.is_locked() && !mutex.is_poisoned());
    assert_eq!(mutex.try_lock().err(), Some(TryLockError::WouldBlock));
    let mut waiting = mutex.lock();
    for limit in [0, 20] {
        let limit = Duration::from_millis(limit);
        assert!(tokio::time::timeout(limit, &mut waiting).await.is_err());
    }
    drop(guard);
    assert_eq!(*within(waiting).await.unwrap(), [7; 3]);
    assert!(!mutex.is_locked());
}

#[procession::test]
async fn mutex_value_is_stored_only_if_it_was_changed() {
    let mutex = Mutex::new([1_u64; 100]).unwrap();
    assert_eq!(mutex.blocking_lock().unwrap()[99], 1);
    mutex.blocking_lock().unwrap()[99] = 2;
    assert_eq!(mutex.lock().await.unwrap()[99], 2);
    let empty = Mutex::new(()).unwrap();
    *empty.lock().await.unwrap() = ();
    assert!(empty.try_lock().is_ok());
}

#[procession::test]
async fn panic_of_the_holder_unlocks_and_does_not_poison() {
    fn panics(mutex: Mutex<u32>) {
        let mut guard = mutex.blocking_lock().unwrap();
        *guard = 5;
        panic!("on purpose");
    }
    let mutex = Mutex::new(0).unwrap();
    let pool = Pool::with_workers(1).unwrap();
    assert!(
        within(pool.run(panics, mutex.clone()))
            .await
            .unwrap_err()
            .is_panic()
    );
    assert_eq!(*within(mutex.lock()).await.unwrap(), 5);
}

#[procession::test]
async fn mutex_wakes_those_that_wait_in_the_order_in_which_they_came() {
    let mutex = Mutex::new(0_u32).unwrap();
    let guard = mutex.lock().await.unwrap();
    let mut waiting: Vec<_> = (0..50).map(|_| Box::pin(mutex.lock())).collect();
    for future in &mut waiting {
        assert!(futures::poll!(future).is_pending());
    }
    drop(guard);
    for future in waiting {
        assert_eq!(mutex.try_lock().err(), Some(TryLockError::WouldBlock));
        drop(within(future).await.unwrap());
    }
    assert!(mutex.try_lock().is_ok());
}

/// Has requests served again and again.
fn serve_until_stopped(mutex: Mutex<u32>, stop: Event) {
    while !stop.is_set() {
        mutex.is_locked();
    }
}

#[procession::test]
async fn mutex_with_waiting_tasks_is_not_overtaken_while_others_serve() {
    let (mutex, stop) = (Mutex::new(0_u32).unwrap(), Event::new().unwrap());
    let child = procession::spawn(serve_until_stopped, (mutex.clone(), stop.clone()));
    let thread = std::thread::spawn({
        let (mutex, stop) = (mutex.clone(), stop.clone());
        move || serve_until_stopped(mutex, stop)
    });
    for _ in 0..200 {
        // A task without budget would not begin to wait.
        tokio::task::yield_now().await;
        let guard = within(mutex.lock()).await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| mutex.lock()).collect();
        for future in &mut waiting {
            assert!(futures::poll!(future).is_pending());
        }
        drop(guard);
        for future in waiting {
            assert_eq!(mutex.try_lock().err(), Some(TryLockError::WouldBlock));
            drop(within(future).await.unwrap());
        }
        assert!(mutex.try_lock().is_ok());
    }
    stop.set();
    within(child).await.unwrap();
    thread.join().unwrap();
}

#[procession::test]
async fn mutex_is_free_when_those_that_waited_have_left() {
    let mutex = Mutex::new(0_u32).unwrap();
    for leaves_first in [true, false] {
        let guard = mutex.lock().await.unwrap();
        let mut waiting: Vec<_> = (0..2).map(|_| mutex.lock()).collect();
        for future in &mut waiting {
            assert!(futures::poll!(future).is_pending());
        }
        match leaves_first {
            true => drop((waiting, guard)),
            false => drop((guard, waiting)),
        }
        assert!(mutex.try_lock().is_ok());
    }
}

#[procession::test]
async fn mutex_survives_a_hundred_tasks_that_cancel_at_random() {
    let mutex = Mutex::new(0_u64).unwrap();
    let tasks: Vec<_> = (0..100_u64)
        .map(|n| {
            let mutex = mutex.clone();
            tokio::spawn(async move {
                let mut locked = 0;
                for turn in 0..50_u64 {
                    let limit = Duration::from_micros((n * 37 + turn * 101) % 400);
                    if let Ok(guard) = tokio::time::timeout(limit, mutex.lock()).await {
                        *guard.unwrap() += 1;
                        locked += 1;
                        tokio::task::yield_now().await;
                    }
                }
                locked
            })
        })
        .collect();
    let mut all = 0;
    for task in tasks {
        all += within(task).await.unwrap();
    }
    assert!(all > 0);
    assert_eq!(*within(mutex.lock()).await.unwrap(), all);
}

#[procession::test]
async fn mutex_leaves_nothing() {
    leftovers::alone("mutex::mutex_leaves_nothing", async {
        let mutex = Mutex::new(0_u64).unwrap();
        let guard = mutex.lock().await.unwrap();
        let child = procession::spawn(add_many, (mutex.clone(), 10));
        let waits = tokio::time::timeout(Duration::from_millis(20), mutex.lock());
        assert!(waits.await.is_err());
        drop(guard);
        within(child).await.unwrap();
        assert_eq!(*within(mutex.lock()).await.unwrap(), 10);
    })
    .await;
}

#[test]
fn mutex_works_without_a_runtime_of_tokio() {
    let mutex = Mutex::new(0_u32).unwrap();
    let guard = mutex.blocking_lock().unwrap();
    let other = mutex.clone();
    let thread = std::thread::spawn(move || {
        crate::executor::block_on(async { *other.lock().await.unwrap() += 1 });
    });
    std::thread::sleep(Duration::from_millis(20));
    drop(guard);
    thread.join().unwrap();
    assert_eq!(*mutex.blocking_lock().unwrap(), 1);
}
