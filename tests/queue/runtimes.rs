//! A queue in one runtime, in several, and without Tokio.

use futures::{FutureExt as _, SinkExt, StreamExt as _};
use procession::queue;
use serde_bytes::ByteBuf;
use tokio::runtime::Runtime;

use crate::asleep::asleep;
use crate::deadline::within;

fn current_thread_runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// The stream always has a message.
#[procession::test]
async fn stream_lets_other_tasks_run() {
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

/// Some of the earlier runtimes still exist, and none of them is polled.
#[test]
fn queue_works_in_one_runtime_after_another() {
    let (tx, rx) = queue::<u32>(1).unwrap();
    let mut kept = Vec::new();
    for round in 0..6 {
        let runtime = current_thread_runtime();
        runtime.block_on(within(async {
            for n in 0..3 {
                let mut receiving = rx.recv();
                asleep(&mut receiving).await;
                let (received, sent) = tokio::join!(receiving, tx.send(n));
                sent.unwrap();
                assert_eq!(received, Ok(n));
            }
            tx.send(0).await.unwrap();
            let mut sending = tx.send(1);
            asleep(&mut sending).await;
            let (sent, received) = tokio::join!(sending, rx.recv());
            sent.unwrap();
            assert_eq!(received, Ok(0));
            assert_eq!(rx.recv().await, Ok(1));
        }));
        if round % 2 == 0 {
            kept.push(runtime);
        }
    }
}

/// All memory for long messages is in use. A send in a runtime that is not polled waits for some of it.
#[test]
fn send_in_runtime_that_is_not_polled_delays_no_other() {
    let long = || ByteBuf::from(vec![1; 100_000]);
    let (tx, rx) = queue::<ByteBuf>(100).unwrap();
    // Where nothing is received, a send does not wait for memory.
    tx.blocking_send(ByteBuf::new()).unwrap();
    rx.blocking_recv().unwrap();
    for _ in 0..8 {
        tx.blocking_send(long()).unwrap();
    }
    let not_polled = current_thread_runtime();
    not_polled.block_on(async {
        assert!(tx.send(long()).now_or_never().is_none());
    });
    current_thread_runtime().block_on(async { within(tx.send(long())).await.unwrap() });
    drop(tx);
    let count = current_thread_runtime().block_on(async { within(rx.count()).await });
    assert_eq!(count, 9);
    drop(not_polled);
}

#[test]
fn queue_works_without_tokio() {
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
