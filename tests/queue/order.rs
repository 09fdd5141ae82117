//! Every message arrives once, in order.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _};
use procession::{Process, Receiver, Sender, StartMethod, queue, spawn};

use crate::deadline::within;
use crate::tasks::{count_to, count_to_async};

#[procession::test]
async fn one_sender_is_received_in_order() {
    for capacity in [1, 2, 7, 1024] {
        for start in [StartMethod::Exec] {
            let (tx, rx) = queue(capacity).unwrap();
            let process = Process::builder().start(start);
            let child = if capacity % 2 == 0 {
                process.spawn(count_to, (3_000, tx))
            } else {
                process.spawn(count_to_async, (3_000, tx))
            };
            let all: Vec<u64> = within(rx.try_collect()).await.unwrap();
            assert!(all.iter().copied().eq(0..3_000));
            within(child).await.unwrap();
        }
    }
}

fn count_as(who: u64, n: u64, tx: Sender<(u64, u64)>) {
    for i in 0..n {
        tx.blocking_send((who, i)).unwrap();
    }
}

fn collect(rx: Receiver<(u64, u64)>) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| rx.blocking_recv().ok()).collect()
}

async fn collect_async(rx: Receiver<(u64, u64)>) -> Vec<(u64, u64)> {
    rx.try_collect().await.unwrap()
}

/// Checks that everything arrived once, and in order at each receiver.
fn check_each_once(received: &[Vec<(u64, u64)>], senders: u64, n: u64) {
    let mut counts = HashMap::new();
    for one in received {
        let mut last = HashMap::new();
        for (who, i) in one {
            assert!(last.insert(who, i).is_none_or(|before| before < i));
            *counts.entry((*who, *i)).or_insert(0) += 1;
        }
    }
    assert_eq!(counts.len() as u64, senders * n);
    assert!(counts.values().all(|count| *count == 1));
}

#[procession::test]
async fn many_to_many_each_message_once() {
    for capacity in [1, 16, 1024] {
        let (tx, rx) = queue(capacity).unwrap();
        let receivers = vec![
            spawn(collect, rx.clone()),
            spawn(collect_async, rx.clone()),
            spawn(collect, rx),
        ];
        let n = if capacity == 1 { 300 } else { 2_000 };
        let senders: Vec<_> = (0..3)
            .map(|who| spawn(count_as, (who, n, tx.clone())))
            .collect();
        drop(tx);
        for sender in senders {
            within(sender).await.unwrap();
        }
        let mut received = Vec::new();
        for receiver in receivers {
            received.push(within(receiver).await.unwrap());
        }
        check_each_once(&received, 3, n);
    }
}

/// The same between tasks of one process on several threads, some of which block.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_to_many_in_one_process() {
    let (tx, rx) = queue(8).unwrap();
    let mut receivers: Vec<_> = (0..3)
        .map(|_| tokio::spawn(collect_async(rx.clone())))
        .collect();
    receivers.push(tokio::task::spawn_blocking(move || collect(rx)));
    let mut senders = Vec::new();
    for who in 0..4 {
        let tx = tx.clone();
        senders.push(if who % 2 == 0 {
            tokio::task::spawn_blocking(move || count_as(who, 2_000, tx))
        } else {
            tokio::spawn(async move {
                for i in 0..2_000 {
                    tx.send((who, i)).await.unwrap();
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
    check_each_once(&received, 4, 2_000);
}

#[procession::test]
async fn messages_of_no_bytes_are_messages() {
    let (tx, rx) = queue::<()>(1000).unwrap();
    let child = spawn(
        |tx: Sender<()>| (0..5_000).for_each(|_| tx.blocking_send(()).unwrap()),
        tx,
    );
    assert_eq!(within(rx.count()).await, 5_000);
    within(child).await.unwrap();
}
