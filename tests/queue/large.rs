//! Messages of all sizes. A long one has shared memory of its own.

use std::collections::HashMap;
use std::pin::pin;

use futures::StreamExt as _;
use procession::{Sender, queue, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::tasks::{patterned, send_sizes, send_sizes_async};

#[procession::test]
async fn messages_of_all_sizes_arrive_whole_and_in_order() {
    let edge = 64 * 1024;
    let mut sizes: Vec<usize> = (0..20).collect();
    sizes.extend((edge - 24)..(edge + 24));
    // These wrap around the end of the ring at every offset. The next fill it to the last byte.
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

async fn send_one(len: usize) {
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
async fn message_of_64_mib_arrives() {
    send_one(64 << 20).await;
}

#[procession::test]
#[ignore = "takes 3 GiB of memory"]
async fn message_of_1_gib_arrives() {
    send_one(1 << 30).await;
}

#[procession::test]
async fn senders_of_long_and_short_messages_all_finish() {
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

/// Short messages take the space that becomes free before there is enough for a longer one.
#[procession::test]
async fn sender_of_long_message_is_not_starved_by_short_ones() {
    let (tx, rx) = queue::<(usize, ByteBuf)>(1 << 20).unwrap();
    let send_short = |tx: Sender<(usize, ByteBuf)>| {
        while tx.blocking_send((0, ByteBuf::from(vec![0; 500]))).is_ok() {}
    };
    let senders = [spawn(send_short, tx.clone()), spawn(send_short, tx.clone())];
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
    for sender in senders {
        within(sender).await.unwrap();
    }
}
