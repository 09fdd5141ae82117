//! Flags, and those that wait for them.

use std::time::Duration;

use procession::sync::Event;

use crate::asleep::process_asleep;
use crate::deadline::within;
use crate::notes::{Board, Notes};

async fn wait(event: Event, notes: Notes) {
    notes.write("waits", 0);
    event.wait().await;
}

fn wait_blocking(event: Event, notes: Notes) {
    notes.write("waits", 0);
    event.blocking_wait();
}

#[procession::test]
async fn event_wakes_all_that_wait_although_it_is_cleared_at_once() {
    let (event, board) = (Event::new().unwrap(), Board::new());
    let children = [
        procession::spawn(wait, (event.clone(), board.notes())),
        procession::spawn(wait, (event.clone(), board.notes())),
        procession::spawn(wait_blocking, (event.clone(), board.notes())),
    ];
    let mut own = event.wait();
    assert!(futures::poll!(&mut own).is_pending());
    board.lines("waits", 3).await;
    for child in &children {
        process_asleep(child.pid().unwrap()).await;
    }
    event.set();
    assert!(event.is_set());
    event.clear();
    assert!(!event.is_set());
    within(own).await;
    for child in children {
        within(child).await.unwrap();
    }
    let limit = Duration::from_millis(5);
    assert!(tokio::time::timeout(limit, event.wait()).await.is_err());
    event.set();
    within(event.wait()).await;
    event.blocking_wait();
}

#[procession::test]
async fn waiter_that_dies_does_not_stop_an_event() {
    let (event, board) = (Event::new().unwrap(), Board::new());
    let waiters = [
        procession::spawn(wait, (event.clone(), board.notes())),
        procession::spawn(wait_blocking, (event.clone(), board.notes())),
    ];
    board.lines("waits", 2).await;
    let mut own = event.wait();
    assert!(futures::poll!(&mut own).is_pending());
    for waiter in waiters {
        waiter.abort();
        assert!(within(waiter).await.is_err());
    }
    event.set();
    within(own).await;
}

#[procession::test]
async fn event_that_a_child_sets_is_seen_here() {
    let event = Event::new().unwrap();
    let child = procession::spawn(|event: Event| event.set(), event.clone());
    within(event.wait()).await;
    within(child).await.unwrap();
}
