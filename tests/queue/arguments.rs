//! Ends in the arguments of processes and tasks.

use procession::{Pool, Receiver, RecvError, Sender, queue, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::notes::{Board, Desk};

fn drop_ends(tx: Sender<u8>, rx: Receiver<u8>, len: ByteBuf, desk: Desk) {
    drop((tx, rx, len));
    desk.meet("dropped", "enough");
}

/// The function's end is dropped before the function ends, and nobody else has one.
#[procession::test]
async fn an_end_in_a_processs_arguments_is_its_own() {
    for len in [0, 1 << 20] {
        let board = Board::new();
        let (tx, rx) = queue::<u8>(4).unwrap();
        let (other_tx, other_rx) = queue::<u8>(4).unwrap();
        let bytes = ByteBuf::from(vec![0; len]);
        let process = spawn(drop_ends, (tx, other_rx, bytes, board.desk()));
        board.lines("dropped", 1).await;
        assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
        within(other_tx.closed()).await;
        board.write("enough", 1);
        within(process).await.unwrap();
    }
}

#[procession::test]
async fn an_end_in_a_tasks_arguments_is_its_own() {
    let pool = Pool::with_workers(1).unwrap();
    for bytes in [ByteBuf::new(), ByteBuf::from(vec![1; 1 << 20])] {
        let board = Board::new();
        let (tx, rx) = queue::<u8>(4).unwrap();
        let (other_tx, other_rx) = queue::<u8>(4).unwrap();
        let task = pool.spawn(drop_ends, (tx, other_rx, bytes, board.desk()));
        board.lines("dropped", 1).await;
        assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
        within(other_tx.closed()).await;
        board.write("enough", 1);
        within(task).await.unwrap();
    }
}

/// Until it has ended: it may have to be run once more.
#[procession::test]
async fn an_end_in_the_arguments_of_a_task_that_is_retried_is_kept() {
    let pool = Pool::with_workers(1).unwrap();
    let send_at_last = |tx: Sender<u32>, before: u32| {
        tx.try_send(std::process::id()).unwrap();
        if tx.len() as u32 == before {
            std::process::abort();
        }
    };
    let (tx, rx) = queue::<u32>(4).unwrap();
    let run = pool.run(send_at_last, (tx, 1)).retries(1);
    within(run).await.unwrap();
    let first = within(rx.recv()).await.unwrap();
    assert_ne!(within(rx.recv()).await.unwrap(), first);
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}

/// A worker that was given a task and did not run it keeps nothing of it.
#[procession::test]
async fn an_end_in_a_task_that_was_taken_back_is_closed() {
    let pool = Pool::with_workers(2).unwrap();
    let board = Board::new();
    let (tx, rx) = queue::<u8>(100).unwrap();
    let held = |desk: Desk| desk.meet("held", "go on");
    let send = |tx: Sender<u8>, n: u8| tx.try_send(n).unwrap();
    // They stand behind one that goes on until all of them were done elsewhere.
    let long = pool.spawn(held, board.desk());
    let short: Vec<_> = (0..20).map(|n| pool.spawn(send, (tx.clone(), n))).collect();
    for task in short {
        within(task).await.unwrap();
    }
    drop(tx);
    board.write("go on", 1);
    within(long).await.unwrap();
    for _ in 0..20 {
        within(rx.recv()).await.unwrap();
    }
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}
