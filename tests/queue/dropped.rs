//! Ends that are dropped or whose process ends.

use futures::{FutureExt as _, TryStreamExt as _};
use procession::{Pool, Receiver, RecvError, Sender, TryRecvError, queue, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::notes::{Board, Desk};

/// A process that is being made has copies of all descriptors until it executes its program. An end that was never
/// sent anywhere is gone when it is dropped, whatever they are.
#[procession::test]
async fn ends_that_never_left_are_gone_at_once_while_programs_are_started() {
    let (go_on, starts) = std::sync::mpsc::channel::<()>();
    let starting = tokio::task::spawn_blocking(move || {
        while starts.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
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
    drop(go_on);
    within(starting).await.unwrap();
}

#[procession::test]
async fn the_stream_ends_with_the_last_sender_wherever_it_was() {
    // Dropped here; returned from; killed; only in the arguments of a task that never starts.
    let (tx, rx) = queue::<u8>(4).unwrap();
    let board = Board::new();
    let stay = |tx: Sender<u8>, desk: Desk| {
        tx.blocking_send(1).unwrap();
        desk.write("stays", 1);
        desk.wait("never");
    };
    let killed = spawn(stay, (tx.clone(), board.desk()));
    let returned = spawn(|tx: Sender<u8>| tx.blocking_send(2).unwrap(), tx.clone());
    let pool = Pool::with_workers(1).unwrap();
    let busy = pool.spawn(stay, (tx.clone(), board.desk()));
    let never_started = pool.spawn(|tx: Sender<u8>| tx.blocking_send(9).unwrap(), tx.clone());
    drop(tx);
    board.lines("stays", 2).await;
    within(returned).await.unwrap();
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(within(rx.recv()).await.unwrap());
    }
    got.sort_unstable();
    assert_eq!(got, [1, 1, 2]);
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
async fn a_send_without_receivers_gives_the_value_back() {
    // In this process: at once.
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
    // Killed: soon.
    let (tx, rx) = queue::<u64>(1 << 20).unwrap();
    let board = Board::new();
    let stay = |rx: Receiver<u64>, desk: Desk| {
        rx.blocking_recv().unwrap();
        desk.meet("here", "never");
    };
    let child = spawn(stay, (rx, board.desk()));
    tx.send(0).await.unwrap();
    board.lines("here", 1).await;
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
async fn a_full_queue_whose_receivers_die_frees_its_senders() {
    let (tx, rx) = queue::<u8>(1).unwrap();
    let board = Board::new();
    let children: Vec<_> = (0..2)
        .map(|_| {
            let stay = |rx: Receiver<u8>, desk: Desk| {
                desk.meet("here", "never");
                drop(rx);
            };
            spawn(stay, (rx.clone(), board.desk()))
        })
        .collect();
    drop(rx);
    board.lines("here", 2).await;
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

/// Once `send` has returned, the message survives its sender; also what came beside it, and what the
/// receiver wrote to the sender meanwhile.
#[procession::test]
async fn what_a_process_sent_outlives_it() {
    let (tx, rx) = queue::<(ByteBuf, Sender<u8>)>(64).unwrap();
    let (answer_tx, answers) = queue::<u8>(64).unwrap();
    let board = Board::new();
    let send = |tx: Sender<(ByteBuf, Sender<u8>)>, answer: Sender<u8>, desk: Desk| {
        for n in 0..20 {
            let len = if n % 2 == 0 { 100 } else { 1 << 20 };
            let message = ByteBuf::from(vec![n; len]);
            tx.blocking_send((message, answer.clone())).unwrap();
        }
        desk.meet("sent", "exit");
    };
    let child = spawn(send, (tx, answer_tx, board.desk()));
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

/// A `JoinableQueue`'s classic trap: the child cannot end before its queue is read. Here it can.
#[procession::test]
async fn a_joined_child_that_left_1_mib_unread() {
    let (tx, rx) = queue::<ByteBuf>(8).unwrap();
    let child = spawn(
        |tx: Sender<ByteBuf>| tx.blocking_send(ByteBuf::from(vec![1; 1 << 20])).unwrap(),
        tx,
    );
    within(child).await.unwrap();
    assert_eq!(within(rx.recv()).await.unwrap().len(), 1 << 20);
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}
