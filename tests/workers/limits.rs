//! Fewer workers can be started than the pool wants: those that are there run the tasks.

use std::time::Duration;

use procession::Pool;

use crate::deadline::within;
use crate::notes::{Board, Desk};

/// How many workers the pool wants.
const WANTED: usize = 8;

/// How many workers there is room for.
const ROOM: usize = 2;

/// Takes one of the places, which a worker keeps.
fn takes_a_place(desk: Desk) -> Result<(), String> {
    let taken = (0..ROOM).any(|n| std::fs::create_dir(desk.path(&format!("place-{n}"))).is_ok());
    desk.write("tried", std::process::id());
    taken.then_some(()).ok_or_else(|| "no room".to_owned())
}

/// Fails if it is among the first, which start together.
fn fails_at_first(desk: Desk) -> Result<(), String> {
    desk.write("tried", std::process::id());
    match desk.read("tried").len() > WANTED {
        true => Ok(()),
        false => Err("no room".to_owned()),
    }
}

#[procession::test]
async fn workers_that_started_run_the_tasks_and_starts_back_off() {
    let board = Board::new();
    let pool = Pool::builder().workers(WANTED);
    let pool = pool
        .initializer(takes_a_place, board.desk())
        .build()
        .unwrap();
    let sleeps = |n: u64| {
        std::thread::sleep(Duration::from_millis(10));
        n
    };
    let all = within(pool.map(sleeps, 0..200)).await.unwrap();
    assert_eq!(all.len(), 200);
    // A second of work: the first starts, those until the breaker opens after each success, and one a second.
    let tried = board.read("tried").len();
    assert!(tried <= 5 * WANTED, "{tried} starts");
}

/// They may have taken each other's room.
#[procession::test]
async fn starts_that_fail_together_fail_no_task() {
    let board = Board::new();
    let pool = Pool::builder().workers(WANTED);
    let pool = pool
        .initializer(fails_at_first, board.desk())
        .build()
        .unwrap();
    let all = within(pool.map(|n: u64| n, 0..100)).await.unwrap();
    assert_eq!(all.len(), 100);
}
