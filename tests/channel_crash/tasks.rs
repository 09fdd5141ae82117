//! What the processes do.

use std::path::PathBuf;

use futures::StreamExt as _;
use procession::{Pipe, PipeReceiver, PipeSender, Receiver, RecvError, Sender};

use crate::log::Log;
use crate::message::{Kind, Message};

pub(crate) fn produce(sender: u64, kind: Kind, tx: Sender<Message>) {
    for number in 0.. {
        if tx
            .blocking_send(Message::new(sender, number, kind))
            .is_err()
        {
            return;
        }
    }
}

pub(crate) async fn produce_async(sender: u64, kind: Kind, tx: Sender<Message>) {
    for number in 0.. {
        if tx.send(Message::new(sender, number, kind)).await.is_err() {
            return;
        }
    }
}

/// Notes what it has received in a file of its own, and whether it came to the end.
pub(crate) fn consume(log: PathBuf, rx: Receiver<Message>) {
    let mut log = Log::create(&log);
    loop {
        match rx.blocking_recv() {
            Ok(message) => log.note(message.check()),
            Err(RecvError::Closed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) async fn consume_async(log: PathBuf, mut rx: Receiver<Message>) {
    let mut log = Log::create(&log);
    while let Some(message) = rx.next().await {
        log.note(message.unwrap().check());
    }
}

pub(crate) async fn echo(pipe: Pipe<Message, Message>) {
    while let Ok(message) = pipe.recv().await {
        if pipe.send(message).await.is_err() {
            return;
        }
    }
}

pub(crate) fn echo_blocking(pipe: Pipe<Message, Message>) {
    while let Ok(message) = pipe.blocking_recv() {
        if pipe.blocking_send(message).is_err() {
            return;
        }
    }
}

pub(crate) fn pour(kind: Kind, tx: PipeSender<Message>) -> u64 {
    let sent = (0..).take_while(|n| tx.blocking_send(Message::new(7, *n, kind)).is_ok());
    sent.count() as u64
}

pub(crate) async fn pour_async(kind: Kind, tx: PipeSender<Message>) -> u64 {
    for number in 0.. {
        if tx.send(Message::new(7, number, kind)).await.is_err() {
            return number;
        }
    }
    unreachable!()
}

/// Receives to the end; there is no gap.
pub(crate) fn swallow(rx: PipeReceiver<Message>) -> u64 {
    for expected in 0.. {
        match rx.blocking_recv() {
            Ok(message) => assert_eq!(message.check(), (7, expected)),
            Err(RecvError::Closed) => return expected,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

pub(crate) async fn swallow_async(rx: PipeReceiver<Message>) -> u64 {
    for expected in 0.. {
        match rx.recv().await {
            Ok(message) => assert_eq!(message.check(), (7, expected)),
            Err(RecvError::Closed) => return expected,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

pub(crate) fn send_until_closed(number: u64, tx: Sender<Message>) -> u64 {
    let sent = (0..).take_while(|n| {
        let message = Message::new(number, *n, Kind::Sockets);
        tx.blocking_send(message).is_ok()
    });
    sent.count() as u64
}

pub(crate) async fn receive_until_closed(rx: Receiver<Message>) -> u64 {
    let received = rx.map(|message| message.unwrap().check());
    received.count().await as u64
}
