//! Channels: ours between processes, and the in-process ones of tokio and flume as yardsticks.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use procession::{Pipe, Receiver, Sender, pipe, queue, spawn};
use tokio::sync::mpsc;

use crate::work::{self, DEPTH, Message};
use crate::{runtime, stopwatch, tree};

pub(crate) fn one_to_one() -> Vec<f64> {
    runtime::on_this_thread(stopwatch::rates_awaited(async |messages| {
        let (tx, rx) = queue::<Message>(DEPTH).expect("there is memory");
        let producer = spawn(produce, (messages, tx));
        assert_eq!(rx.count().await as u64, messages);
        producer.await.expect("nothing kills it");
    }))
}

pub(crate) fn two_to_two() -> Vec<f64> {
    runtime::on_this_thread(stopwatch::rates_awaited(async |messages| {
        let (tx, rx) = queue::<Message>(DEPTH).expect("there is memory");
        let producers = [(); 2].map(|()| spawn(produce, (messages / 2, tx.clone())));
        let consumers = [(); 2].map(|()| spawn(consume, rx.clone()));
        drop((tx, rx));
        for producer in producers {
            producer.await.expect("nothing kills it");
        }
        let received: u64 = join_all(consumers)
            .await
            .into_iter()
            .map(|count| count.expect("nothing kills it"))
            .sum();
        assert_eq!(received, messages);
    }))
}

pub(crate) fn large() -> Vec<f64> {
    runtime::on_this_thread(stopwatch::rates_awaited(async |messages| {
        let (tx, mut rx) = queue::<Bytes>(8).expect("there is memory");
        let producer = spawn(produce_large, (messages, tx));
        while let Some(bytes) = rx.next().await {
            assert_eq!(bytes.expect("bytes are bytes").len(), work::LARGE);
        }
        producer.await.expect("nothing kills it");
    }))
}

pub(crate) fn round_trip() -> Vec<f64> {
    runtime::on_this_thread(async {
        let (here, there) = pipe::<Message, Message>().expect("there is memory");
        let echo = spawn(echo, there);
        let here = &here;
        let samples = stopwatch::durations_awaited(|| async move {
            here.send(work::MESSAGE).await.expect("it listens");
            assert!(here.recv().await == Ok(work::MESSAGE));
        });
        let samples = samples.await;
        echo.abort();
        samples
    })
}

pub(crate) fn round_trip_blocking() -> Vec<f64> {
    runtime::on_this_thread(async {
        let (here, there) = pipe::<Message, Message>().expect("there is memory");
        let echo = spawn(echo_blocking, there);
        let measuring = tokio::task::spawn_blocking(move || {
            stopwatch::durations(|| {
                here.blocking_send(work::MESSAGE).expect("it listens");
                assert!(here.blocking_recv() == Ok(work::MESSAGE));
            })
        });
        let samples = measuring.await.expect("it does not panic");
        echo.abort();
        samples
    })
}

/// A consumer in another process that waits for what never comes.
pub(crate) fn idle() -> Vec<f64> {
    runtime::on_this_thread(async {
        let (tx, rx) = queue::<Message>(DEPTH).expect("there is memory");
        let consumer = spawn(consume, rx);
        tx.send(work::MESSAGE).await.expect("it listens");
        let samples = tree::switches_while_idle().await;
        consumer.abort();
        samples
    })
}

pub(crate) fn tokio_one_to_one() -> Vec<f64> {
    runtime::on_many(stopwatch::rates_awaited(|messages| async move {
        let (tx, mut rx) = mpsc::channel::<Message>(DEPTH);
        let producer = tokio::spawn(async move {
            for _ in 0..messages {
                tx.send(work::MESSAGE).await.expect("it listens");
            }
        });
        let mut received = 0;
        while rx.recv().await.is_some() {
            received += 1;
        }
        assert_eq!(received, messages);
        producer.await.expect("it does not panic");
    }))
}

pub(crate) fn flume_one_to_one() -> Vec<f64> {
    runtime::on_many(stopwatch::rates_awaited(|messages| flume(messages, 1)))
}

pub(crate) fn flume_two_to_two() -> Vec<f64> {
    runtime::on_many(stopwatch::rates_awaited(|messages| flume(messages, 2)))
}

async fn flume(messages: u64, sides: u64) {
    let (tx, rx) = flume::bounded::<Message>(DEPTH);
    for _ in 0..sides {
        let tx = tx.clone();
        tokio::spawn(async move {
            for _ in 0..messages / sides {
                tx.send_async(work::MESSAGE).await.expect("it listens");
            }
        });
    }
    drop(tx);
    let consumers = (0..sides).map(|_| tokio::spawn(rx.clone().into_stream().count()));
    let received = join_all(consumers).await;
    let received: usize = received
        .into_iter()
        .map(|count| count.expect("it does not panic"))
        .sum();
    assert_eq!(received as u64, messages);
}

async fn produce(messages: u64, tx: Sender<Message>) {
    for _ in 0..messages {
        tx.send(work::MESSAGE).await.expect("it listens");
    }
}

async fn produce_large(messages: u64, tx: Sender<Bytes>) {
    let bytes = Bytes::from(vec![1; work::LARGE]);
    for _ in 0..messages {
        tx.send(bytes.clone()).await.expect("it listens");
    }
}

async fn consume(rx: Receiver<Message>) -> u64 {
    rx.count().await as u64
}

async fn echo(pipe: Pipe<Message, Message>) {
    while let Ok(message) = pipe.recv().await {
        pipe.send(message).await.expect("it listens");
    }
}

fn echo_blocking(pipe: Pipe<Message, Message>) {
    while let Ok(message) = pipe.blocking_recv() {
        pipe.blocking_send(message).expect("it listens");
    }
}
