//! `Pool::cache`: an argument that each worker is sent and decodes once.

use std::sync::atomic::{AtomicU32, Ordering};

use futures::{StreamExt as _, TryStreamExt as _};
use procession::{Cached, Descriptor, Emit, Pool};
use serde::{Deserialize, Deserializer, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::kill;
use crate::made;
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::{held, pid};

/// How often this process has decoded a [`Counted`], and how many of them it has dropped.
static DECODED: AtomicU32 = AtomicU32::new(0);
static DROPPED: AtomicU32 = AtomicU32::new(0);

#[derive(Debug, Serialize)]
struct Counted(Vec<u32>);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::deserialize(deserializer)?;
        DECODED.fetch_add(1, Ordering::Relaxed);
        Ok(Self(values))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

fn at(values: Cached<Counted>, index: usize) -> u32 {
    values.0[index]
}

fn counts() -> (u32, u32) {
    (
        DECODED.load(Ordering::Relaxed),
        DROPPED.load(Ordering::Relaxed),
    )
}

#[procession::test]
async fn value_is_decoded_once_in_each_worker_and_dropped_with_its_last_handle() {
    alone(
        "cached::value_is_decoded_once_in_each_worker_and_dropped_with_its_last_handle",
        async {
            let pool = ready(2).await;
            let values = pool.cache(&Counted((0..1000).collect())).unwrap();
            assert_eq!(values.0[7], 7);
            let clone = values.clone();
            drop(values);
            for _ in 0..3 {
                let indices = (0..1000).map(|index| (clone.clone(), index));
                let all = within(pool.map(at, indices)).await.unwrap();
                assert_eq!(all, (0..1000).collect::<Vec<_>>());
                let ones = within(pool.broadcast(at, (clone.clone(), 1)))
                    .await
                    .unwrap();
                assert_eq!(ones, [1, 1]);
            }
            assert_eq!(
                within(pool.broadcast(counts, ())).await.unwrap(),
                [(1, 0); 2]
            );
            // A call that waits is a handle.
            let lease = within(pool.worker()).await.unwrap();
            let last = lease.run(at, (clone, 5)).spawn();
            drop(lease);
            assert_eq!(within(last).await.unwrap(), 5);
            let dropped = || async { within(pool.broadcast(counts, ())).await.unwrap() };
            while dropped().await != [(1, 1); 2] {
                tokio::task::yield_now().await;
            }
            within(pool.terminate()).await;
        },
    )
    .await;
}

#[procession::test]
async fn worker_that_comes_later_and_a_retried_call_have_the_value() {
    let board = Board::new();
    let pool = Pool::builder().workers(1).retries(1).build().unwrap();
    let values = pool.cache(&Counted(vec![3, 4])).unwrap();
    assert_eq!(within(pool.run(at, (values.clone(), 0))).await.unwrap(), 3);
    let crash_once = |values: Cached<Counted>, notes: Notes| {
        notes.write("ran", pid());
        if notes.read("ran").len() == 1 {
            kill(pid());
        }
        (values.0[1], counts())
    };
    let retried = within(pool.run(crash_once, (values, board.notes())))
        .await
        .unwrap();
    assert_eq!(retried, (4, (1, 0)));
}

#[procession::test]
async fn value_of_every_size_is_cached() {
    let pool = ready(1).await;
    for len in [0, 1, 4096, 70_000, 64 << 20] {
        let bytes = pool.cache(&made(9, len)).unwrap();
        let is_whole = |bytes: Cached<ByteBuf>, len| *bytes == vec![9_u8; len];
        let is_whole = pool.run(is_whole, (bytes.clone(), len));
        assert!(within(is_whole).await.unwrap());
        // Beside an argument that is too long for a ring.
        let both = |bytes: Cached<ByteBuf>, long: ByteBuf| (bytes.len(), long.len());
        let lens = within(pool.run(both, (bytes, made(1, 300_000))))
            .await
            .unwrap();
        assert_eq!(lens, (len, 300_000));
    }
    let unit = pool.cache(&()).unwrap();
    within(pool.run(|unit: Cached<()>| *unit, unit))
        .await
        .unwrap();
}

#[procession::test]
async fn streams_leases_and_calls_with_descriptors_take_it() {
    let pool = ready(1).await;
    let words = pool
        .cache(&["a".to_owned(), "b".to_owned()].to_vec())
        .unwrap();
    let send = |emit: Emit<String>, words: Cached<Vec<String>>| {
        words
            .iter()
            .for_each(|word| emit.blocking_send(word.clone()));
    };
    let sent: Vec<_> = within(pool.stream(send, words.clone()).try_collect())
        .await
        .unwrap();
    assert_eq!(sent, ["a", "b"]);
    let lease = within(pool.worker()).await.unwrap();
    let sent: Vec<_> = within(lease.stream(send, words.clone()).try_collect())
        .await
        .unwrap();
    assert_eq!(sent, ["a", "b"]);
    drop(lease);
    // The arguments are dropped here once the call has begun, and the value is there all the same.
    let file = Descriptor(std::fs::File::open("/dev/null").unwrap());
    let with_file = |words: Cached<Vec<String>>, _: Descriptor<std::fs::File>| words.len();
    assert_eq!(within(pool.run(with_file, (words, file))).await.unwrap(), 2);
}

#[procession::test]
async fn handle_dropped_while_the_call_waits_or_runs_takes_nothing_away() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    let values = pool.cache(&Counted(vec![8])).unwrap();
    let waiting = pool.spawn(at, (values.clone(), 0));
    let dropped = pool.spawn(at, (values.clone(), 0));
    dropped.abort();
    drop(values);
    board.write("go", 1);
    within(first).await.unwrap();
    assert_eq!(within(waiting).await.unwrap(), 8);
    assert!(within(dropped).await.unwrap_err().is_cancelled());
    let keep = |values: Cached<Counted>| {
        static KEPT: std::sync::OnceLock<Cached<Counted>> = std::sync::OnceLock::new();
        KEPT.get_or_init(|| values);
    };
    within(pool.run(keep, pool.cache(&Counted(vec![1])).unwrap()))
        .await
        .unwrap();
    let mut stream = pool.stream(
        |emit: Emit<u32>, values: Cached<Counted>| {
            (0..3).for_each(|_| emit.blocking_send(values.0[0]));
        },
        pool.cache(&Counted(vec![6])).unwrap(),
    );
    assert_eq!(within(stream.next()).await.unwrap().unwrap(), 6);
}

