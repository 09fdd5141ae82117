//! Futures that are dropped before they are ready.

use std::time::Duration;

use procession::{Receiver, RecvError, queue, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::leftovers::alone;
use crate::tasks::{count_to_async, patterned, poll_n, send_sizes};

/// Receives with futures that are dropped after 0, 1, 2 … polls.
async fn receive_impatiently(rx: Receiver<(usize, ByteBuf)>) -> Vec<(usize, usize)> {
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

fn sizes_for_cancelling() -> Vec<usize> {
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
async fn a_receive_that_is_dropped_loses_nothing() {
    let sizes = sizes_for_cancelling();
    for elsewhere in [false, true] {
        let (tx, rx) = queue(4).unwrap();
        let child = spawn(send_sizes, (sizes.clone(), tx));
        let all = match elsewhere {
            false => within(receive_impatiently(rx)).await,
            true => within(spawn(receive_impatiently, rx)).await.unwrap(),
        };
        assert!(all.into_iter().eq(sizes.iter().copied().enumerate()));
        within(child).await.unwrap();
    }
}

#[procession::test]
async fn a_send_that_is_dropped_sends_once_or_not_at_all() {
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
    for (n, len) in sizes_for_cancelling()
        .into_iter()
        .cycle()
        .take(300)
        .enumerate()
    {
        match within(poll_n(tx.send((n, patterned(n, len))), n % 150)).await {
            Some(Ok(())) => sent.push(n),
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    drop(tx);
    assert_eq!(within(child).await.unwrap(), sent);
}

/// Loops as people write them.
#[procession::test]
async fn select_and_timeout_loops_lose_nothing() {
    let (tx, rx) = queue::<u64>(2).unwrap();
    let child = spawn(count_to_async, (2_000, tx));
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
    assert!(all.into_iter().eq(0..2_000));
    within(child).await.unwrap();
}

/// Futures that are given up leave nothing behind in an idle queue.
#[procession::test]
async fn waiters_that_give_up_are_forgotten() {
    alone("cancel::waiters_that_give_up_are_forgotten", async {
        let (tx, rx) = queue::<u64>(1).unwrap();
        let alive = std::sync::Arc::new(());
        for _ in 0..50 {
            let (rx, alive) = (rx.clone(), alive.clone());
            let waiting = tokio::spawn(async move {
                let _alive = alive;
                let _ = tokio::time::timeout(Duration::from_millis(5), rx.recv()).await;
            });
            within(waiting).await.unwrap();
        }
        assert_eq!(std::sync::Arc::strong_count(&alive), 1);
        tx.try_send(1).unwrap();
        assert_eq!(rx.try_recv(), Ok(1));
    })
    .await;
}
