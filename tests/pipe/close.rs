//! Closing a pipe's sink ends the receiver's stream.

use futures::{SinkExt, StreamExt as _, TryStreamExt as _, stream};
use procession::{Pipe, PipeReceiver, PipeSender, RecvError, channel, pipe, queue, spawn};
use serde_bytes::ByteBuf;

use crate::deadline::within;

/// Longer than the largest message that is sent in the ring.
const LONG: usize = 1 << 20;

#[procession::test]
async fn pipe_sender_close_ends_stream_of_receiver() {
    let (mut tx, rx) = channel::<u32>().unwrap();
    let numbers = stream::iter(0..1_000).map(Ok);
    within(numbers.forward(&mut tx)).await.unwrap();
    let received: Vec<u32> = within(rx.try_collect()).await.unwrap();
    assert_eq!(received, (0..1_000).collect::<Vec<_>>());
    assert!(tx.is_closed());
}

async fn send_and_stay(mut tx: PipeSender<u32>, stay: PipeReceiver<()>) {
    let numbers = stream::iter(0..100).map(Ok);
    numbers.forward(&mut tx).await.unwrap();
    assert_eq!(stay.recv().await, Err(RecvError::Closed));
}

#[procession::test]
async fn pipe_sender_close_ends_stream_in_another_process() {
    let (tx, rx) = channel::<u32>().unwrap();
    let (go, stay) = channel::<()>().unwrap();
    let child = spawn(send_and_stay, (tx, stay));
    let received: Vec<u32> = within(rx.try_collect()).await.unwrap();
    assert_eq!(received.len(), 100);
    drop(go);
    within(child).await.unwrap();
}

#[procession::test]
async fn pipe_sender_close_waits_for_what_is_not_sent() {
    let (mut tx, rx) = channel::<ByteBuf>().unwrap();
    tx.feed(ByteBuf::from(vec![7; LONG])).await.unwrap();
    within(SinkExt::close(&mut tx)).await.unwrap();
    assert_eq!(within(rx.recv()).await.unwrap().len(), LONG);
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}

#[procession::test]
async fn pipe_sender_close_ends_later_sends() {
    let (mut tx, rx) = channel::<u32>().unwrap();
    within(SinkExt::close(&mut tx)).await.unwrap();
    within(SinkExt::close(&mut tx)).await.unwrap();
    let refused = within(tx.send(1)).await.unwrap_err();
    assert!(refused.is_closed());
    assert_eq!(refused.into_inner(), Some(1));
    assert!(rx.is_closed());
}

async fn answer(mut end: Pipe<u32, u32>) {
    let mut sum = 0;
    while let Some(number) = end.next().await {
        sum += number.unwrap();
    }
    end.feed(sum).await.unwrap();
    SinkExt::close(&mut end).await.unwrap();
}

#[procession::test]
async fn pipe_sink_close_leaves_the_other_direction_open() {
    let (mut here, there) = pipe::<u32, u32>().unwrap();
    let child = spawn(answer, there);
    let numbers = stream::iter(1..=100).map(Ok);
    within(numbers.forward(&mut here)).await.unwrap();
    assert!(here.is_closed());
    assert_eq!(within(here.next()).await, Some(Ok(5_050)));
    assert_eq!(within(here.next()).await, None);
    within(child).await.unwrap();
}

#[procession::test]
async fn queue_sender_close_leaves_the_queue_open() {
    let (mut tx, rx) = queue::<u32>(4).unwrap();
    within(SinkExt::close(&mut tx)).await.unwrap();
    assert!(!rx.is_closed());
    within(tx.clone().send(1)).await.unwrap();
    assert_eq!(within(rx.recv()).await, Ok(1));
}
