//! `tasks_per_worker`: several tasks of one worker at the same time.
//!
//! This file has what several topics use.

mod cancel;
mod concurrency;
mod crash;
mod exit_function;
mod identity;
mod kill_loop;
mod lease;
mod limits;
mod recycling;
mod refused;
mod shared;
mod workers;

use std::time::Duration;

use procession::{Pool, PoolBuilder};

use crate::deadline;
use crate::notes::Notes;
use crate::pools::all_idle;

fn several(workers: usize, tasks: usize) -> PoolBuilder {
    Pool::builder().workers(workers).tasks_per_worker(tasks)
}

async fn ready(workers: usize, tasks: usize) -> Pool {
    let pool = several(workers, tasks).build().unwrap();
    all_idle(&pool, workers).await;
    pool
}

/// Writes `n` under `begun` and returns it when there is a note `go-n`.
async fn waiting(notes: Notes, n: usize) -> usize {
    notes.write("begun", n);
    note(&notes, &format!("go-{n}")).await;
    n
}

/// Waits for a note without blocking.
async fn note(notes: &Notes, name: &str) {
    let there = async {
        while !notes.has(name) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let limit = tokio::time::timeout(deadline::LIMIT, there).await;
    assert!(limit.is_ok(), "there is no note `{name}`");
}

/// Writes a note and waits for ever.
async fn parked_async(notes: Notes, n: usize) {
    notes.write("begun", n);
    std::future::pending::<()>().await;
}
