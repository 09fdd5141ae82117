//! A process that overwrites the memory of its objects: the others get an error or go on, and never hang for as long as
//! that process is gone.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use procession::sync::{Barrier, Event, Mutex, RwLock, Semaphore};

use crate::deadline::within;

/// Writes pseudo-random bytes over all shared memory of the objects, many times, and dies.
fn scribble(objects: (Mutex<[u64; 9]>, RwLock<u64>, Semaphore, Event, Barrier), seed: u64) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = std::fs::File::options()
        .write(true)
        .open("/proc/self/mem")
        .unwrap();
    let mut random = seed;
    for line in maps.lines().filter(|line| line.contains("procession-sync")) {
        let range = line.split_whitespace().next().unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let from = u64::from_str_radix(from, 16).unwrap();
        let to = u64::from_str_radix(to, 16).unwrap().min(from + 8192);
        for at in (from + 64..to).step_by(8) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let bytes = match seed % 3 {
                0 => u64::MAX,
                _ => random,
            };
            memory.write_all_at(&bytes.to_ne_bytes(), at).unwrap();
        }
    }
    drop(objects);
    std::process::abort();
}

/// Uses all of them. Each outcome is fine.
async fn use_all(objects: &(Mutex<[u64; 9]>, RwLock<u64>, Semaphore, Event, Barrier)) {
    let (mutex, rwlock, semaphore, event, barrier) = objects;
    drop(within(mutex.recover()).await);
    drop(within(mutex.lock()).await);
    drop(within(rwlock.recover()).await);
    drop(within(rwlock.read()).await);
    let short = Duration::from_millis(5);
    let _ = tokio::time::timeout(short, semaphore.acquire()).await;
    let _ = semaphore.available_permits();
    event.set();
    within(event.wait()).await;
    let _ = tokio::time::timeout(short, barrier.wait()).await;
    barrier.reset();
}

#[procession::test]
async fn overwritten_objects_hang_and_crash_nobody() {
    for seed in 1..30_u64 {
        let objects = (
            Mutex::new([1; 9]).unwrap(),
            RwLock::new(1).unwrap(),
            Semaphore::new(1).unwrap(),
            Event::new().unwrap(),
            Barrier::new(2).unwrap(),
        );
        let mad = procession::spawn(scribble, (objects.clone(), seed * 0x9e37_79b9));
        let waits = objects.clone();
        let waiting = tokio::spawn(async move { use_all(&waits).await });
        assert!(within(mad).await.is_err());
        within(waiting).await.unwrap();
        use_all(&objects).await;
    }
}
