//! Ends in the arguments of processes and tasks belong to the function that gets them.

use procession::{Pool, Receiver, RecvError, Sender, queue, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::notes::{Board, Notes};

fn drop_ends(tx: Sender<u8>, rx: Receiver<u8>, len: ByteBuf, notes: Notes) {
    drop((tx, rx, len));
    notes.meet("dropped", "exit");
}

/// The process still runs when its ends are gone, and the long argument is packed into shared memory.
#[procession::test]
async fn end_in_process_arguments_closes_when_dropped_there() {
    for len in [0, 1 << 20] {
        let board = Board::new();
        let (tx, rx) = queue::<u8>(4).unwrap();
        let (other_tx, other_rx) = queue::<u8>(4).unwrap();
        let bytes = ByteBuf::from(vec![0; len]);
        let process = spawn(drop_ends, (tx, other_rx, bytes, board.notes()));
        board.lines("dropped", 1).await;
        assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
        within(other_tx.closed()).await;
        board.write("exit", 1);
        within(process).await.unwrap();
    }
}

#[procession::test]
async fn end_in_task_arguments_closes_when_dropped_there() {
    let pool = Pool::with_workers(1).unwrap();
    for bytes in [ByteBuf::new(), ByteBuf::from(vec![1; 1 << 20])] {
        let board = Board::new();
        let (tx, rx) = queue::<u8>(4).unwrap();
        let (other_tx, other_rx) = queue::<u8>(4).unwrap();
        let task = pool.spawn(drop_ends, (tx, other_rx, bytes, board.notes()));
        board.lines("dropped", 1).await;
        assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
        within(other_tx.closed()).await;
        board.write("exit", 1);
        within(task).await.unwrap();
    }
}

/// The pool keeps the encoded arguments until the task has ended, because it may have to run it again.
#[procession::test]
async fn end_in_arguments_of_retried_task_is_kept_until_it_ends() {
    let pool = Pool::with_workers(1).unwrap();
    let crash_once = |tx: Sender<u32>, before: u32| {
        tx.try_send(std::process::id()).unwrap();
        if tx.len() as u32 == before {
            std::process::abort();
        }
    };
    let (tx, rx) = queue::<u32>(4).unwrap();
    let run = pool.run(crash_once, (tx, 1)).retries(1);
    within(run).await.unwrap();
    let first = within(rx.recv()).await.unwrap();
    assert_ne!(within(rx.recv()).await.unwrap(), first);
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}

/// The tasks wait in the ring of a busy worker until the pool revokes them and gives them to the other worker.
#[procession::test]
async fn end_in_arguments_of_revoked_task_is_closed() {
    let pool = Pool::with_workers(2).unwrap();
    let board = Board::new();
    let (tx, rx) = queue::<u8>(100).unwrap();
    let hold = |notes: Notes| notes.meet("held", "continue");
    let send = |tx: Sender<u8>, n: u8| tx.try_send(n).unwrap();
    let long = pool.spawn(hold, board.notes());
    let short: Vec<_> = (0..20).map(|n| pool.spawn(send, (tx.clone(), n))).collect();
    for task in short {
        within(task).await.unwrap();
    }
    drop(tx);
    board.write("continue", 1);
    within(long).await.unwrap();
    for _ in 0..20 {
        within(rx.recv()).await.unwrap();
    }
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}
