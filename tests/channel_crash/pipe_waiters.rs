//! Tasks and threads that wait at one end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procession::{Pipe, PipeReceiver, channel, pipe, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::random::Random;
use crate::soak;

/// Every message is received by one of those who wait for one, whoever waits in whatever way beside them.
#[procession::test]
async fn tasks_and_threads_at_one_end_of_a_pipe() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(
        async |there: Pipe<u64, u64>| {
            while let Ok(count) = there.recv().await {
                for number in 0..count {
                    if number % 3 == 2 {
                        tokio::time::sleep(Duration::from_micros(count * 20)).await;
                    }
                    there.send(number).await.unwrap();
                }
            }
        },
        there,
    );
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
            let receives = move || here.blocking_recv().unwrap();
            all.push(tokio::task::spawn_blocking(receives));
        }
        if random.below(2) == 0 {
            // Until they sleep.
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

/// The same for those who wait for room.
#[procession::test]
async fn tasks_and_threads_that_wait_for_room_in_a_pipe() {
    let mut random = Random::seeded();
    let end = Instant::now() + soak();
    while Instant::now() < end {
        let (tx, rx) = channel::<ByteBuf>().unwrap();
        let child = spawn(
            |rx: PipeReceiver<ByteBuf>, micros: u64| {
                let mut count = 0_u64;
                while let Ok(bytes) = rx.blocking_recv() {
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "torn");
                    count += 1;
                    if count.is_multiple_of(16) {
                        std::thread::sleep(Duration::from_micros(micros));
                    }
                }
                count
            },
            (rx, random.below(500)),
        );
        let tx = Arc::new(tx);
        let mut all = Vec::new();
        for who in 0..4_u8 {
            let tx = Arc::clone(&tx);
            let len = [60_000, 5_000, 100, 60_000][usize::from(who)];
            let message = move |n: u8| ByteBuf::from(vec![n; len]);
            all.push(match who % 2 {
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
