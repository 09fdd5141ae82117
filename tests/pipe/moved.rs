//! Sending an end of a pipe moves it: one process at a time holds it.

use std::fs::File;
use std::sync::Arc;

use procession::{
    BytePipe, Descriptor, ErrorKind, Pipe, PipeReceiver, PipeSender, RecvError, byte_pipe, channel,
    pipe, queue, spawn,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::deadline::within;
use crate::shared::Shared;

type Ends = (PipeSender<u8>, Pipe<u8, u8>, BytePipe);

#[procession::test]
async fn ends_travel_through_a_pipe_and_back() {
    let (carrier_tx, carrier_rx) = channel::<Ends>().unwrap();
    let (tx, rx) = channel::<u8>().unwrap();
    let (a, b) = pipe::<u8, u8>().unwrap();
    let (mut bytes, there) = byte_pipe().unwrap();
    carrier_tx.send((tx, b, there)).await.unwrap();
    let child = spawn(
        async |carrier: PipeReceiver<Ends>| {
            let (tx, pipe, mut bytes) = carrier.recv().await.unwrap();
            tx.send(pipe.recv().await.unwrap()).await.unwrap();
            bytes.write_all(b"bytes").await.unwrap();
            pipe
        },
        carrier_rx,
    );
    a.send(3).await.unwrap();
    assert_eq!(within(rx.recv()).await, Ok(3));
    let mut text = String::new();
    within(bytes.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "bytes");
    let b = within(child).await.unwrap();
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
    b.send(4).await.unwrap();
    assert_eq!(within(a.recv()).await, Ok(4));
}

#[procession::test]
async fn end_is_closed_where_it_was_sent_from() {
    let (tx, rx) = queue::<(Vec<Shared<PipeSender<u8>>>, ByteBuf)>(4).unwrap();
    let (end, other) = channel::<u8>().unwrap();
    let end = Shared(Arc::new(end));
    for len in [0, 100_000] {
        // A message cannot hold one end twice. The failed send does not move the end.
        let twice = (vec![end.clone(), end.clone()], ByteBuf::from(vec![0; len]));
        assert!(within(tx.send(twice)).await.unwrap_err().is_encode());
        assert!(!end.0.is_closed());
    }
    end.0.send(1).await.unwrap();
    let long = ByteBuf::from(vec![0; 100_000]);
    tx.send((vec![end.clone()], long)).await.unwrap();
    assert!(end.0.is_closed());
    assert!(within(end.0.send(2)).await.unwrap_err().is_closed());
    let again = tx
        .try_send((vec![end.clone()], ByteBuf::new()))
        .unwrap_err();
    assert!(again.is_encode());
    let (moved, _) = within(rx.recv()).await.unwrap();
    // Closing what is left of a moved end does not close the pipe.
    end.0.close();
    moved[0].0.send(3).await.unwrap();
    assert_eq!(within(other.recv()).await, Ok(1));
    assert_eq!(within(other.recv()).await, Ok(3));
}

#[procession::test]
async fn end_in_message_without_receivers_is_not_moved() {
    let (tx, rx) = queue::<(Vec<Shared<PipeSender<u8>>>, ByteBuf)>(4).unwrap();
    let (end, other) = channel::<u8>().unwrap();
    let end = Shared(Arc::new(end));
    drop(rx);
    let back = tx
        .try_send((vec![end.clone()], ByteBuf::new()))
        .unwrap_err();
    assert!(back.is_closed() && !end.0.is_closed());
    end.0.send(1).await.unwrap();
    assert_eq!(within(other.recv()).await, Ok(1));
}

#[procession::test]
async fn end_in_arguments_of_two_processes_reaches_the_first() {
    let (tx, rx) = channel::<u8>().unwrap();
    let tx = Shared(Arc::new(tx));
    let (release, released) = channel::<()>().unwrap();
    let first = spawn(
        |tx: Shared<PipeSender<u8>>, released: PipeReceiver<()>| {
            tx.0.blocking_send(1).unwrap();
            released.blocking_recv().unwrap();
        },
        (tx.clone(), released),
    );
    assert_eq!(within(rx.recv()).await, Ok(1));
    assert!(tx.0.is_closed() && tx.0.try_send(2).unwrap_err().is_closed());
    let second = within(spawn(
        |tx: Shared<PipeSender<u8>>| tx.0.is_closed(),
        tx.clone(),
    ))
    .await;
    let error = second.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("twice"), "{error}");
    release.send(()).await.unwrap();
    within(first).await.unwrap();
}

/// A message that can hold the end which it is sent through.
#[derive(Debug, Serialize, Deserialize)]
struct Recursive(Option<Shared<PipeSender<Recursive>>>);

#[procession::test]
async fn end_cannot_be_sent_through_itself() {
    let (tx, rx) = channel::<Recursive>().unwrap();
    let tx = Shared(Arc::new(tx));
    let refused = within(tx.0.send(Recursive(Some(tx.clone())))).await;
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("itself"), "{error}");
    tx.0.send(Recursive(None)).await.unwrap();
    assert!(within(rx.recv()).await.unwrap().0.is_none());
}

#[procession::test]
async fn ends_and_descriptors_are_serialised_by_sends_alone() {
    let (tx, rx) = queue::<u8>(1).unwrap();
    let (a, _b) = pipe::<u8, u8>().unwrap();
    let file = Descriptor(File::open("/dev/null").unwrap());
    assert!(postcard::to_slice(&file, &mut [0; 64]).is_err());
    assert!(postcard::to_slice(&tx, &mut [0; 64]).is_err());
    assert!(postcard::to_slice(&rx, &mut [0; 64]).is_err());
    assert!(postcard::to_slice(&a, &mut [0; 64]).is_err());
    assert!(postcard::from_bytes::<Descriptor<File>>(&[0]).is_err());
    assert!(!a.is_closed());
}
