//! A queue takes as many messages as its capacity, of any size, although no process receives.

use std::collections::BTreeMap;
use std::time::Duration;

use procession::{
    Process, ProcessHandle, QueueOptions, Receiver, Sender, queue, queue_with, spawn,
};
use serde_bytes::ByteBuf;
use tokio::time::timeout;

use crate::asleep::asleep;
use crate::deadline::{LIMIT, until, within};
use crate::tasks::{patterned, send_sizes, send_sizes_async};

type Bytes = (usize, ByteBuf);

/// Far longer than sending takes, and far shorter than a limit of the tests.
const MOMENT: Duration = Duration::from_millis(200);

async fn receive_all(rx: &Receiver<Bytes>, sizes: &[usize]) {
    for (n, len) in sizes.iter().enumerate() {
        let (number, bytes) = within(rx.recv()).await.unwrap();
        assert_eq!((number, bytes.len()), (n, *len));
        assert!(bytes == patterned(n, *len), "message {n} is torn");
    }
}

/// A child sends messages of these sizes and exits. Only then they are received.
async fn joined_before_anything_is_read(capacity: usize, sizes: &[usize]) {
    for sends in ["blocking", "async"] {
        let (tx, rx) = queue::<Bytes>(capacity).unwrap();
        let child: ProcessHandle<()> = match sends {
            "async" => spawn(send_sizes_async, (sizes.to_vec(), tx)),
            _ => spawn(send_sizes, (sizes.to_vec(), tx)),
        };
        within(child).await.unwrap();
        assert_eq!(rx.len(), sizes.len());
        assert_eq!(rx.is_full(), sizes.len() == capacity);
        receive_all(&rx, sizes).await;
        assert!(within(rx.recv()).await.is_err());
        assert!(rx.is_empty());
    }
}

#[procession::test]
async fn fifty_messages_of_10_000_bytes_wait() {
    joined_before_anything_is_read(64, &[10_000; 50]).await;
}

#[procession::test]
async fn queue_is_filled_with_messages_of_16_kib() {
    joined_before_anything_is_read(64, &[16 << 10; 64]).await;
}

/// More than the socket has room for.
#[procession::test]
async fn three_hundred_messages_of_100_kib_wait() {
    joined_before_anything_is_read(1024, &[100 << 10; 300]).await;
}

#[procession::test]
async fn three_messages_of_50_mib_wait() {
    let (tx, rx) = queue::<ByteBuf>(4).unwrap();
    let send = |tx: Sender<ByteBuf>| {
        for n in 1..=3 {
            tx.blocking_send(ByteBuf::from(vec![n; 50 << 20])).unwrap();
        }
    };
    within(spawn(send, tx)).await.unwrap();
    for n in 1..=3 {
        let bytes = within(rx.recv()).await.unwrap();
        assert!(bytes == vec![n; 50 << 20]);
    }
}

/// Messages of all kinds behind each other: in the ring, beside it, in memory of their own.
#[procession::test]
async fn messages_of_all_sizes_wait_in_order() {
    let sizes: Vec<usize> = (0..700)
        .map(|n| match n % 7 {
            0 => 0,
            1 => n,
            2 => 70_000,
            3 => 4_000,
            4 => 60_000,
            5 => 16,
            _ => 100_000,
        })
        .collect();
    joined_before_anything_is_read(700, &sizes).await;
}

#[procession::test]
async fn large_queue_of_small_messages_is_filled() {
    let (tx, rx) = queue::<u64>(20_000).unwrap();
    let fill = |tx: Sender<u64>| {
        for n in 0..20_000 {
            tx.blocking_send(n).unwrap();
        }
    };
    within(spawn(fill, tx)).await.unwrap();
    assert!(rx.is_full());
    for n in 0..20_000 {
        assert_eq!(rx.try_recv(), Ok(n));
    }
}

/// More messages of more than 1 MiB than the socket has room for.
#[procession::test]
async fn four_hundred_messages_of_more_than_1_mib_wait() {
    let (tx, rx) = queue::<Bytes>(420).unwrap();
    let send = async |tx: Sender<Bytes>| {
        // Short ones first: the socket is full earlier.
        for n in 0..400 {
            let len = if n < 320 { 66_000 } else { 1_200_000 };
            tx.send((n, ByteBuf::from(vec![n as u8; len])))
                .await
                .unwrap();
        }
    };
    within(spawn(send, tx)).await.unwrap();
    for n in 0..400 {
        let (number, bytes) = within(rx.recv()).await.unwrap();
        assert_eq!(number, n);
        assert!(bytes.iter().all(|byte| *byte == n as u8));
    }
}

