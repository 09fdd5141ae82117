//! What a worker has once for all its tasks: initializer, broadcast, cached values, keys.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::join_all;
use futures::poll;
use procession::{Cached, Pool, Priority};
use serde::{Deserialize, Deserializer, Serialize};

use super::{note, ready, several, waiting};
use crate::deadline::within;
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::tasks::pid;

static CALLS: AtomicU32 = AtomicU32::new(0);
static DECODED: AtomicU32 = AtomicU32::new(0);
static DROPPED: AtomicU32 = AtomicU32::new(0);

async fn count() -> u32 {
    tokio::task::yield_now().await;
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

#[procession::test]
async fn initializer_and_broadcast_run_once_in_each_worker() {
    let init = || {
        CALLS.fetch_add(100, Ordering::Relaxed);
    };
    let pool = several(2, 4).initializer(init, ()).build().unwrap();
    let all = within(pool.broadcast(count, ())).await.unwrap();
    assert_eq!(all, [101, 101]);
    let calls = within(join_all((0..40).map(|_| pool.run(count, ())))).await;
    assert!(calls.into_iter().all(|it| it.unwrap() > 101));
    let all = within(pool.broadcast(|| CALLS.load(Ordering::Relaxed), ())).await;
    assert_eq!(all.unwrap().iter().sum::<u32>(), 2 * 101 + 40);
}

#[procession::test]
async fn broadcast_takes_the_place_that_is_free_first_before_tasks_that_wait() {
    let pool = ready(1, 2).await;
    let board = Board::new();
    let spawn = |n: usize| pool.spawn(waiting, (board.notes(), n));
    let tasks = [0, 1].map(spawn);
    board.lines("begun", 2).await;
    let after = [2, 3].map(spawn);
    let note = |notes: Notes| notes.write("begun", "broadcast");
    let mut broadcast = pin!(pool.broadcast(note, board.notes()));
    assert!(poll!(&mut broadcast).is_pending());
    board.write("go-1", 1);
    within(broadcast).await.unwrap();
    assert_eq!(board.read("begun")[2], "broadcast");
    (0..4).for_each(|n| board.write(&format!("go-{n}"), 1));
    assert!(within(join_all(tasks)).await.iter().all(Result::is_ok));
    assert!(within(join_all(after)).await.iter().all(Result::is_ok));
}

/// Counts how often it is decoded and dropped.
struct Counted(Vec<u8>);

impl Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        Vec::deserialize(deserializer).map(Self)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

async fn uses(value: Cached<Counted>, notes: Notes) -> (usize, u32) {
    notes.write("begun", value.0[0]);
    note(&notes, "go").await;
    (value.0.as_ptr() as usize, DECODED.load(Ordering::Relaxed))
}

#[procession::test]
async fn cached_value_is_decoded_once_for_all_tasks_of_a_worker_and_dropped_with_its_last_handle() {
    let pool = ready(1, 4).await;
    let board = Board::new();
    let value = pool.cache(&Counted(vec![7; 1 << 20])).unwrap();
    let runs: Vec<_> = (0..12)
        .map(|n| {
            let priority = [Priority::Low, Priority::Normal, Priority::High][n % 3];
            let run = pool.run(uses, (value.clone(), board.notes()));
            run.priority(priority).spawn()
        })
        .collect();
    board.lines("begun", 4).await;
    board.write("go", 1);
    let seen = within(join_all(runs)).await.into_iter().map(Result::unwrap);
    let seen: HashSet<_> = seen.collect();
    assert!(
        seen.len() == 1 && seen.iter().all(|(_, decoded)| *decoded == 1),
        "{seen:?}"
    );
    drop(value);
    let dropped = async || DROPPED.load(Ordering::Relaxed);
    let gone = async { while pool.run(dropped, ()).await.unwrap() == 0 {} };
    within(gone).await;
}

async fn with_pid(notes: Notes) -> u32 {
    notes.write("begun", pid());
    note(&notes, "go").await;
    pid()
}

/// For how many of nine keys three calls run in the worker that the key had first.
async fn count_hits(pool: &Pool) -> usize {
    // Each key has a place of its own.
    let board = Board::new();
    let settling = (0..9_usize).map(|key| pool.run(with_pid, board.notes()).key(key).spawn());
    let settling: Vec<_> = settling.collect();
    board.lines("begun", 9).await;
    board.write("go", 1);
    let homes = within(join_all(settling)).await;
    let mut hits = 0;
    for (key, home) in homes.into_iter().enumerate() {
        let board = Board::new();
        let mut runs = Vec::new();
        for n in 1..4 {
            runs.push(pool.run(with_pid, board.notes()).key(key).spawn());
            board.lines("begun", n).await;
        }
        board.write("go", 1);
        let home = home.unwrap();
        let pids = within(join_all(runs)).await.into_iter().map(Result::unwrap);
        hits += usize::from(pids.into_iter().all(|pid| pid == home));
    }
    hits
}

#[procession::test]
async fn key_leads_to_any_free_place_of_the_worker_that_had_it() {
    alone(
        "tasks_per_worker::shared::key_leads_to_any_free_place_of_the_worker_that_had_it",
        async {
            let pool = ready(3, 3).await;
            // A worker that the machine does not let run loses its task, and the key with it.
            let mut hits = Vec::new();
            while hits.last().is_none_or(|it| *it <= 5) {
                assert!(hits.len() < 10, "{hits:?}");
                hits.push(count_hits(&pool).await);
            }
            within(pool.shutdown()).await;
        },
    )
    .await;
}
