//! What runs once, also if the first that runs it dies.

use std::time::Duration;

use procession::sync::Once;

use crate::deadline::within;
use crate::notes::{Board, Notes};

async fn run(once: Once, notes: Notes) -> bool {
    once.call_once(async || notes.write("ran", 0)).await
}

async fn begin(once: Once, notes: Notes) {
    let hang = async || {
        notes.write("begun", 0);
        std::future::pending::<()>().await;
    };
    once.call_once(hang).await;
}

#[procession::test]
async fn once_runs_in_one_process() {
    let (once, board) = (Once::new().unwrap(), Board::new());
    let children: Vec<_> = (0..3)
        .map(|_| procession::spawn(run, (once.clone(), board.notes())))
        .collect();
    let mut ran = usize::from(once.blocking_call_once(|| board.write("ran", 0)));
    for child in children {
        ran += usize::from(within(child).await.unwrap());
    }
    assert_eq!((ran, board.read("ran").len()), (1, 1));
    assert!(once.is_completed());
}

#[procession::test]
async fn once_is_run_by_the_next_if_a_process_dies_or_a_task_is_cancelled() {
    let (once, board) = (Once::new().unwrap(), Board::new());
    let first = procession::spawn(begin, (once.clone(), board.notes()));
    board.lines("begun", 1).await;
    let limit = Duration::from_millis(5);
    let waits = run(once.clone(), board.notes());
    assert!(tokio::time::timeout(limit, waits).await.is_err());
    first.abort();
    assert!(within(first).await.is_err());
    tokio::select! {
        () = begin(once.clone(), board.notes()) => panic!("it never returns"),
        _ = board.lines("begun", 2) => {}
    }
    assert!(!once.is_completed());
    assert!(within(run(once.clone(), board.notes())).await);
    assert!(!within(run(once.clone(), board.notes())).await);
}

#[procession::test]
async fn once_is_a_branch_of_a_select_that_loses_nothing() {
    let (once, board) = (Once::new().unwrap(), Board::new());
    let mut call = once.call_once(async || {
        tokio::task::yield_now().await;
        board.write("ran", 0);
    });
    tokio::select! {
        biased;
        _ = &mut call => panic!("it was polled once"),
        () = std::future::ready(()) => {}
    }
    assert!(within(call).await);
    assert_eq!(board.read("ran").len(), 1);
}
