//! How long a message may be, at its sender. `src/channel/bounds.rs` tests receivers of senders that ignore it.

use futures::SinkExt;
use procession::{
    PipeOptions, PipeSender, QueueOptions, RecvError, Sender, channel_with, queue_with, spawn,
};
use serde_bytes::ByteBuf;

use crate::deadline::within;

fn of_length(len: usize) -> ByteBuf {
    ByteBuf::from(vec![7; len])
}

/// A limit, and lengths of messages below and above it: on the stack of the sender, in the ring, in memory of their
/// own, and longer than what is decoded where it is received.
const CASES: [(u64, usize, usize); 4] = [
    (100, 90, 101),
    (10_000, 9_990, 10_001),
    (300_000, 299_990, 300_001),
    (3_000_000, 2_999_990, 3_000_001),
];

#[procession::test]
async fn message_beyond_the_limit_is_not_sent() {
    for (limit, fits, too_long) in CASES {
        let options = QueueOptions::new(4).message_limit(limit);
        let (mut tx, rx) = queue_with::<ByteBuf>(options).unwrap();
        let why = format!("at most {limit}");

        let error = within(tx.send(of_length(too_long))).await.unwrap_err();
        assert!(
            error.is_encode() && error.to_string().contains(&why),
            "{error}"
        );
        assert_eq!(error.into_inner().unwrap().len(), too_long);
        let error = tx.try_send(of_length(too_long)).unwrap_err();
        assert!(
            error.is_encode() && error.to_string().contains(&why),
            "{error}"
        );
        let sink = within(SinkExt::send(&mut tx, of_length(too_long))).await;
        assert!(sink.unwrap_err().is_encode());
        let sender = tx.clone();
        let blocking = move || sender.blocking_send(of_length(too_long));
        let blocking = tokio::task::spawn_blocking(blocking);
        assert!(within(blocking).await.unwrap().unwrap_err().is_encode());

        assert!(rx.is_empty());
        within(tx.send(of_length(fits))).await.unwrap();
        assert_eq!(within(rx.recv()).await.unwrap().len(), fits);
    }
}

#[procession::test]
async fn limit_travels_with_the_ends_of_a_queue() {
    let send = |tx: Sender<ByteBuf>| {
        let refused = tx
            .blocking_send(of_length(2_000))
            .is_err_and(|error| error.is_encode());
        tx.blocking_send(of_length(900)).unwrap();
        refused
    };
    let (tx, rx) = queue_with(QueueOptions::new(4).message_limit(1_000)).unwrap();
    assert!(within(spawn(send, tx)).await.unwrap());
    assert_eq!(within(rx.recv()).await.unwrap().len(), 900);
    assert!(matches!(within(rx.recv()).await, Err(RecvError::Closed)));
}

#[procession::test]
async fn limit_travels_with_the_ends_of_a_pipe() {
    let send = |tx: PipeSender<ByteBuf>| {
        let refused = tx
            .blocking_send(of_length(2_000))
            .is_err_and(|error| error.is_encode());
        tx.blocking_send(of_length(900)).unwrap();
        refused
    };
    let (tx, rx) = channel_with(PipeOptions::new().message_limit(1_000)).unwrap();
    assert!(within(spawn(send, tx)).await.unwrap());
    assert_eq!(within(rx.recv()).await.unwrap().len(), 900);
}
