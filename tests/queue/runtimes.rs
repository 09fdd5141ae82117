//! Several runtimes, and none.

use std::time::Duration;

use futures::{FutureExt as _, SinkExt, StreamExt as _};
use procession::queue;
use serde_bytes::ByteBuf;

use crate::deadline::within;

/// A stream that always has something lets others run.
#[procession::test]
async fn a_busy_stream_is_fair() {
    let (tx, mut rx) = queue::<u64>(1 << 12).unwrap();
    let others = tokio::spawn(async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    });
    let busy = async {
        loop {
            while tx.try_send(1).is_ok() {}
            rx.next().await.unwrap().unwrap();
        }
    };
    tokio::select! {
        _ = busy => {}
        done = within(others) => done.unwrap(),
    }
}

/// Also while the first one is still there, and stands still.
#[test]
fn two_runtimes_one_after_the_other() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (tx, rx) = queue::<u32>(1).unwrap();
    let mut kept = Vec::new();
    for round in 0..6 {
        let here = runtime();
        here.block_on(within(async {
            for n in 0..3 {
                let later = async {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    tx.send(n).await.unwrap();
                };
                let (received, ()) = tokio::join!(rx.recv(), later);
                assert_eq!(received, Ok(n));
            }
            tx.send(0).await.unwrap();
            let later = async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                rx.recv().await.unwrap();
            };
            let (sent, ()) = tokio::join!(tx.send(1), later);
            sent.unwrap();
            rx.recv().await.unwrap();
        }));
        if round % 2 == 0 {
            kept.push(here);
        }
    }
}

/// All memory for long messages is in use, and a runtime stands still in which somebody waits for some.
#[test]
fn a_runtime_that_stands_still_keeps_no_other_waiting() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let long = || ByteBuf::from(vec![1; 100_000]);
    let (tx, rx) = queue::<ByteBuf>(100).unwrap();
    for _ in 0..8 {
        tx.blocking_send(long()).unwrap();
    }
    let still = runtime();
    still.block_on(async {
        assert!(tx.send(long()).now_or_never().is_none());
    });
    runtime().block_on(async { within(tx.send(long())).await.unwrap() });
    drop(tx);
    let count = runtime().block_on(async { within(rx.count()).await });
    assert_eq!(count, 9);
    drop(still);
}

/// There is no Tokio here, only somebody who polls.
#[test]
fn other_executors_will_do() {
    fn poll_until_ready<F: Future + Unpin>(mut future: F) -> F::Output {
        loop {
            if let Some(output) = (&mut future).now_or_never() {
                return output;
            }
        }
    }
    let (mut tx, mut rx) = queue::<ByteBuf>(4).unwrap();
    for len in [0, 100_000, 2 << 20] {
        poll_until_ready(tx.send(ByteBuf::from(vec![1; len]))).unwrap();
        assert_eq!(poll_until_ready(rx.recv()).unwrap().len(), len);
        poll_until_ready(SinkExt::send(&mut tx, ByteBuf::from(vec![1; len]))).unwrap();
        assert_eq!(poll_until_ready(rx.next()).unwrap().unwrap().len(), len);
    }
}
