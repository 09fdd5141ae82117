//! Messages of all sizes.

use std::collections::HashMap;
use std::pin::pin;

use futures::StreamExt as _;
use procession::{Sender, queue, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::tasks::{patterned, send_sizes, send_sizes_async};

#[procession::test]
async fn messages_of_all_sizes_whole_and_in_order() {
    let edge = 64 * 1024;
    let mut sizes: Vec<usize> = (0..20).collect();
    sizes.extend((edge - 24)..(edge + 24));
    // What wraps around the ring at every offset, and what fills it to the last byte.
    sizes.extend((0..200).map(|n| 4096 - n));
    sizes.extend([
        edge / 2,
        edge - 8,
        1,
        edge - 8,
        1,
        edge - 8,
        edge - 8,
        edge - 8,
        0,
        0,
    ]);
    sizes.extend([edge * 4 - 9, edge * 4, 1 << 20, (1 << 20) + 1, 3, 1 << 20]);
    for capacity in [1, 1000] {
        let (tx, rx) = queue(capacity).unwrap();
        let child = match capacity {
            1 => spawn(send_sizes, (sizes.clone(), tx)),
            _ => spawn(send_sizes_async, (sizes.clone(), tx)),
        };
        let mut rx = pin!(rx);
        for (n, len) in sizes.iter().enumerate() {
            let (number, bytes) = within(rx.next()).await.unwrap().unwrap();
            assert_eq!((number, bytes.len()), (n, *len));
            assert!(bytes == patterned(n, *len));
        }
        assert!(within(rx.next()).await.is_none());
        within(child).await.unwrap();
    }
}

async fn pass(len: usize) {
    let (tx, rx) = queue::<ByteBuf>(2).unwrap();
    let child = spawn(
        |len: usize, tx: Sender<ByteBuf>| {
            let mut bytes = vec![7; len];
            bytes[len - 1] = 9;
            tx.blocking_send(ByteBuf::from(bytes)).unwrap();
        },
        (len, tx),
    );
    let received = within(rx.recv()).await.unwrap();
    assert_eq!(received.len(), len);
    assert_eq!(
        (received[0], received[len / 2], received[len - 1]),
        (7, 7, 9)
    );
    within(child).await.unwrap();
}

#[procession::test]
async fn a_message_of_64_mib() {
    pass(64 << 20).await;
}

#[procession::test]
#[ignore = "takes 3 GiB of memory"]
async fn a_message_of_1_gib() {
    pass(1 << 30).await;
}

/// Long messages of some do not keep the short ones of others waiting for ever.
#[procession::test]
async fn several_senders_of_long_messages_at_once() {
    let (tx, rx) = queue::<(usize, ByteBuf)>(8).unwrap();
    let sizes = vec![200_000; 30];
    let mut children = vec![
        spawn(send_sizes, (sizes.clone(), tx.clone())),
        spawn(send_sizes, (vec![60_000; 60], tx.clone())),
        spawn(send_sizes, (vec![5; 60], tx.clone())),
    ];
    children.push(spawn(send_sizes_async, (sizes, tx.clone())));
    children.push(spawn(send_sizes_async, (vec![1_500_000; 10], tx)));
    let mut counts = HashMap::<usize, usize>::new();
    let mut rx = rx;
    while let Some(message) = within(rx.next()).await {
        let (n, bytes) = message.unwrap();
        assert!(bytes == patterned(n, bytes.len()));
        *counts.entry(bytes.len()).or_default() += 1;
    }
    assert_eq!(
        counts,
        HashMap::from([(200_000, 60), (60_000, 60), (5, 60), (1_500_000, 10)])
    );
    for child in children {
        within(child).await.unwrap();
    }
}

/// Many short messages fill every gap that opens: the long one gets its turn all the same.
#[procession::test]
async fn short_messages_do_not_starve_a_longer_one() {
    let (tx, rx) = queue::<(usize, ByteBuf)>(1 << 20).unwrap();
    let hammer = |tx: Sender<(usize, ByteBuf)>| {
        while tx.blocking_send((0, ByteBuf::from(vec![0; 500]))).is_ok() {}
    };
    let hammers = [spawn(hammer, tx.clone()), spawn(hammer, tx.clone())];
    let receiving = tokio::task::spawn_blocking(move || {
        let mut longs = 0;
        while longs < 20 {
            longs += usize::from(rx.blocking_recv().unwrap().1.len() > 50_000);
        }
    });
    until(|| tx.len() > 200).await;
    for n in 0..20 {
        within(tx.send((n, patterned(n, 60_000)))).await.unwrap();
    }
    within(receiving).await.unwrap();
    drop(tx);
    for one in hammers {
        within(one).await.unwrap();
    }
}