#[procession::test]
async fn try_send_fills_the_queue_too() {
    let (tx, rx) = queue::<Bytes>(40).unwrap();
    for n in 0..40 {
        tx.try_send((n, patterned(n, 20_000))).unwrap();
    }
    assert!(tx.is_full());
    assert!(tx.try_send((40, ByteBuf::new())).unwrap_err().is_full());
    receive_all(&rx, &[20_000; 40]).await;
}

#[procession::test]
async fn sender_waits_at_the_capacity_and_is_woken() {
    let (tx, rx) = queue::<Bytes>(30).unwrap();
    for n in 0..30 {
        within(tx.send((n, patterned(n, 20_000)))).await.unwrap();
    }
    let mut waiting = tx.send((30, patterned(30, 20_000)));
    asleep(&mut waiting).await;
    within(rx.recv()).await.unwrap();
    within(waiting).await.unwrap();
    assert_eq!(rx.len(), 30);
}

#[procession::test]
async fn dropped_send_at_the_capacity_sends_nothing() {
    let (tx, rx) = queue::<Bytes>(20).unwrap();
    for n in 0..20 {
        within(tx.send((n, patterned(n, 30_000)))).await.unwrap();
    }
    assert!(
        timeout(MOMENT, tx.send((20, ByteBuf::new())))
            .await
            .is_err()
    );
    receive_all(&rx, &[30_000; 20]).await;
    assert!(rx.try_recv().is_err());
}

#[procession::test]
async fn messages_beside_the_ring_are_received_after_close() {
    let (tx, rx) = queue::<Bytes>(64).unwrap();
    for n in 0..64 {
        within(tx.send((n, patterned(n, 16_000)))).await.unwrap();
    }
    tx.close();
    receive_all(&rx, &[16_000; 64]).await;
    assert!(within(rx.recv()).await.is_err());
}

#[procession::test]
async fn join_counts_messages_beside_the_ring() {
    let (tx, rx) = queue::<Bytes>(64).unwrap();
    for n in 0..64 {
        within(tx.send((n, patterned(n, 16_000)))).await.unwrap();
    }
    let mut joining = tx.join();
    asleep(&mut joining).await;
    for _ in 0..64 {
        within(rx.recv()).await.unwrap();
        rx.task_done().unwrap();
    }
    within(joining).await.unwrap();
}

/// Receivers in several processes share what waits.
#[procession::test]
async fn each_message_beside_the_ring_is_received_once() {
    let (tx, rx) = queue::<Bytes>(2_000).unwrap();
    let (done, mut numbers) = queue::<Vec<usize>>(4).unwrap();
    let send = |first: usize, tx: Sender<Bytes>| {
        for n in first..first + 500 {
            let len = if n % 3 == 0 { 90_000 } else { 3_000 };
            tx.blocking_send((n, patterned(n, len))).unwrap();
        }
    };
    let senders = [spawn(send, (0, tx.clone())), spawn(send, (500, tx))];
    for sender in senders {
        within(sender).await.unwrap();
    }
    let receive = |rx: Receiver<Bytes>, done: Sender<Vec<usize>>| {
        let mut numbers = Vec::new();
        while let Ok((n, bytes)) = rx.blocking_recv() {
            assert!(bytes == patterned(n, bytes.len()));
            numbers.push(n);
        }
        done.blocking_send(numbers).unwrap();
    };
    let receivers = [(); 3].map(|()| spawn(receive, (rx.clone(), done.clone())));
    drop((rx, done));
    let mut all = Vec::new();
    while let Some(some) = within(futures::StreamExt::next(&mut numbers)).await {
        let some = some.unwrap();
        assert!(some.iter().filter(|n| **n < 500).is_sorted());
        all.extend(some);
    }
    for receiver in receivers {
        within(receiver).await.unwrap();
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..1_000));
}

/// The memory of this process's queues, in bytes.
fn queue_memory() -> u64 {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let paths = descriptors.filter_map(|entry| Some(entry.ok()?.path()));
    let queues = paths.filter(|path| {
        let target = std::fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().contains("procession-channel")
    });
    let blocks = queues.filter_map(|path| {
        let file = std::fs::File::open(path).ok()?;
        let stat = rustix::fs::fstat(file).ok()?;
        Some((stat.st_ino, stat.st_blocks as u64))
    });
    // A process has several descriptors of one memory.
    let blocks: BTreeMap<u64, u64> = blocks.collect();
    blocks.values().sum::<u64>() * 512
}