#[procession::test]
async fn value_is_refused_everywhere_but_in_arguments_of_its_pool() {
    let pool = ready(1).await;
    let other = ready(1).await;
    let values = pool.cache(&Counted(vec![1])).unwrap();
    let error = within(other.run(at, (values.clone(), 0)))
        .await
        .unwrap_err();
    assert!(
        error.is_encode() && error.to_string().contains("another pool"),
        "{error}"
    );
    let error = within(procession::spawn(at, (values.clone(), 0)))
        .await
        .unwrap_err();
    assert!(!error.started(), "{error}");
    let returned = within(pool.run(|values: Cached<Counted>| values, values.clone())).await;
    assert!(returned.unwrap_err().is_encode());
    let (tx, _rx) = procession::queue::<Cached<Counted>>(1).unwrap();
    assert!(tx.try_send(values.clone()).unwrap_err().is_encode());
    assert_eq!(within(pool.run(at, (values, 0))).await.unwrap(), 1);
}

#[derive(Debug, Serialize)]
struct Undecodable(u32);

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[procession::test]
async fn value_that_cannot_be_decoded_fails_each_call_and_no_other() {
    let pool = ready(1).await;
    let value = pool.cache(&Undecodable(1)).unwrap();
    for _ in 0..2 {
        let run = pool.run(|value: Cached<Undecodable>| drop(value), value.clone());
        assert!(within(run).await.unwrap_err().is_decode());
    }
    within(pool.run(pid, ())).await.unwrap();
}

#[procession::test]
async fn no_descriptor_or_memory_is_left_in_either_process() {
    // Other tests have descriptors and memory of their own.
    let test = "cached::no_descriptor_or_memory_is_left_in_either_process";
    alone(test, leave_nothing()).await;
}

async fn leave_nothing() {
    let pool = ready(1).await;
    let mappings = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.matches("procession-cached").count()
    };
    let before = (
        descriptors_there(),
        within(pool.run(descriptors_there, ())).await.unwrap(),
    );
    for n in 0..200 {
        let value = pool.cache(&made(1, n)).unwrap();
        let len = within(pool.run(|bytes: Cached<ByteBuf>| bytes.len(), value))
            .await
            .unwrap();
        assert_eq!(len, n);
    }
    assert_eq!(mappings(), 0);
    until(|| descriptors_there() <= before.0).await;
    assert_eq!(
        within(pool.run(descriptors_there, ())).await.unwrap(),
        before.1
    );
    within(pool.terminate()).await;
}

fn descriptors_there() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
