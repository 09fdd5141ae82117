//! Where calls with a key run.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::future::join_all;
use procession::Pool;

use crate::deadline::{until, within};
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::{held, pid};

/// How long a task waits for its worker.
const PATIENCE: Duration = Duration::from_millis(50);

/// Gives each key a worker of its own. Returns the pids in the order of the keys.
async fn settle(pool: &Pool, keys: u32) -> Vec<u32> {
    let board = Board::new();
    let runs = (0..keys).map(|key| {
        let held = pool.run(held, (board.notes(), "here".to_owned()));
        held.key(key).spawn()
    });
    let runs: Vec<_> = runs.collect();
    board.lines("here", keys as usize).await;
    board.write("go", 1);
    let pids = within(join_all(runs)).await;
    pids.into_iter().map(Result::unwrap).collect()
}

/// How many of forty calls find the worker that their key had first.
async fn count_hits(pool: &Pool) -> usize {
    let homes = settle(pool, 4).await;
    assert_eq!(HashSet::<_>::from_iter(&homes).len(), 4);
    let mut hits = 0;
    for n in 0..40 {
        let key = n * 7 % 4;
        let seen = within(pool.run(pid, ()).key(key)).await.unwrap();
        hits += usize::from(seen == homes[key as usize]);
    }
    hits
}

#[procession::test]
async fn key_finds_the_worker_that_last_had_it() {
    let pool = ready(4).await;
    // A worker that the machine does not let run loses its task, and the key with it. Chance gives ten hits.
    let mut hits = Vec::new();
    while hits.last().is_none_or(|it| *it <= 20) {
        assert!(hits.len() < 20, "{hits:?}");
        hits.push(count_hits(&pool).await);
    }
    let texts = ["a", "b"].map(|text| pool.run(pid, ()).key(text));
    within(join_all(texts)).await;
}

#[procession::test]
async fn key_never_makes_a_worker_idle_while_work_waits() {
    let board = Board::new();
    let pool = ready(2).await;
    settle(&pool, 2).await;
    // Both have the same key, and each returns only when the other has begun.
    let first = pool.run(|notes: Notes| notes.meet("first", "second"), board.notes());
    let second = pool.run(|notes: Notes| notes.meet("second", "first"), board.notes());
    let (first, second) = within(futures::future::join(first.key(0), second.key(0))).await;
    first.unwrap();
    second.unwrap();
}

#[procession::test]
async fn keyed_task_waits_for_its_busy_worker_while_others_run_elsewhere() {
    let board = Board::new();
    let pool = ready(2).await;
    let homes = settle(&pool, 2).await;
    let named = |name: &str| pool.run(held, (board.notes(), name.to_owned()));
    let meets = |notes: Notes, name: String, go: String| {
        notes.meet(&name, &go);
        pid()
    };
    let busy = named("busy").key(0).spawn();
    let meeting = |name: &str| {
        let go = format!("{name} may end");
        pool.run(meets, (board.notes(), name.to_owned(), go))
    };
    let other = meeting("other").key(1).spawn();
    board.lines("busy", 1).await;
    board.lines("other", 1).await;
    let begun = Instant::now();
    let keyed = pool.run(pid, ()).key(0).spawn();
    let plain = meeting("plain").spawn();
    board.write("other may end", 1);
    within(other).await.unwrap();
    // The other worker takes the task behind the one that waits for its worker, and is busy from then on.
    board.lines("plain", 1).await;
    board.write("go", 1);
    let (busy, keyed) = within(futures::future::join(busy, keyed)).await;
    board.write("plain may end", 1);
    // On a machine that is too slow, the task has not waited so long.
    if begun.elapsed() < PATIENCE {
        assert_eq!((busy.unwrap(), keyed.unwrap()), (homes[0], homes[0]));
    }
    within(plain).await.unwrap();
}

#[procession::test]
async fn key_of_a_killed_worker_finds_another() {
    let pool = ready(2).await;
    settle(&pool, 2).await;
    // On a machine under load it may be another than the worker that had the key.
    let crash = pool.run(|| -> u32 { std::process::abort() }, ()).key(0);
    let crash = within(crash).await.unwrap_err();
    assert!(crash.is_crashed());
    let runs = (0..100).map(|n| pool.run(pid, ()).key(n % 2));
    for outcome in within(join_all(runs)).await {
        assert_ne!(Some(outcome.unwrap()), crash.pid());
    }
    // A retry goes on with the key.
    let board = Board::new();
    let once = |notes: Notes| {
        notes.write("tries", "");
        if notes.read("tries").len() == 1 {
            std::process::abort();
        }
    };
    within(pool.run(once, board.notes()).key(1).retries(1))
        .await
        .unwrap();
}

#[procession::test]
async fn many_keys_under_load_lose_no_task() {
    let pool = ready(3).await;
    let brief = |n: u64| {
        std::thread::sleep(Duration::from_micros(n % 300));
        n
    };
    let mut runs = Vec::new();
    for n in 0..3_000 {
        let mut run = pool.run(brief, n).key(n % 11);
        match n % 17 {
            // Some are dropped while they wait, or run.
            0 => {
                let _ = futures::poll!(&mut run);
            }
            3 => run.spawn().abort(),
            _ => runs.push((n, run.spawn())),
        }
    }
    for (n, handle) in runs {
        assert_eq!(within(handle).await.unwrap(), n);
    }
    until(|| pool.metrics().running() == 0 && pool.metrics().queued() == 0).await;
}
