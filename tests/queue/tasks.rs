//! Functions of this binary that run in more than one test.

use std::task::Poll;

use procession::Sender;
use serde_bytes::ByteBuf;

pub(crate) fn count_to(n: u64, tx: Sender<u64>) {
    for i in 0..n {
        tx.blocking_send(i).unwrap();
    }
}

pub(crate) async fn count_to_async(n: u64, tx: Sender<u64>) {
    for i in 0..n {
        tx.send(i).await.unwrap();
    }
}

pub(crate) fn patterned(n: usize, len: usize) -> ByteBuf {
    ByteBuf::from((0..len).map(|i| (i * 31 + n) as u8).collect::<Vec<_>>())
}

pub(crate) fn send_sizes(sizes: Vec<usize>, tx: Sender<(usize, ByteBuf)>) {
    for (n, len) in sizes.into_iter().enumerate() {
        tx.blocking_send((n, patterned(n, len))).unwrap();
    }
}

pub(crate) async fn send_sizes_async(sizes: Vec<usize>, tx: Sender<(usize, ByteBuf)>) {
    for (n, len) in sizes.into_iter().enumerate() {
        tx.send((n, patterned(n, len))).await.unwrap();
    }
}

/// Polls `future` up to `n` times, letting others run in between, and drops it then.
pub(crate) async fn poll_n<F: Future + Unpin>(mut future: F, n: usize) -> Option<F::Output> {
    for _ in 0..n {
        let polled =
            std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut future).poll(cx)));
        if let Poll::Ready(output) = polled.await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}
