//! Every call that sends or receives, with the errors it has.

use futures::{Sink, SinkExt, Stream, StreamExt as _, TryStreamExt as _};
use procession::{Receiver, RecvError, SendError, Sender, TryRecvError, queue, spawn};

use crate::deadline::within;

#[test]
fn queue_types_have_documented_traits() {
    fn end<T: Send + Sync + Unpin + Clone + std::fmt::Debug + 'static>(_: &T) {}
    fn stream<T: Stream<Item = Result<Vec<u8>, RecvError>>>(_: &T) {}
    fn sink<T: Sink<Vec<u8>, Error = SendError<Vec<u8>>>>(_: &T) {}
    fn future<T: Future + Send + Unpin>(_: &T) {}
    let (tx, rx) = queue::<Vec<u8>>(1).unwrap();
    end(&tx);
    end(&rx);
    stream(&rx);
    sink(&tx);
    future(&tx.send(Vec::new()));
    future(&tx.closed());
    future(&tx.join());
    future(&rx.recv());
    future(&rx.closed());
}

#[test]
fn queue_of_unsupported_capacity_is_an_error() {
    assert!(queue::<u8>(0).is_err());
    assert!(queue::<u8>(usize::MAX).is_err());
}

#[procession::test]
async fn try_and_blocking_calls_send_and_receive() {
    let (tx, rx) = queue::<u8>(2).unwrap();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!((tx.capacity(), rx.capacity()), (2, 2));
    assert!(tx.is_empty() && rx.is_empty() && !tx.is_full() && !rx.is_full());
    tx.try_send(1).unwrap();
    tx.blocking_send(2).unwrap();
    assert_eq!((tx.len(), rx.len()), (2, 2));
    assert!(tx.is_full() && rx.is_full() && !tx.is_empty() && !rx.is_empty());
    let full = tx.try_send(3).unwrap_err();
    assert!(full.is_full() && !full.is_closed() && !full.is_encode());
    assert_eq!(full.into_inner(), 3);
    assert_eq!(rx.try_recv(), Ok(1));
    assert_eq!(rx.blocking_recv(), Ok(2));
    assert!(!tx.is_closed() && !rx.is_closed());
    let blocked = tokio::task::spawn_blocking({
        let rx = rx.clone();
        move || rx.blocking_recv()
    });
    tx.send(4).await.unwrap();
    assert_eq!(within(blocked).await.unwrap(), Ok(4));
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(rx.blocking_recv(), Err(RecvError::Closed));
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}

#[procession::test]
async fn sender_is_sink_and_receiver_is_stream() {
    let (mut tx, rx) = queue::<u32>(3).unwrap();
    let mut input = futures::stream::iter((0..100).map(Ok::<_, SendError<u32>>));
    let sending = async {
        tx.send_all(&mut input).await.unwrap();
        tx.feed(100).await.unwrap();
        SinkExt::flush(&mut tx).await.unwrap();
        SinkExt::close(&mut tx).await.unwrap();
        drop(tx);
    };
    let (all, ()) = within(futures::future::join(rx.try_collect::<Vec<_>>(), sending)).await;
    assert!(all.unwrap().into_iter().eq(0..=100));
}

/// The error belongs to a message that the sink had accepted before.
#[procession::test]
async fn sink_without_receivers_fails() {
    let (mut tx, rx) = queue::<u32>(1).unwrap();
    SinkExt::feed(&mut tx, 1).await.unwrap();
    SinkExt::feed(&mut tx, 2).await.unwrap();
    drop(rx);
    assert!(
        within(SinkExt::flush(&mut tx))
            .await
            .unwrap_err()
            .is_closed()
    );
    assert!(
        within(SinkExt::send(&mut tx, 3))
            .await
            .unwrap_err()
            .is_closed()
    );
}

async fn forward_doubled(rx: Receiver<u32>, tx: Sender<u32>) {
    let doubled = rx.map(|n| Ok(2 * n.unwrap()));
    doubled.forward(tx).await.unwrap();
}

#[procession::test]
async fn stream_forwards_through_processes() {
    let (tx, first) = queue::<u32>(4).unwrap();
    let (second_tx, second) = queue::<u32>(4).unwrap();
    let (last_tx, last) = queue::<u32>(4).unwrap();
    let stages = [
        spawn(forward_doubled, (first, second_tx)),
        spawn(forward_doubled, (second, last_tx)),
    ];
    let feeding = async move {
        for n in 0..500 {
            tx.send(n).await.unwrap();
        }
    };
    let (all, ()) = within(futures::future::join(last.try_collect::<Vec<_>>(), feeding)).await;
    assert!(all.unwrap().into_iter().eq((0..500).map(|n| 4 * n)));
    for stage in stages {
        within(stage).await.unwrap();
    }
}
