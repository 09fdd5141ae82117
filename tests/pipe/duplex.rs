//! `Pipe`: messages in both directions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _, TryStreamExt as _};
use procession::{Pipe, RecvError, TryRecvError, pipe, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::tasks::{echo, echo_blocking};

#[procession::test]
async fn pipe_exchanges_requests_and_replies() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(echo, there);
    for n in 0..10_000 {
        here.send(n).await.unwrap();
        assert_eq!(within(here.recv()).await, Ok(n + 1));
    }
    drop(here);
    within(child).await.unwrap();
}

/// Exchanges a thousand requests and replies in each round. The limit is for a round: a loaded machine lets an exchange
/// wait for its turn.
async fn exchange(mut here: Pipe<u64, u64>, rounds: u64) -> Pipe<u64, u64> {
    for _ in 0..rounds {
        let asking = tokio::task::spawn_blocking(move || {
            for n in 0..1_000 {
                here.blocking_send(n).unwrap();
                assert_eq!(here.blocking_recv(), Ok(n + 1));
            }
            here
        });
        here = within(asking).await.unwrap();
    }
    here
}

#[procession::test]
async fn pipe_exchanges_requests_and_replies_in_threads() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(echo_blocking, there);
    let here = exchange(here, 10).await;
    drop(here);
    within(child).await.unwrap();
}

/// A side that waits and yields would lose its turn to each of the busy threads, a hundred times for every message.
#[procession::test]
async fn pipe_exchanges_requests_and_replies_beside_busy_threads() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(echo_blocking, there);
    let over = Arc::new(AtomicBool::new(false));
    let busy = std::thread::available_parallelism().unwrap().get() * 4;
    let busy: Vec<_> = (0..busy)
        .map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || while !over.load(Ordering::Relaxed) {})
        })
        .collect();
    drop(exchange(here, 1).await);
    over.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    within(child).await.unwrap();
}

#[procession::test]
async fn pipe_sends_and_receives_at_once_by_reference() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(echo, there);
    let (sending, receiving) = (&here, &here);
    let send = async {
        for n in 0..3_000 {
            sending.send(n).await.unwrap();
        }
    };
    let receive = async {
        for n in 0..3_000 {
            assert_eq!(receiving.recv().await, Ok(n + 1));
        }
    };
    within(futures::future::join(send, receive)).await;
    let (tx, rx) = here.into_split();
    drop(tx);
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
    within(child).await.unwrap();
}

#[procession::test]
async fn pipe_is_sink_and_stream() {
    let (here, there) = pipe::<u64, u64>().unwrap();
    let child = spawn(echo, there);
    let (mut sink, stream) = here.split();
    let sending = async {
        let mut input = futures::stream::iter((0..500).map(Ok));
        sink.send_all(&mut input).await.unwrap();
    };
    let (all, ()) = within(futures::future::join(
        stream.take(500).try_collect::<Vec<_>>(),
        sending,
    ))
    .await;
    assert!(all.unwrap().into_iter().eq(1..=500));
    drop(sink);
    within(child).await.unwrap();
}

#[procession::test]
async fn try_send_and_try_recv_do_not_wait() {
    let (a, b) = pipe::<u8, String>().unwrap();
    assert_eq!(b.try_recv(), Err(TryRecvError::Empty));
    a.try_send(7).unwrap();
    b.try_send("seven".to_owned()).unwrap();
    assert_eq!(b.try_recv(), Ok(7));
    assert_eq!(a.try_recv().unwrap(), "seven");
    a.try_send(8).unwrap();
    assert!(!b.is_closed());
    drop(a);
    assert!(b.is_closed());
    within(b.closed()).await;
    assert_eq!(b.try_recv(), Ok(8));
    assert_eq!(b.try_recv(), Err(TryRecvError::Closed));
    let back = b.try_send("refused".to_owned()).unwrap_err();
    assert!(back.is_closed());
    assert_eq!(back.into_inner(), "refused");
}

#[procession::test]
async fn close_ends_both_directions_and_keeps_sent_messages() {
    let (a, b) = pipe::<u8, u8>().unwrap();
    a.send(1).await.unwrap();
    b.close();
    assert!(a.is_closed() && within(a.send(2)).await.unwrap_err().is_closed());
    assert_eq!(within(a.recv()).await, Err(RecvError::Closed));
    assert_eq!(within(b.recv()).await, Ok(1));
    assert_eq!(within(b.recv()).await, Err(RecvError::Closed));
}

#[procession::test]
async fn recv_ends_when_other_process_is_killed() {
    let (a, b) = pipe::<u8, u8>().unwrap();
    let child = spawn(
        |b: Pipe<u8, u8>| {
            b.blocking_send(5).unwrap();
            b.blocking_recv().unwrap()
        },
        b,
    );
    assert_eq!(within(a.recv()).await, Ok(5));
    let mut more = a.recv();
    assert!((&mut more).now_or_never().is_none());
    child.abort();
    assert_eq!(within(more).await, Err(RecvError::Closed));
    within(a.closed()).await;
    assert!(within(a.send(1)).await.is_err());
}

#[procession::test]
async fn long_messages_travel_in_both_directions() {
    let (a, b) = pipe::<ByteBuf, ByteBuf>().unwrap();
    let child = spawn(
        async |b: Pipe<ByteBuf, ByteBuf>| {
            while let Ok(bytes) = b.recv().await {
                b.send(bytes).await.unwrap();
            }
        },
        b,
    );
    for len in [0, 65_000, 66_000, 1 << 20, 5 << 20] {
        let bytes = ByteBuf::from((0..len).map(|i| i as u8).collect::<Vec<_>>());
        a.send(bytes.clone()).await.unwrap();
        assert!(within(a.recv()).await.unwrap() == bytes);
    }
    drop(a);
    within(child).await.unwrap();
}
