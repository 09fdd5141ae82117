//! Processes that use an object again and again are killed at every moment of that: the others go on.

use std::time::{Duration, Instant};

use procession::sync::{Barrier, Condvar, Event, Mutex, Once, RwLock};

use crate::deadline::within;
use crate::seconds;

/// Starts victims with `spawn` and kills each a little later after its start than the one before. After each,
/// `others_go_on`.
async fn kill_at_every_moment<F>(
    spawn: impl Fn() -> procession::ProcessHandle<()>,
    others_go_on: impl Fn() -> F,
) where
    F: Future<Output = ()>,
{
    let end = Instant::now() + seconds() / 2;
    let mut step = 0_u64;
    while Instant::now() < end || step < 4 {
        step += 1;
        let victim = spawn();
        tokio::time::sleep(Duration::from_micros(1000 + step * 313 % 9000)).await;
        victim.abort();
        assert!(within(victim).await.is_err());
        within(others_go_on()).await;
    }
}

async fn read_and_write(lock: RwLock<[u64; 20]>) {
    loop {
        let Ok(mut guard) = lock.write().await else {
            drop(lock.recover().await);
            continue;
        };
        for word in guard.iter_mut() {
            *word += 1;
        }
        drop(guard);
        let _ = lock.read().await;
    }
}

#[procession::test]
async fn rwlock_goes_on_while_writers_and_readers_are_killed() {
    let lock = RwLock::new([0; 20]).unwrap();
    let living = procession::spawn(read_and_write, lock.clone());
    let spawn = || procession::spawn(read_and_write, lock.clone());
    kill_at_every_moment(spawn, || async {
        let value = *lock.recover().await;
        assert!(value.iter().all(|word| *word == value[0]), "torn");
        let _ = lock.read().await;
    })
    .await;
    living.abort();
    assert!(within(living).await.is_err());
    assert!(within(lock.recover()).await[0] > 0);
}

/// Passes a token round: each waits until it has changed, and changes it.
async fn pass(token: Mutex<u64>, changed: Condvar) {
    loop {
        let mut guard = match token.lock().await {
            Ok(guard) => guard,
            Err(_) => token.recover().await,
        };
        *guard += 1;
        changed.notify_one();
        let wait = changed.wait(guard);
        let _ = tokio::time::timeout(Duration::from_millis(2), wait).await;
    }
}

#[procession::test]
async fn condvar_goes_on_while_waiters_and_notifiers_are_killed() {
    let (token, changed) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
    let arguments = || (token.clone(), changed.clone());
    let living = procession::spawn(pass, arguments());
    kill_at_every_moment(
        || procession::spawn(pass, arguments()),
        || async {
            // The living one changes it.
            let before = *token.recover().await;
            while *token.recover().await == before {
                let guard = token.recover().await;
                let wait = changed.wait(guard);
                let _ = tokio::time::timeout(Duration::from_millis(20), wait).await;
            }
        },
    )
    .await;
    living.abort();
    assert!(within(living).await.is_err());
}

async fn meet(barrier: Barrier) {
    loop {
        if barrier.wait().await.is_err() {
            barrier.reset();
        }
    }
}

#[procession::test]
async fn barrier_breaks_or_releases_while_parties_are_killed() {
    let barrier = Barrier::new(3).unwrap();
    let living = procession::spawn(meet, barrier.clone());
    kill_at_every_moment(
        || procession::spawn(meet, barrier.clone()),
        || async {
            // With the living one and two here it is complete, whatever the dead one has left.
            let mut passed = 0;
            while passed < 3 {
                // One may be refused, and the other come after the living one has reset the barrier.
                let both = futures::future::try_join(barrier.wait(), barrier.wait());
                let limit = Duration::from_millis(200);
                match tokio::time::timeout(limit, both).await {
                    Ok(Ok(_)) => passed += 1,
                    _ => barrier.reset(),
                }
            }
        },
    )
    .await;
    living.abort();
    assert!(within(living).await.is_err());
}

async fn set_and_wait(there: Event, back: Event) {
    loop {
        there.set();
        back.wait().await;
        back.clear();
    }
}

#[procession::test]
async fn event_wakes_while_setters_and_waiters_are_killed() {
    let (there, back) = (Event::new().unwrap(), Event::new().unwrap());
    let arguments = || (there.clone(), back.clone());
    let living = procession::spawn(set_and_wait, arguments());
    kill_at_every_moment(
        || procession::spawn(set_and_wait, arguments()),
        || async {
            for _ in 0..5 {
                there.wait().await;
                there.clear();
                back.set();
            }
        },
    )
    .await;
    living.abort();
    assert!(within(living).await.is_err());
}

#[procession::test]
async fn once_is_completed_by_another_while_runners_are_killed() {
    async fn run(once: Once) {
        once.call_once(async || std::future::pending().await).await;
    }
    let once = Once::new().unwrap();
    kill_at_every_moment(
        || procession::spawn(run, once.clone()),
        || async { assert!(!once.is_completed()) },
    )
    .await;
    assert!(within(once.call_once(async || ())).await);
}
