//! `close` ends a queue for all its ends and keeps what was sent.

use futures::StreamExt as _;
use procession::{Receiver, RecvError, Sender, TryRecvError, queue, spawn};

use crate::deadline::within;
use crate::notes::{Board, Notes};

#[procession::test]
async fn close_reaches_all_ends_and_keeps_sent_messages() {
    for from_sender in [true, false] {
        let (tx, rx) = queue::<u8>(4).unwrap();
        let child = spawn(
            |tx: Sender<u8>, rx: Receiver<u8>| {
                tx.blocking_send(1).unwrap();
                tx.blocking_send(2).unwrap();
                if rx.capacity() == 4 { 4 } else { 0 }
            },
            (tx.clone(), rx.clone()),
        );
        assert_eq!(within(child).await.unwrap(), 4);
        if from_sender {
            tx.close();
        } else {
            rx.close();
        }
        assert!(tx.is_closed() && rx.is_closed());
        within(tx.closed()).await;
        within(rx.closed()).await;
        let refused = within(tx.send(3)).await.unwrap_err();
        assert!(refused.is_closed() && !refused.is_encode());
        assert_eq!(refused.into_inner(), Some(3));
        assert!(tx.try_send(3).unwrap_err().is_closed());
        assert!(tx.blocking_send(3).unwrap_err().is_closed());
        assert_eq!(within(rx.recv()).await, Ok(1));
        assert_eq!(rx.try_recv(), Ok(2));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
    }
}

#[procession::test]
async fn close_wakes_waiting_senders_and_receivers() {
    let (full_tx, full_rx) = queue::<u8>(1).unwrap();
    full_tx.try_send(0).unwrap();
    let (empty_tx, empty_rx) = queue::<u8>(1).unwrap();
    let board = Board::new();
    let child = spawn(
        |tx: Sender<u8>, rx: Receiver<u8>, notes: Notes| {
            notes.write("started", 1);
            let refused = tx.blocking_send(1).is_err_and(|error| error.is_closed());
            refused && rx.blocking_recv() == Err(RecvError::Closed)
        },
        (full_tx.clone(), empty_rx.clone(), board.notes()),
    );
    let threads = [
        tokio::task::spawn_blocking({
            let tx = full_tx.clone();
            move || tx.blocking_send(1).unwrap_err().is_closed()
        }),
        tokio::task::spawn_blocking({
            let rx = empty_rx.clone();
            move || rx.blocking_recv() == Err(RecvError::Closed)
        }),
    ];
    board.lines("started", 1).await;
    let close = async {
        tokio::task::yield_now().await;
        full_rx.close();
        empty_tx.close();
    };
    let (sent, received, (), (), ()) = within(futures::future::join5(
        full_tx.send(1),
        empty_rx.recv(),
        full_tx.closed(),
        empty_rx.closed(),
        close,
    ))
    .await;
    assert_eq!(sent.unwrap_err().into_inner(), Some(1));
    assert_eq!(received, Err(RecvError::Closed));
    for thread in threads {
        assert!(within(thread).await.unwrap());
    }
    assert!(within(child).await.unwrap());
    assert_eq!(full_rx.try_recv(), Ok(0));
}

/// Senders and receivers are busy when the queue is closed. Each `send` that returned `Ok` has its message received.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_loses_no_sent_message() {
    for round in 0..300_u64 {
        let (tx, rx) = queue::<u64>(1 + round as usize % 7).unwrap();
        let sending = |blocking: bool| {
            let tx = tx.clone();
            match blocking {
                false => tokio::spawn(async move {
                    let mut sent = 0;
                    while tx.send(sent).await.is_ok() {
                        sent += 1;
                    }
                    sent
                }),
                true => tokio::task::spawn_blocking(move || {
                    let sent = (0..).take_while(|n| tx.blocking_send(*n).is_ok());
                    sent.count() as u64
                }),
            }
        };
        let senders = [sending(round % 2 == 0), sending(round % 3 == 0)];
        let receivers = [rx.clone(), rx.clone()].map(|rx| tokio::spawn(rx.count()));
        for _ in 0..round % 50 {
            tokio::task::yield_now().await;
        }
        if round % 2 == 0 {
            tx.close();
        } else {
            rx.close();
        }
        let (mut sent, mut received) = (0, 0);
        for sender in senders {
            sent += within(sender).await.unwrap();
        }
        for receiver in receivers {
            received += within(receiver).await.unwrap() as u64;
        }
        assert_eq!(received, sent);
    }
}

/// The waiting futures compete for one event of the socket.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_resolves_every_closed_future() {
    for round in 0..300 {
        let (tx, rx) = queue::<u64>(1).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..6 {
            let rx = rx.clone();
            waiting.push(tokio::spawn(async move { rx.closed().await }));
            let tx = tx.clone();
            waiting.push(tokio::spawn(async move { tx.closed().await }));
        }
        let receiving = tokio::spawn(rx.clone().count());
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        tx.close();
        for closed in waiting {
            within(closed).await.unwrap();
        }
        assert_eq!(within(receiving).await.unwrap(), 0);
    }
}
