//! Each message is received once. Messages of one sender keep their order.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _};
use procession::{Process, Receiver, Sender, StartMethod, queue, spawn};

use crate::deadline::within;
use crate::tasks::{send_numbers, send_numbers_async};

#[procession::test]
async fn receiver_gets_messages_of_one_sender_in_order() {
    for capacity in [1, 2, 7, 1024] {
        let (tx, rx) = queue(capacity).unwrap();
        let process = Process::builder().start_method(StartMethod::Exec);
        let child = if capacity % 2 == 0 {
            process.spawn(send_numbers, (3_000, tx))
        } else {
            process.spawn(send_numbers_async, (3_000, tx))
        };
        let all: Vec<u64> = within(rx.try_collect()).await.unwrap();
        assert!(all.into_iter().eq(0..3_000));
        within(child).await.unwrap();
    }
}

/// The sender, and the number of its message.
type Numbered = (u64, u64);

fn send_as(sender: u64, n: u64, tx: Sender<Numbered>) {
    for i in 0..n {
        tx.blocking_send((sender, i)).unwrap();
    }
}

fn collect(rx: Receiver<Numbered>) -> Vec<Numbered> {
    std::iter::from_fn(|| rx.blocking_recv().ok()).collect()
}

async fn collect_async(rx: Receiver<Numbered>) -> Vec<Numbered> {
    rx.try_collect().await.unwrap()
}

/// Checks that each message arrived once. Each receiver got those of one sender in their order.
fn assert_each_once(received: &[Vec<Numbered>], senders: u64, n: u64) {
    let mut counts = HashMap::new();
    for messages in received {
        let mut last = HashMap::new();
        for (sender, i) in messages {
            assert!(last.insert(sender, i).is_none_or(|before| before < i));
            *counts.entry((*sender, *i)).or_insert(0) += 1;
        }
    }
    assert_eq!(counts.len() as u64, senders * n);
    assert!(counts.values().all(|count| *count == 1));
}

#[procession::test]
async fn queue_delivers_each_message_once_between_processes() {
    for capacity in [1, 16, 1024] {
        let (tx, rx) = queue(capacity).unwrap();
        let receivers = vec![
            spawn(collect, rx.clone()),
            spawn(collect_async, rx.clone()),
            spawn(collect, rx),
        ];
        let n = if capacity == 1 { 300 } else { 2_000 };
        let senders: Vec<_> = (0..3)
            .map(|sender| spawn(send_as, (sender, n, tx.clone())))
            .collect();
        drop(tx);
        for sender in senders {
            within(sender).await.unwrap();
        }
        let mut received = Vec::new();
        for receiver in receivers {
            received.push(within(receiver).await.unwrap());
        }
        assert_each_once(&received, 3, n);
    }
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_delivers_each_message_once_between_tasks_and_threads() {
    let (tx, rx) = queue(8).unwrap();
    let mut receivers: Vec<_> = (0..3)
        .map(|_| tokio::spawn(collect_async(rx.clone())))
        .collect();
    receivers.push(tokio::task::spawn_blocking(move || collect(rx)));
    let mut senders = Vec::new();
    for sender in 0..4 {
        let tx = tx.clone();
        senders.push(if sender % 2 == 0 {
            tokio::task::spawn_blocking(move || send_as(sender, 2_000, tx))
        } else {
            tokio::spawn(async move {
                for i in 0..2_000 {
                    tx.send((sender, i)).await.unwrap();
                }
            })
        });
    }
    drop(tx);
    for sender in senders {
        within(sender).await.unwrap();
    }
    let mut received = Vec::new();
    for receiver in receivers {
        received.push(within(receiver).await.unwrap());
    }
    assert_each_once(&received, 4, 2_000);
}

#[procession::test]
async fn messages_without_bytes_are_counted() {
    let (tx, rx) = queue::<()>(1000).unwrap();
    let child = spawn(
        |tx: Sender<()>| (0..5_000).for_each(|_| tx.blocking_send(()).unwrap()),
        tx,
    );
    assert_eq!(within(rx.count()).await, 5_000);
    within(child).await.unwrap();
}
