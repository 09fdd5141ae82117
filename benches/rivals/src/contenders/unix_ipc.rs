//! tokio-unix-ipc: async like ours. It starts no processes and its ends are sockets, so ours start them here and
//! hand the sockets over.

use std::os::unix::net::UnixStream;

use procession::{Descriptor, spawn};
use serde_bytes::ByteBuf;
use tokio_unix_ipc::{Receiver, Sender, channel_from_std};

use crate::work::{self, Message};
use crate::{runtime, stopwatch};

pub(crate) fn one_to_one() -> Vec<f64> {
    runtime::on_this_thread(stopwatch::rates_awaited(async |messages| {
        let (here, there) = UnixStream::pair().expect("there are descriptors");
        let producer = spawn(produce, (messages, Descriptor(there)));
        let (_tx, rx) = ends::<Message>(here);
        for _ in 0..messages {
            rx.recv().await.expect("it sends");
        }
        producer.await.expect("nothing kills it");
    }))
}

pub(crate) fn large() -> Vec<f64> {
    runtime::on_this_thread(stopwatch::rates_awaited(async |messages| {
        let (here, there) = UnixStream::pair().expect("there are descriptors");
        let producer = spawn(produce_large, (messages, Descriptor(there)));
        let (_tx, rx) = ends::<ByteBuf>(here);
        for _ in 0..messages {
            assert_eq!(rx.recv().await.expect("it sends").len(), work::LARGE);
        }
        producer.await.expect("nothing kills it");
    }))
}

pub(crate) fn round_trip() -> Vec<f64> {
    runtime::on_this_thread(async {
        let (here, there) = UnixStream::pair().expect("there are descriptors");
        let echo = spawn(echo, Descriptor(there));
        let (tx, rx) = &ends::<Message>(here);
        let samples = stopwatch::durations_awaited(|| async move {
            tx.send(work::MESSAGE).await.expect("it listens");
            assert!(rx.recv().await.expect("it answers") == work::MESSAGE);
        });
        let samples = samples.await;
        echo.abort();
        samples
    })
}

fn ends<T>(socket: UnixStream) -> (Sender<T>, Receiver<T>)
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    channel_from_std(socket).expect("a runtime is here")
}

async fn produce(messages: u64, socket: Descriptor<UnixStream>) {
    let (tx, _rx) = ends::<Message>(socket.into_inner());
    for _ in 0..messages {
        tx.send(work::MESSAGE).await.expect("it listens");
    }
}

async fn produce_large(messages: u64, socket: Descriptor<UnixStream>) {
    let (tx, _rx) = ends::<ByteBuf>(socket.into_inner());
    for _ in 0..messages {
        let bytes = ByteBuf::from(vec![1; work::LARGE]);
        tx.send(bytes).await.expect("it listens");
    }
}

async fn echo(socket: Descriptor<UnixStream>) {
    let (tx, rx) = ends::<Message>(socket.into_inner());
    while let Ok(message) = rx.recv().await {
        tx.send(message).await.expect("it listens");
    }
}