#[procession::test]
async fn drained_queue_gives_its_memory_back() {
    crate::leftovers::alone("capacity::drained_queue_gives_its_memory_back", async {
        let (tx, rx) = queue::<Bytes>(1_000).unwrap();
        for round in 0..3 {
            let sizes = vec![30_000; 400];
            within(spawn(send_sizes, (sizes.clone(), tx.clone())))
                .await
                .unwrap();
            assert!(queue_memory() > 8 << 20, "{}", queue_memory());
            receive_all(&rx, &sizes).await;
            let left = queue_memory();
            assert!(
                left < 400 << 10,
                "{left} bytes are left after round {round}"
            );
        }
    })
    .await;
}

#[procession::test]
async fn bytes_are_bounded_where_it_is_asked_for() {
    let options = QueueOptions::new(100).bytes(100_000);
    let (tx, rx) = queue_with::<Bytes>(options).unwrap();
    for n in 0..9 {
        tx.try_send((n, patterned(n, 10_000))).unwrap();
    }
    assert!(
        tx.try_send((9, patterned(9, 10_000)))
            .unwrap_err()
            .is_full()
    );
    assert!(!tx.is_full());
    let mut waiting = tx.send((9, patterned(9, 10_000)));
    asleep(&mut waiting).await;
    let (n, _) = within(rx.recv()).await.unwrap();
    assert_eq!(n, 0);
    within(waiting).await.unwrap();
    for n in 1..10 {
        let (number, bytes) = within(rx.recv()).await.unwrap();
        assert!(number == n && bytes == patterned(n, 10_000));
    }
}

#[procession::test]
async fn message_larger_than_the_bound_passes_alone() {
    for len in [200_000, 50_000] {
        let (tx, rx) = queue_with::<Bytes>(QueueOptions::new(100).bytes(1_000)).unwrap();
        let child = spawn(send_sizes, (vec![len, 3, len, 100, 200], tx));
        until(|| rx.len() == 1).await;
        tokio::time::sleep(MOMENT).await;
        assert_eq!(rx.len(), 1);
        receive_all(&rx, &[len]).await;
        until(|| rx.len() == 1).await;
        tokio::time::sleep(MOMENT).await;
        assert_eq!(rx.len(), 1);
        for (n, len) in [(1, 3), (2, len), (3, 100), (4, 200)] {
            let (number, bytes) = within(rx.recv()).await.unwrap();
            assert!(number == n && bytes == patterned(n, len));
        }
        within(child).await.unwrap();
    }
}

/// A message of a bounded queue may carry ends too.
#[procession::test]
async fn ends_pass_through_a_queue_that_bounds_bytes() {
    let options = QueueOptions::new(10).bytes(1 << 20);
    let (tx, rx) = queue_with::<(u32, Sender<u32>)>(options).unwrap();
    let (inner, replies) = queue::<u32>(10).unwrap();
    for n in 0..5 {
        within(tx.send((n, inner.clone()))).await.unwrap();
    }
    for n in 0..5 {
        let (number, reply) = within(rx.recv()).await.unwrap();
        assert_eq!(number, n);
        reply.try_send(n).unwrap();
        assert_eq!(replies.try_recv(), Ok(n));
    }
}

/// Hundreds of messages with descriptors wait. Short ones behind them are taken all the same.
#[procession::test]
async fn short_messages_are_taken_behind_many_with_ends() {
    let (tx, rx) = queue::<Option<Sender<u8>>>(1_000).unwrap();
    let (end, _rest) = queue::<u8>(1).unwrap();
    let mut with_ends = 0;
    while tx.try_send(Some(end.clone())).is_ok() {
        with_ends += 1;
    }
    assert!(with_ends > 60, "{with_ends}");
    for _ in 0..100 {
        tx.try_send(None).unwrap();
    }
    for n in 0..with_ends + 100 {
        let received = timeout(LIMIT, rx.recv()).await.unwrap().unwrap();
        assert_eq!(received.is_some(), n < with_ends);
    }
}

/// The size of files is limited, and the queue's memory counts as a file. The sender waits for room in the ring.
#[procession::test]
async fn sender_that_may_not_write_large_files_waits_for_room() {
    let (tx, rx) = queue::<Bytes>(200).unwrap();
    let sizes = vec![10_000; 100];
    let child = Process::builder()
        .file_size_limit(200_000)
        .spawn(send_sizes, (sizes.clone(), tx));
    until(|| rx.len() >= 10).await;
    tokio::time::sleep(MOMENT).await;
    assert!(rx.len() < 100, "{}", rx.len());
    receive_all(&rx, &sizes).await;
    within(child).await.unwrap();
}
