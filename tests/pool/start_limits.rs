//! Fewer workers can start than the pool has: the running workers do the tasks.

use std::time::{Duration, Instant};

use procession::Pool;

use crate::deadline::within;
use crate::notes::{Board, Notes};

/// How many workers the pool wants.
const WANTED: usize = 8;

/// How many workers can start.
const ROOM: usize = 2;

/// Succeeds in the first workers, as many as can start.
fn succeed_in_the_first(notes: Notes) -> Result<(), String> {
    let taken = (0..ROOM).any(|n| std::fs::create_dir(notes.path(&format!("place-{n}"))).is_ok());
    notes.write("tried", std::process::id());
    taken.then_some(()).ok_or_else(|| "no room".to_owned())
}

/// Fails in the first workers, which start together.
fn fail_in_the_first(notes: Notes) -> Result<(), String> {
    notes.write("tried", std::process::id());
    match notes.read("tried").len() > WANTED {
        true => Ok(()),
        false => Err("no room".to_owned()),
    }
}

#[procession::test]
async fn worker_starts_that_fail_are_retried_ever_more_slowly() {
    let board = Board::new();
    let pool = Pool::builder().workers(WANTED);
    let pool = pool
        .initializer(succeed_in_the_first, board.notes())
        .build()
        .unwrap();
    let began = Instant::now();
    let mut calls = 0;
    while began.elapsed() < Duration::from_secs(1) {
        assert_eq!(within(pool.run(|n: u64| n, calls)).await.unwrap(), calls);
        calls += 1;
    }
    // The first starts, the starts until the breaker opens, and then a few in each second.
    let seconds = began.elapsed().as_secs() as usize;
    let tried = board.read("tried").len();
    assert!(
        tried <= (4 + seconds) * WANTED,
        "{tried} starts in {seconds} s"
    );
}

/// Workers that start together may fail because of each other.
#[procession::test]
async fn worker_starts_that_fail_together_fail_no_task() {
    let board = Board::new();
    let pool = Pool::builder().workers(WANTED);
    let pool = pool
        .initializer(fail_in_the_first, board.notes())
        .build()
        .unwrap();
    let all = within(pool.map(|n: u64| n, 0..100)).await.unwrap();
    assert_eq!(all.len(), 100);
}
