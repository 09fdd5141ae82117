//! Senders and receivers are killed while messages wait that do not fit the ring.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use procession::{QueueOptions, Receiver, Sender, queue, queue_with, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::log::Log;
use crate::notes::Board;
use crate::processes::started;
use crate::random::Random;
use crate::soak;

/// The sender, the number of the message, and bytes that follow from both.
type Message = (u64, u64, ByteBuf);

const CAPACITY: usize = 5_000;

fn message(sender: u64, number: u64, len: usize) -> Message {
    let bytes = vec![(sender * 31 + number) as u8; len];
    (sender, number, ByteBuf::from(bytes))
}

/// Returns the sender and the number of a message that is whole.
fn check((sender, number, bytes): Message) -> (u64, u64) {
    let expected = (sender * 31 + number) as u8;
    assert!(bytes.iter().all(|byte| *byte == expected), "torn");
    (sender, number)
}

/// The lengths of a sender's messages: most are in the ring, beside it, or in memory of their own.
fn len(kind: u64, number: u64) -> usize {
    match kind {
        0 => 500 + 37 * (number as usize % 100),
        1 => 20_000 + 1_013 * (number as usize % 40),
        _ if number % 3 == 0 => 70_000,
        _ => number as usize % 9_000,
    }
}

fn send(sender: u64, kind: u64, tx: Sender<Message>) {
    for number in 0.. {
        if tx
            .blocking_send(message(sender, number, len(kind, number)))
            .is_err()
        {
            return;
        }
    }
}

async fn send_async(sender: u64, kind: u64, tx: Sender<Message>) {
    for number in 0.. {
        if tx
            .send(message(sender, number, len(kind, number)))
            .await
            .is_err()
        {
            return;
        }
    }
}

fn receive(log: std::path::PathBuf, rx: Receiver<Message>) {
    let mut log = Log::create(&log);
    while let Ok(received) = rx.blocking_recv() {
        log.record(check(received));
    }
}

/// Senders are killed while no process receives. What they had sent is whole and without a gap, and others still send.
#[procession::test]
async fn killed_senders_leave_whole_messages_beside_the_ring() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    while Instant::now() < end {
        let kind = random.below(3);
        let options = match random.coin() {
            true => QueueOptions::new(CAPACITY),
            false => QueueOptions::new(CAPACITY).bytes(40 << 20),
        };
        let (tx, rx) = queue_with::<Message>(options).unwrap();
        for sender in 0..4 {
            let arguments = (sender, kind, tx.clone());
            let child = match sender % 2 {
                0 => spawn(send, arguments),
                _ => spawn(send_async, arguments),
            };
            started(&child).await;
            let before = tx.len();
            until(|| tx.len() > before || tx.len() == CAPACITY || before > 0).await;
            tokio::time::sleep(Duration::from_micros(random.below(9_000))).await;
            child.abort();
            let _ = within(child).await;
        }
        if !tx.is_full() {
            let _ = tx.try_send(message(9, 0, 3_000));
        }
        drop(tx);
        let mut next = [0; 10];
        let mut rx = rx;
        while let Some(received) = within(rx.next()).await {
            let (sender, number) = check(received.unwrap());
            assert_eq!(number, next[sender as usize], "of sender {sender}");
            next[sender as usize] += 1;
        }
    }
}

/// Receivers are killed while they take what waits. Each takes at most one message along.
#[procession::test]
async fn killed_receivers_lose_at_most_one_message_beside_the_ring() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    while Instant::now() < end {
        let kind = random.below(3);
        let (tx, rx) = queue::<Message>(CAPACITY).unwrap();
        let total = 600;
        let fill = |kind: u64, total: u64, tx: Sender<Message>| {
            for number in 0..total {
                tx.blocking_send(message(1, number, len(kind, number)))
                    .unwrap();
            }
        };
        within(spawn(fill, (kind, total, tx.clone())))
            .await
            .unwrap();
        let board = Board::new();
        let mut logs = Vec::new();
        while !rx.is_empty() {
            let log = board.path(&format!("log-{}", logs.len()));
            let child = spawn(receive, (log.clone(), rx.clone()));
            let before = rx.len();
            until(|| rx.len() < before).await;
            tokio::time::sleep(Duration::from_micros(random.below(2_000))).await;
            child.abort();
            let _ = within(child).await;
            logs.push(log);
        }
        let received: Vec<u64> = logs
            .iter()
            .flat_map(|log| Log::read(log))
            .map(|(_, number)| number)
            .collect();
        assert!(received.is_sorted_by(|a, b| a < b), "twice or out of order");
        let lost = total as usize - received.len();
        assert!(lost <= logs.len(), "{lost} lost, {} killed", logs.len());
        // The queue works as before, and begins with new memory.
        for number in 0..total {
            tx.try_send(message(2, number, 10_000)).unwrap();
        }
        for number in 0..total {
            assert_eq!(check(within(rx.recv()).await.unwrap()), (2, number));
        }
    }
}

/// Senders and receivers are killed while messages are long and the queue is large, and both stay in use.
#[procession::test]
async fn queue_that_spills_survives_killed_senders_and_receivers() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    while Instant::now() < end {
        let kind = random.below(3);
        let (tx, rx) = queue::<Message>(400).unwrap();
        let board = Board::new();
        let mut logs = Vec::new();
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for round in 0..10 {
            senders.push(match round % 2 {
                0 => spawn(send, (round, kind, tx.clone())),
                _ => spawn(send_async, (round, kind, tx.clone())),
            });
            let log = board.path(&format!("log-{round}"));
            receivers.push(spawn(receive, (log.clone(), rx.clone())));
            logs.push(log);
            tokio::time::sleep(Duration::from_micros(random.below(8_000))).await;
            let group: &mut Vec<_> = match random.coin() {
                true => &mut senders,
                false => &mut receivers,
            };
            let victim = group.swap_remove(random.below(group.len() as u64) as usize);
            victim.abort();
            let _ = within(victim).await;
        }
        for sender in senders {
            sender.abort();
            let _ = within(sender).await;
        }
        drop(tx);
        let killed = 10 - receivers.len();
        if receivers.is_empty() {
            while within(rx.recv()).await.is_ok() {}
            continue;
        }
        drop(rx);
        for receiver in receivers {
            within(receiver).await.unwrap();
        }
        let received: Vec<_> = logs.iter().map(|log| Log::read(log)).collect();
        received.iter().for_each(|log| assert_in_order(log));
        let gaps = gaps(received.concat());
        assert!(gaps <= killed, "{gaps} lost, {killed} killed");
    }
}

/// Asserts that a receiver got the messages of each sender in order.
fn assert_in_order(log: &[(u64, u64)]) {
    let mut last = [None; 10];
    for (sender, number) in log {
        let before = last[*sender as usize].replace(*number);
        assert!(before < Some(*number), "out of order");
    }
}

/// How many messages are missing before the last message of each sender. Asserts that each was received once.
fn gaps(mut all: Vec<(u64, u64)>) -> usize {
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count, "received twice");
    let of_sender = |sender| {
        let numbers = all.iter().filter(move |it| it.0 == sender);
        let most = numbers.clone().map(|it| it.1 as usize + 1).max();
        most.unwrap_or(0) - numbers.count()
    };
    (0..10).map(of_sender).sum()
}
