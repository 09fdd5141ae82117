//! A child process overwrites the locks of a queue, by accident or on purpose. The parent neither crashes nor hangs.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use procession::{PipeSender, Receiver, RecvError, Sender, TryRecvError, channel, queue, spawn};
use serde::{Deserialize, Serialize};

use crate::deadline::within;

/// The places of the two locks in the memory of a queue (`src/channel/shm.rs`): the cache line of each of them.
const LOCKS: [u64; 2] = [128, 256];
const LOCK_BYTES: usize = 64;

/// What the child writes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Values {
    /// Random bytes, in random places of the locks.
    Random(u64),
    /// A word that was there before, with another generation: it names a process that exists.
    Stale,
    /// Words that name processes and the constants of the C library's mutexes.
    Forged,
}

/// The memory of the queues of this process, as addresses of their first pages.
fn queues() -> Vec<u64> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let is_start = |line: &&str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        line.contains("memfd:procession-channel") && fields[2] == "00000000"
    };
    let lines = maps.lines().filter(is_start);
    let address = |line: &str| u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    lines.map(address).collect()
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// Words that a lock could be mistaken about.
fn forged_words() -> [u64; 7] {
    [
        u64::MAX,
        1 << 32,
        u64::from(std::process::id()) << 32,
        0x8000_0001 << 32,
        // The kinds of robust and elided mutexes, and an owner that died.
        u64::from(0x4000_0000 | std::process::id()),
        32 << 32 | 0x4000_0001,
        256,
    ]
}

/// Overwrites the locks of its queue, and sends between two writes.
fn overwrite(values: Values, tx: Sender<u64>) {
    let memory = File::options()
        .read(true)
        .write(true)
        .open("/proc/self/mem")
        .unwrap();
    let places: Vec<_> = queues()
        .into_iter()
        .flat_map(|base| LOCKS.map(|lock| base + lock))
        .collect();
    assert!(!places.is_empty());
    let forged = forged_words();
    let mut random = match values {
        Values::Random(seed) => seed,
        _ => 0x9e37_79b9_7f4a_7c15,
    };
    let mut seen = 0;
    let end = Instant::now() + Duration::from_millis(700);
    while Instant::now() < end {
        for place in &places {
            let at = next(&mut random);
            match values {
                Values::Random(_) => {
                    let offset = at % (LOCK_BYTES as u64 - 8);
                    let bytes = next(&mut random).to_ne_bytes();
                    memory.write_all_at(&bytes, place + offset).unwrap();
                }
                Values::Stale => {
                    let word = read_word(&memory, *place);
                    seen = if word >> 32 == 0 { seen } else { word };
                    memory.write_all_at(&seen.to_ne_bytes(), *place).unwrap();
                }
                Values::Forged => {
                    let word = forged[at as usize % forged.len()];
                    memory.write_all_at(&word.to_ne_bytes(), *place).unwrap();
                }
            }
        }
        let _ = tx.try_send(random);
    }
}

fn read_word(memory: &File, place: u64) -> u64 {
    let mut word = [0; 8];
    memory.read_exact_at(&mut word, place).unwrap();
    u64::from_ne_bytes(word)
}

/// Sends and receives for as long as the child runs, then closes. Returns how many messages came.
async fn use_queue(tx: &Sender<u64>, rx: &Receiver<u64>, end: Instant) -> u64 {
    let brief = Duration::from_millis(20);
    let mut received = 0;
    while Instant::now() < end {
        // While the child writes, an attempt may fail, and an overwritten queue may end.
        let _ = tokio::time::timeout(brief, tx.send(1)).await;
        match tokio::time::timeout(brief, rx.recv()).await {
            Ok(Ok(_)) => received += 1,
            Ok(Err(_)) | Err(_) => tokio::task::yield_now().await,
        }
        match rx.try_recv() {
            Ok(_) => received += 1,
            Err(TryRecvError::Empty | TryRecvError::Closed | TryRecvError::Decode(_)) => {}
        }
    }
    received
}

