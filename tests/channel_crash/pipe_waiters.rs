//! Tasks and blocked threads of one process wait at one end of a pipe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procession::{Pipe, PipeReceiver, channel, pipe, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::random::Random;
use crate::soak;

/// Answers each request with so many messages. A pause before every third one lets the receivers fall asleep.
async fn send_as_many_as_requested(pipe: Pipe<u64, u64>) {
    while let Ok(count) = pipe.recv().await {
        for number in 0..count {
            if number % 3 == 2 {
                tokio::time::sleep(Duration::from_micros(count * 20)).await;
            }
            pipe.send(number).await.unwrap();
        }
    }
}

/// Each message reaches one of the receivers that wait, and as many messages come as there are receivers.
#[procession::test]
async fn pipe_wakes_each_receiving_task_and_thread() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(send_as_many_as_requested, there);
    let here = Arc::new(here);
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    let mut rounds = 0;
    while Instant::now() < end {
        let (tasks, threads) = (random.below(4), random.below(4));
        let mut all = Vec::new();
        for _ in 0..tasks {
            let here = Arc::clone(&here);
            all.push(tokio::spawn(async move { here.recv().await.unwrap() }));
        }
        for _ in 0..threads {
            let here = Arc::clone(&here);
            let receive = move || here.blocking_recv().unwrap();
            all.push(tokio::task::spawn_blocking(receive));
        }
        if random.coin() {
            // In some rounds all receivers sleep before the first message is sent.
            tokio::time::sleep(Duration::from_micros(random.below(1_000))).await;
        }
        here.send(tasks + threads).await.unwrap();
        let received = within(futures::future::join_all(all)).await;
        let mut received: Vec<_> = received.into_iter().map(Result::unwrap).collect();
        received.sort_unstable();
        assert!(received.into_iter().eq(0..tasks + threads));
        rounds += 1;
    }
    eprintln!("{rounds} rounds");
    drop(here);
    within(child).await.unwrap();
}

/// Receives to the end and counts the messages. A pause of so many microseconds in every 16 fills the ring.
fn receive_slowly(rx: PipeReceiver<ByteBuf>, micros: u64) -> u64 {
    let mut count = 0_u64;
    while let Ok(bytes) = rx.blocking_recv() {
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "torn");
        count += 1;
        if count % 16 == 1 {
            std::thread::sleep(Duration::from_micros(micros));
        }
    }
    count
}

/// The messages have different lengths: room for one sender need not be room for another.
#[procession::test]
async fn pipe_wakes_tasks_and_threads_that_wait_for_room() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    while Instant::now() < end {
        let (tx, rx) = channel::<ByteBuf>().unwrap();
        let child = spawn(receive_slowly, (rx, random.below(500)));
        let tx = Arc::new(tx);
        let mut all = Vec::new();
        for (sender, len) in [60_000, 5_000, 100, 60_000].into_iter().enumerate() {
            let tx = Arc::clone(&tx);
            let message = move |n: u8| ByteBuf::from(vec![n; len]);
            all.push(match sender % 2 {
                0 => tokio::spawn(async move {
                    for n in 0..50 {
                        tx.send(message(n)).await.unwrap();
                    }
                }),
                _ => tokio::task::spawn_blocking(move || {
                    (0..50).for_each(|n| tx.blocking_send(message(n)).unwrap());
                }),
            });
        }
        drop(tx);
        for sender in all {
            within(sender).await.unwrap();
        }
        assert_eq!(within(child).await.unwrap(), 200);
    }
}
