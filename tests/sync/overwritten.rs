//! A process that overwrites the memory of its objects: the others get an error or go on, and never hang for as long as
//! that process is gone.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use procession::sync::{Barrier, Condvar, Event, Mutex, Once, RwLock, Semaphore};
use serde::{Deserialize, Serialize};

use crate::deadline::within;

/// One object of each type.
#[derive(Clone, Serialize, Deserialize)]
struct Objects {
    mutex: Mutex<[u64; 9]>,
    rwlock: RwLock<u64>,
    semaphore: Semaphore,
    event: Event,
    barrier: Barrier,
    condvar: Condvar,
    once: Once,
}

impl Objects {
    fn new() -> Self {
        Self {
            mutex: Mutex::new([1; 9]).unwrap(),
            rwlock: RwLock::new(1).unwrap(),
            semaphore: Semaphore::new(1).unwrap(),
            event: Event::new().unwrap(),
            barrier: Barrier::new(2).unwrap(),
            condvar: Condvar::new().unwrap(),
            once: Once::new().unwrap(),
        }
    }
}

/// Has `write` overwrite the memory of each object: it is given the memory, and where the object begins and ends there.
fn overwrite(mut write: impl FnMut(&std::fs::File, u64, u64)) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = std::fs::File::options()
        .write(true)
        .open("/proc/self/mem")
        .unwrap();
    for line in maps.lines().filter(|line| line.contains("procession-sync")) {
        let range = line.split_whitespace().next().unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let at = |digits| u64::from_str_radix(digits, 16).unwrap();
        write(&memory, at(from), at(to));
    }
}

/// Writes pseudo-random bytes, or the same byte, over all shared memory of the objects, and dies.
fn scribble(objects: Objects, seed: u64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9);
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        match seed % 4 {
            0 => u64::MAX,
            // A record of no process.
            1 => 1,
            _ => random,
        }
    };
    overwrite(|memory, from, to| {
        let bytes: Vec<u8> = (from..to)
            .step_by(8)
            .flat_map(|_| next().to_ne_bytes())
            .collect();
        memory.write_all_at(&bytes, from).unwrap();
    });
    drop(objects);
    std::process::abort();
}

/// Uses all of them. Each outcome is fine.
async fn use_all(objects: &Objects) {
    drop(within(objects.mutex.recover()).await);
    drop(within(objects.mutex.lock()).await);
    drop(within(objects.rwlock.recover()).await);
    drop(within(objects.rwlock.read()).await);
    let short = Duration::from_millis(5);
    let _ = tokio::time::timeout(short, objects.semaphore.acquire()).await;
    let _ = objects.semaphore.available_permits();
    objects.event.set();
    within(objects.event.wait()).await;
    let _ = tokio::time::timeout(short, objects.barrier.wait()).await;
    objects.barrier.reset();
    if let Ok(guard) = objects.mutex.lock().await {
        let _ = tokio::time::timeout(short, objects.condvar.wait(guard)).await;
    }
    objects.condvar.notify_all();
    within(objects.once.call_once(async || ())).await;
}

#[procession::test]
async fn overwritten_objects_hang_and_crash_nobody() {
    for seed in 1..30_u64 {
        let objects = Objects::new();
        let attacker = procession::spawn(scribble, (objects.clone(), seed));
        let waits = objects.clone();
        let waiting = tokio::spawn(async move { use_all(&waits).await });
        assert!(within(attacker).await.is_err());
        within(waiting).await.unwrap();
        use_all(&objects).await;
    }
}

/// Overwrites one word of each object, and dies.
fn overwrite_word(objects: Objects, offset: u64, word: u64) {
    overwrite(|memory, from, _| {
        memory
            .write_all_at(&word.to_ne_bytes(), from + offset)
            .unwrap();
    });
    drop(objects);
    std::process::abort();
}

/// Parties wait at each object while a word of it is overwritten. Then all of them may go on.
async fn waiting_parties_go_on(offset: u64, word: u64) {
    let objects = Objects::new();
    let Objects { mutex, rwlock, .. } = &objects;
    let told = Mutex::new(0_u64).unwrap();
    let (locked, written) = (mutex.lock().await.unwrap(), rwlock.write().await.unwrap());
    let permit = objects.semaphore.acquire().await.unwrap();
    let mut runs = Box::pin(objects.once.call_once(std::future::pending::<()>));
    assert!(futures::poll!(&mut runs).is_pending());
    let mut waits: Vec<BoxFuture<'_, ()>> = vec![
        Box::pin(async { drop(mutex.lock().await) }),
        Box::pin(async { drop(rwlock.read().await) }),
        Box::pin(async { drop(objects.semaphore.acquire().await) }),
        Box::pin(objects.event.wait()),
        Box::pin(async { _ = objects.barrier.wait().await }),
        Box::pin(async { drop(objects.condvar.wait(told.lock().await.unwrap()).await) }),
        Box::pin(objects.once.call_once(async || ()).map(|_| ())),
    ];
    for wait in &mut waits {
        assert!(wait.now_or_never().is_none());
    }
    let attacker = procession::spawn(overwrite_word, (objects.clone(), offset, word));
    assert!(within(attacker).await.is_err());
    drop((locked, written, permit, runs));
    objects.semaphore.close();
    objects.event.set();
    objects.barrier.abort();
    let mut ended = std::pin::pin!(within(join_all(waits)));
    // A party that could not be found when it was notified is notified later.
    let again = Duration::from_millis(50);
    while tokio::time::timeout(again, &mut ended).await.is_err() {
        objects.condvar.notify_all();
    }
}

#[procession::test]
async fn waiting_parties_survive_a_word_that_another_process_overwrites() {
    // All words of an object but its value, and its first records.
    let offsets: Vec<u64> = (0..384).chain(4096..4192).step_by(8).collect();
    for word in [0, u64::MAX] {
        for some in offsets.chunks(12) {
            join_all(some.iter().map(|at| waiting_parties_go_on(*at, word))).await;
        }
    }
}
