//! An end that is sent is moved.

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

#[procession::test]
async fn an_end_through_a_pipe_and_back() {
    let (way, out) = channel::<(PipeSender<u8>, Pipe<u8, u8>, BytePipe)>().unwrap();
    let (tx, rx) = channel::<u8>().unwrap();
    let (a, b) = pipe::<u8, u8>().unwrap();
    let (mut bytes, there) = byte_pipe().unwrap();
    way.send((tx, b, there)).await.unwrap();
    let child = spawn(
        async |out: PipeReceiver<(PipeSender<u8>, Pipe<u8, u8>, BytePipe)>| {
            let (tx, pipe, mut bytes) = out.recv().await.unwrap();
            tx.send(pipe.recv().await.unwrap()).await.unwrap();
            bytes.write_all(b"bytes").await.unwrap();
            pipe
        },
        out,
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
async fn sending_an_end_moves_it() {
    let (tx, rx) = queue::<(Vec<Shared<PipeSender<u8>>>, ByteBuf)>(4).unwrap();
    let (end, other) = channel::<u8>().unwrap();
    let end = Shared(Arc::new(end));
    for len in [0, 100_000] {
        // The same end twice is no message, and changes nothing.
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
    // Nor can what is left of it be closed from here.
    end.0.close();
    moved[0].0.send(3).await.unwrap();
    assert_eq!(within(other.recv()).await, Ok(1));
    assert_eq!(within(other.recv()).await, Ok(3));
    // What could not be sent for want of room or receivers has not moved.
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

/// One process at a time holds an end, however it was sent.
#[procession::test]
async fn an_end_that_is_sent_twice_arrives_once() {
    let (tx, rx) = channel::<u8>().unwrap();
    let tx = Shared(Arc::new(tx));
    let (waits, go) = channel::<()>().unwrap();
    let first = spawn(
        |tx: Shared<PipeSender<u8>>, go: PipeReceiver<()>| {
            tx.0.blocking_send(1).unwrap();
            go.blocking_recv().unwrap();
        },
        (tx.clone(), go),
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
    waits.send(()).await.unwrap();
    within(first).await.unwrap();
}

/// An end that can be in its own message.
#[derive(Debug, Serialize, Deserialize)]
struct Snake(Option<Shared<PipeSender<Snake>>>);

#[procession::test]
async fn an_end_does_not_go_through_itself() {
    let (tx, rx) = channel::<Snake>().unwrap();
    let tx = Shared(Arc::new(tx));
    let refused = within(tx.0.send(Snake(Some(tx.clone())))).await;
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("itself"), "{error}");
    tx.0.send(Snake(None)).await.unwrap();
    assert!(within(rx.recv()).await.unwrap().0.is_none());
}

#[procession::test]
async fn a_descriptor_is_serialised_in_a_send_and_nowhere_else() {
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
