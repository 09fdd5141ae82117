//! Functions that several tests of this binary use.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use procession::Sender;
use serde_bytes::ByteBuf;

pub(crate) fn send_numbers(n: u64, tx: Sender<u64>) {
    for i in 0..n {
        tx.blocking_send(i).unwrap();
    }
}

pub(crate) async fn send_numbers_async(n: u64, tx: Sender<u64>) {
    for i in 0..n {
        tx.send(i).await.unwrap();
    }
}

/// The bytes of message `n`, which no other message of that length has.
pub(crate) fn patterned(n: usize, len: usize) -> ByteBuf {
    // Copied, because a loop over the bytes of a long message takes a build without optimisation most of the test.
    let period: Vec<_> = (0..256).map(|i| (i * 31 + n) as u8).collect();
    let mut bytes = period.repeat(len / period.len() + 1);
    bytes.truncate(len);
    ByteBuf::from(bytes)
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

/// Polls `future` up to `n` times and drops it then. Between two polls other tasks run.
pub(crate) async fn poll_n<F: Future + Unpin>(mut future: F, n: usize) -> Option<F::Output> {
    for _ in 0..n {
        let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut future).poll(cx)));
        if let Poll::Ready(output) = polled.await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}