async fn survives(values: Values) {
    let (tx, rx) = queue::<u64>(64).unwrap();
    let child = spawn(overwrite, (values, tx.clone()));
    let end = Instant::now() + Duration::from_millis(1000);
    let received = within(use_queue(&tx, &rx, end)).await;
    within(child).await.unwrap();
    eprintln!("{values:?}: {received} messages");
    // The child is gone, so everything resolves. The queue may be full.
    let (sent, _) = within(futures::future::join(tx.send(1), rx.recv())).await;
    drop(tx);
    let mut left = 0;
    while within(rx.recv()).await.is_ok() {
        left += 1;
    }
    // Overwritten counters end the queue; overwritten locks do not.
    if sent.is_ok() {
        eprintln!("{left} messages were left");
    }
    assert!(rx.is_closed());
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_survives_random_bytes_in_its_locks() {
    for seed in [1, 2] {
        survives(Values::Random(seed)).await;
    }
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_survives_forged_owners_of_its_locks() {
    for values in [Values::Forged, Values::Stale] {
        survives(values).await;
    }
}

/// The owner is a process that never was, as if it had died with both locks.
#[procession::test]
async fn queue_ends_after_its_locks_were_overwritten() {
    let lock = |tx: Sender<u64>| {
        tx.blocking_send(7).unwrap();
        let memory = File::options().write(true).open("/proc/self/mem").unwrap();
        let word = u64::from(std::process::id()) << 32 | 5;
        for base in queues() {
            for lock in LOCKS {
                memory
                    .write_all_at(&word.to_ne_bytes(), base + lock)
                    .unwrap();
            }
        }
    };
    let (tx, rx) = queue::<u64>(64).unwrap();
    within(spawn(lock, tx)).await.unwrap();
    assert_eq!(within(rx.recv()).await, Ok(7));
    assert!(within(rx.recv()).await.is_err());

    let (tx, rx) = queue::<u64>(64).unwrap();
    within(spawn(lock, tx.clone())).await.unwrap();
    within(tx.send(8)).await.unwrap();
    assert_eq!(within(rx.recv()).await, Ok(7));
    assert_eq!(rx.try_recv(), Ok(8));
}

/// The words of a queue's ring (`src/ring/layout.rs`), in the first page of the ring's mapping: how much was sent, and
/// how much was received.
const HEAD: u64 = 0;
const TAIL: u64 = 128;

/// Adds to a word of the ring of the only queue of this process.
fn add(word: u64, sum: u64) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let is_ring = |line: &&str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        line.contains("memfd:procession-channel") && fields[2] == "00001000"
    };
    let line = maps.lines().find(is_ring).unwrap();
    let base = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    let memory = File::options()
        .read(true)
        .write(true)
        .open("/proc/self/mem")
        .unwrap();
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, base + word).unwrap();
    let now = u64::from_ne_bytes(bytes).wrapping_add(sum);
    memory
        .write_all_at(&now.to_ne_bytes(), base + word)
        .unwrap();
}

fn add_to_head(tx: Sender<u64>, sum: u64) {
    add(HEAD, sum);
    drop(tx);
}

const SAID: &str = "wrote what cannot be";

fn is_told(received: &Result<u64, RecvError>) -> bool {
    matches!(received, Err(RecvError::Decode(why)) if why.contains(SAID) && why.contains("overwritten"))
}

/// Bytes that no ring holds; bytes without a frame.
const SUMS: [u64; 2] = [1 << 30, 1];

#[procession::test]
async fn overwritten_queue_says_so_once_and_ends() {
    for sum in SUMS {
        let (tx, rx) = queue::<u64>(8).unwrap();
        within(spawn(add_to_head, (tx.clone(), sum))).await.unwrap();
        let received = within(rx.recv()).await;
        assert!(is_told(&received), "{received:?}");
        assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        let error = within(tx.send(1)).await.unwrap_err();
        assert!(
            error.is_closed() && error.to_string().contains(SAID),
            "{error}"
        );
        let error = tx.try_send(1).unwrap_err();
        assert!(
            error.is_closed() && error.to_string().contains(SAID),
            "{error}"
        );
        assert!(within(tx.join()).await.is_err());
    }
}

/// What two receives at this end say.
fn receive_twice(rx: Receiver<u64>) -> [bool; 2] {
    let told = is_told(&rx.blocking_recv());
    [told, rx.blocking_recv() == Err(RecvError::Closed)]
}

#[procession::test]
async fn overwritten_queue_says_so_in_every_process() {
    let (tx, rx) = queue::<u64>(8).unwrap();
    let elsewhere = spawn(receive_twice, rx.clone());
    within(spawn(add_to_head, (tx.clone(), SUMS[0])))
        .await
        .unwrap();
    // Wakes the others, if they sleep.
    let _ = tx.try_send(1);
    assert!(is_told(&within(rx.recv()).await));
    assert_eq!(within(elsewhere).await.unwrap(), [true; 2]);
    // Also where an end arrives later.
    let late = spawn(receive_twice, rx.clone());
    assert_eq!(within(late).await.unwrap(), [true; 2]);
}

#[procession::test]
async fn queue_that_was_overwritten_after_it_was_closed_says_so() {
    let (tx, rx) = queue::<u64>(8).unwrap();
    tx.try_send(1).unwrap();
    tx.close();
    within(spawn(add_to_head, (tx, SUMS[0]))).await.unwrap();
    assert!(is_told(&within(rx.recv()).await));
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}

#[procession::test]
async fn full_queue_that_was_overwritten_ends_for_its_senders() {
    let (tx, rx) = queue::<u64>(8).unwrap();
    while tx.try_send(1).is_ok() {}
    let overwrite = |tx: Sender<u64>, sum: u64| {
        add(TAIL, sum);
        drop(tx);
    };
    within(spawn(overwrite, (tx.clone(), SUMS[0])))
        .await
        .unwrap();
    let error = within(tx.send(1)).await.unwrap_err();
    assert!(
        error.is_closed() && error.to_string().contains(SAID),
        "{error}"
    );
    assert!(is_told(&within(rx.recv()).await));
}

#[procession::test]
async fn overwritten_pipe_says_so_once_and_ends() {
    for sum in SUMS {
        let (tx, rx) = channel::<u64>().unwrap();
        let overwrite = |tx: PipeSender<u64>, sum: u64| {
            add(HEAD, sum);
            drop(tx);
        };
        within(spawn(overwrite, (tx, sum))).await.unwrap();
        let received = within(rx.recv()).await;
        assert!(is_told(&received), "{received:?}");
        assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
    }
}
