//! `join` waits until every message was received and marked done.

use futures::FutureExt as _;
use procession::{Receiver, queue, spawn};

use crate::deadline::within;
use crate::notes::{Board, Notes};

#[procession::test]
async fn join_waits_until_all_messages_are_done() {
    let (tx, rx) = queue::<u32>(100).unwrap();
    within(tx.join()).await.unwrap();
    assert!(rx.task_done().is_err());
    for n in 0..100 {
        tx.send(n).await.unwrap();
    }
    let board = Board::new();
    let work = |rx: Receiver<u32>, notes: Notes| {
        let mut done = 0;
        while let Ok(n) = rx.blocking_recv() {
            if n == 50 {
                notes.meet("at 50", "continue");
            }
            rx.task_done().unwrap();
            done += 1;
        }
        assert!(rx.task_done().is_err(), "one too many");
        done
    };
    let workers = [
        spawn(work, (rx.clone(), board.notes())),
        spawn(work, (rx.clone(), board.notes())),
    ];
    board.lines("at 50", 1).await;
    let mut joined = tx.join();
    assert!((&mut joined).now_or_never().is_none());
    board.write("continue", 1);
    within(joined).await.unwrap();
    assert!(rx.task_done().is_err());
    tx.close();
    let mut done = 0;
    for worker in workers {
        done += within(worker).await.unwrap();
    }
    assert_eq!(done, 100);
}

#[procession::test]
async fn join_counts_messages_that_died_with_their_receiver() {
    let (tx, rx) = queue::<u32>(100).unwrap();
    let board = Board::new();
    let finish_one_of_three = |rx: Receiver<u32>, notes: Notes| {
        for _ in 0..3 {
            rx.blocking_recv().unwrap();
        }
        rx.task_done().unwrap();
        notes.meet("holds", "never");
    };
    let worker = spawn(finish_one_of_three, (rx.clone(), board.notes()));
    for n in 0..3 {
        tx.send(n).await.unwrap();
    }
    board.lines("holds", 1).await;
    let mut joined = tx.join();
    assert!((&mut joined).now_or_never().is_none());
    worker.abort();
    assert_eq!(within(joined).await.unwrap_err().count(), 2);
}

#[procession::test]
async fn join_counts_messages_left_without_receivers() {
    let (tx, rx) = queue::<u32>(100).unwrap();
    tx.send(1).await.unwrap();
    drop(rx);
    assert_eq!(within(tx.join()).await.unwrap_err().count(), 1);
}
