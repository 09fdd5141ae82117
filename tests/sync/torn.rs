//! Processes that change a value under a lock and are killed at any moment: no value is torn, no change of a living
//! process is lost, and nothing hangs.

use std::time::{Duration, Instant};

use procession::sync::Mutex;

use crate::deadline::within;
use crate::notes::{Board, Notes};
use crate::seconds;

/// More than is copied in one step.
type Value = [u64; 40];

/// Adds to every word, in every way of locking, until it is killed or told to stop.
async fn add(mutex: Mutex<Value>, notes: Notes, number: u64) -> u64 {
    let mut added = 0;
    let mut turn = number;
    while !notes.has("stop") {
        turn += 1;
        let locked = match turn % 4 {
            0 => mutex.blocking_lock().ok(),
            1 => mutex.try_lock().ok(),
            2 => mutex.lock().await.ok(),
            _ => {
                let limit = Duration::from_micros(turn % 300);
                let locked = tokio::time::timeout(limit, mutex.lock()).await;
                locked.ok().and_then(Result::ok)
            }
        };
        let Some(mut guard) =
            locked.or_else(|| mutex.is_poisoned().then(|| mutex.blocking_recover()))
        else {
            continue;
        };
        let first = guard[0];
        assert!(guard.iter().all(|word| *word == first), "torn");
        for word in guard.iter_mut() {
            *word += 1;
        }
        added += 1;
    }
    added
}

#[procession::test]
async fn mutex_keeps_its_value_whole_while_holders_are_killed() {
    let (mutex, board) = (Mutex::new([0; 40]).unwrap(), Board::new());
    let spawn = |number| procession::spawn(add, (mutex.clone(), board.notes(), number));
    let mut living: Vec<_> = (0..3).map(spawn).collect();
    let end = Instant::now() + seconds();
    let (mut number, mut killed) = (3, 0);
    while Instant::now() < end {
        let victim = spawn(number);
        number += 1;
        tokio::time::sleep(Duration::from_micros(4000 + number * 997 % 20_000)).await;
        victim.abort();
        let error = within(victim).await.unwrap_err();
        assert!(error.is_crashed() || error.is_cancelled(), "{error}");
        killed += 1;
    }
    board.write("stop", 0);
    let mut added = 0;
    for child in living.drain(..) {
        added += within(child).await.unwrap();
    }
    let value = *within(mutex.recover()).await;
    assert!(value.iter().all(|word| *word == value[0]));
    assert!(killed > 0 && value[0] >= added, "{killed} {added}");
}
