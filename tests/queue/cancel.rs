//! Futures of a queue are cancel safe: dropping one loses no message and sends none twice.

use std::sync::Arc;
use std::time::Duration;

use procession::{Receiver, RecvError, queue, spawn};
use serde_bytes::ByteBuf;

use crate::asleep::asleep;
use crate::deadline::within;
use crate::leftovers::alone;
use crate::tasks::{patterned, poll_n, send_numbers_async, send_sizes};

/// Receives with futures that are dropped after 0, 1, 2 … polls.
async fn receive_cancelling(rx: Receiver<(usize, ByteBuf)>) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    for n in 0.. {
        match poll_n(rx.recv(), n % 150).await {
            Some(Ok((n, bytes))) => {
                assert!(bytes == patterned(n, bytes.len()));
                all.push((n, bytes.len()));
            }
            Some(Err(RecvError::Closed)) => break,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    all
}

/// Sizes of every form that a message has: in the ring, in shared memory, and between the two.
fn sizes() -> Vec<usize> {
    let sizes = [
        10,
        100_000,
        0,
        1 << 20,
        (1 << 20) + 1,
        60_000,
        1,
        2 << 20,
        5,
    ];
    sizes.into_iter().cycle().take(90).collect()
}

#[procession::test]
async fn recv_dropped_loses_nothing() {
    let sizes = sizes();
    for in_child in [false, true] {
        let (tx, rx) = queue(4).unwrap();
        let child = spawn(send_sizes, (sizes.clone(), tx));
        let all = match in_child {
            false => within(receive_cancelling(rx)).await,
            true => within(spawn(receive_cancelling, rx)).await.unwrap(),
        };
        assert!(all.into_iter().eq(sizes.iter().copied().enumerate()));
        within(child).await.unwrap();
    }
}

#[procession::test]
async fn send_dropped_sends_once_or_not_at_all() {
    let (tx, rx) = queue::<(usize, ByteBuf)>(3).unwrap();
    let child = spawn(
        async |rx: Receiver<(usize, ByteBuf)>| {
            let mut all = Vec::new();
            while let Ok((n, bytes)) = rx.recv().await {
                assert!(bytes == patterned(n, bytes.len()));
                all.push(n);
            }
            all
        },
        rx,
    );
    let mut sent = Vec::new();
    for (n, len) in sizes().into_iter().cycle().take(300).enumerate() {
        match within(poll_n(tx.send((n, patterned(n, len))), n % 150)).await {
            Some(Ok(())) => sent.push(n),
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    drop(tx);
    assert_eq!(within(child).await.unwrap(), sent);
}

#[procession::test]
async fn recv_in_select_and_timeout_loops_loses_nothing() {
    let (tx, rx) = queue::<u64>(2).unwrap();
    let child = spawn(send_numbers_async, (500, tx));
    let mut ticks = tokio::time::interval(Duration::from_micros(200));
    let mut all = Vec::new();
    let receiving = async {
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                received = rx.recv() => match received {
                    Ok(n) => all.push(n),
                    Err(_) => break,
                },
            }
            let soon = tokio::time::timeout(Duration::from_micros(50), rx.recv());
            if let Ok(Ok(n)) = soon.await {
                all.push(n);
            }
        }
    };
    within(receiving).await;
    assert!(all.into_iter().eq(0..500));
    within(child).await.unwrap();
}

#[procession::test]
async fn recv_dropped_forgets_its_waker() {
    let test = "cancel::recv_dropped_forgets_its_waker";
    alone(test, async {
        let (tx, rx) = queue::<u64>(1).unwrap();
        for _ in 0..50 {
            let mut waiting = rx.recv();
            let woken = asleep(&mut waiting).await;
            assert!(Arc::strong_count(&woken) > 1);
            drop(waiting);
            assert_eq!(Arc::strong_count(&woken), 1);
        }
        for _ in 0..50 {
            let rx = rx.clone();
            let waiting = tokio::spawn(async move {
                let _ = tokio::time::timeout(Duration::from_millis(5), rx.recv()).await;
            });
            within(waiting).await.unwrap();
        }
        tx.try_send(1).unwrap();
        assert_eq!(rx.try_recv(), Ok(1));
    })
    .await;
}
