//! Ends that are dropped, and ends of processes that exit or are killed.

use std::sync::mpsc;

use futures::{FutureExt as _, TryStreamExt as _};
use procession::{Pool, Receiver, RecvError, Sender, TryRecvError, queue, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::notes::{Board, Notes};

/// A process that another thread is forking has copies of all descriptors until it executes its program. The copies do
/// not keep an end open that was never sent to another process.
#[procession::test]
async fn end_dropped_while_processes_start_is_gone_at_once() {
    let (stop, stopped) = mpsc::channel::<()>();
    let starting = tokio::task::spawn_blocking(move || {
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            let status = std::process::Command::new("true").status();
            assert!(status.unwrap().success());
        }
    });
    for _ in 0..10_000 {
        let (tx, rx) = queue::<u8>(1).unwrap();
        drop(tx);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        let (tx, rx) = queue::<u8>(1).unwrap();
        drop(rx);
        assert!(tx.try_send(1).unwrap_err().is_closed());
    }
    drop(stop);
    within(starting).await.unwrap();
}

#[procession::test]
async fn stream_ends_when_last_sender_is_gone() {
    // One sender is dropped here, one by a process that returns, one dies with a killed process, one with a killed
    // task. The last is in the arguments of a task that never starts.
    let (tx, rx) = queue::<u8>(4).unwrap();
    let board = Board::new();
    let send_and_wait = |tx: Sender<u8>, notes: Notes| {
        tx.blocking_send(1).unwrap();
        notes.meet("sent", "never");
    };
    let killed = spawn(send_and_wait, (tx.clone(), board.notes()));
    let returned = spawn(|tx: Sender<u8>| tx.blocking_send(2).unwrap(), tx.clone());
    let pool = Pool::with_workers(1).unwrap();
    let busy = pool.spawn(send_and_wait, (tx.clone(), board.notes()));
    let never_started = pool.spawn(|tx: Sender<u8>| tx.blocking_send(9).unwrap(), tx.clone());
    drop(tx);
    board.lines("sent", 2).await;
    within(returned).await.unwrap();
    let mut received = Vec::new();
    for _ in 0..3 {
        received.push(within(rx.recv()).await.unwrap());
    }
    received.sort_unstable();
    assert_eq!(received, [1, 1, 2]);
    let mut end = rx.recv();
    assert!((&mut end).now_or_never().is_none());
    killed.abort();
    assert!(within(killed).await.is_err());
    never_started.abort();
    let _ = within(never_started).await;
    assert!(!rx.is_closed());
    busy.abort();
    assert_eq!(within(end).await, Err(RecvError::Closed));
    assert!(rx.is_closed());
}

#[procession::test]
async fn send_without_receivers_returns_value() {
    for sent_before in 0..3 {
        let (tx, rx) = queue::<String>(2).unwrap();
        for _ in 0..sent_before {
            tx.try_send("lost".to_owned()).unwrap();
        }
        drop(rx.clone());
        drop(rx);
        assert!(tx.is_closed());
        let back = tx.try_send("back".to_owned()).unwrap_err();
        assert!(back.is_closed());
        assert_eq!(back.into_inner(), "back");
        let back = within(tx.send("back".to_owned())).await.unwrap_err();
        assert_eq!(back.into_inner().unwrap(), "back");
        let back = tx.blocking_send("b".repeat(300_000)).unwrap_err();
        assert_eq!(back.into_inner().unwrap().len(), 300_000);
        let back = within(tx.send("b".repeat(300_000))).await.unwrap_err();
        assert_eq!(back.into_inner().unwrap().len(), 300_000);
    }
}

/// A killed receiver announces nothing. Senders ask the kernel at most once in a tick of the clock.
#[procession::test]
async fn send_fails_soon_after_last_receiver_was_killed() {
    let (tx, rx) = queue::<u64>(1 << 20).unwrap();
    let board = Board::new();
    let recv_and_wait = |rx: Receiver<u64>, notes: Notes| {
        rx.blocking_recv().unwrap();
        notes.meet("received", "never");
    };
    let child = spawn(recv_and_wait, (rx, board.notes()));
    tx.send(0).await.unwrap();
    board.lines("received", 1).await;
    child.abort();
    let _ = within(child).await;
    let mut n = 0;
    until(|| {
        n += 1;
        tx.try_send(n).is_err_and(|error| error.is_closed())
    })
    .await;
}

#[procession::test]
async fn receivers_killed_at_full_queue_wake_senders() {
    let (tx, rx) = queue::<u8>(1).unwrap();
    let board = Board::new();
    let children: Vec<_> = (0..2)
        .map(|_| {
            let hold = |rx: Receiver<u8>, notes: Notes| {
                notes.meet("holds", "never");
                drop(rx);
            };
            spawn(hold, (rx.clone(), board.notes()))
        })
        .collect();
    drop(rx);
    board.lines("holds", 2).await;
    tx.send(1).await.unwrap();
    let blocked = tokio::task::spawn_blocking({
        let tx = tx.clone();
        move || tx.blocking_send(2)
    });
    let mut waiting = tx.send(3);
    assert!((&mut waiting).now_or_never().is_none());
    for child in children {
        child.abort();
        let _ = within(child).await;
    }
    assert_eq!(within(waiting).await.unwrap_err().into_inner(), Some(3));
    let back = within(blocked).await.unwrap().unwrap_err();
    assert_eq!(back.into_inner(), Some(2));
}

/// Long messages and the ends inside messages outlive the process as well.
#[procession::test]
async fn sent_messages_outlive_their_process() {
    let (tx, rx) = queue::<(ByteBuf, Sender<u8>)>(64).unwrap();
    let (answer_tx, answers) = queue::<u8>(64).unwrap();
    let board = Board::new();
    let send = |tx: Sender<(ByteBuf, Sender<u8>)>, answer: Sender<u8>, notes: Notes| {
        for n in 0..20 {
            let len = if n % 2 == 0 { 100 } else { 1 << 20 };
            let message = ByteBuf::from(vec![n; len]);
            tx.blocking_send((message, answer.clone())).unwrap();
        }
        notes.meet("sent", "exit");
    };
    let child = spawn(send, (tx, answer_tx, board.notes()));
    board.lines("sent", 1).await;
    let first = within(rx.recv()).await.unwrap();
    board.write("exit", 1);
    within(child).await.unwrap();
    let rest: Vec<_> = within(rx.try_collect()).await.unwrap();
    for (n, (message, answer)) in std::iter::once(first).chain(rest).enumerate() {
        assert_eq!(message.len(), if n % 2 == 0 { 100 } else { 1 << 20 });
        assert!(message.iter().all(|byte| usize::from(*byte) == n));
        answer.send(n as u8).await.unwrap();
    }
    let answers: Vec<u8> = within(answers.try_collect()).await.unwrap();
    assert!(answers.into_iter().eq(0..20));
}

/// A Python process does not end before its `multiprocessing.Queue` is read: "Joining processes that use queues" in the
/// guidelines of its documentation.
#[procession::test]
async fn process_ends_before_its_messages_are_read() {
    let (tx, rx) = queue::<ByteBuf>(8).unwrap();
    let child = spawn(
        |tx: Sender<ByteBuf>| tx.blocking_send(ByteBuf::from(vec![1; 1 << 20])).unwrap(),
        tx,
    );
    within(child).await.unwrap();
    assert_eq!(within(rx.recv()).await.unwrap().len(), 1 << 20);
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}
