//! The functions that the processes run. Each ends when its channel is closed.

use std::path::PathBuf;

use futures::StreamExt as _;
use procession::{Pipe, PipeReceiver, PipeSender, Receiver, RecvError, Sender};

use crate::log::Log;
use crate::message::{Kind, Message};

/// The sender in the messages of a pipe, where there is one.
pub(crate) const PIPE_SENDER: u64 = 7;

/// Sends to a queue and returns the number of messages.
pub(crate) fn produce(sender: u64, kind: Kind, tx: Sender<Message>) -> u64 {
    let sent = (0..).take_while(|n| tx.blocking_send(Message::new(sender, *n, kind)).is_ok());
    sent.count() as u64
}

pub(crate) async fn produce_async(sender: u64, kind: Kind, tx: Sender<Message>) -> u64 {
    for number in 0.. {
        if tx.send(Message::new(sender, number, kind)).await.is_err() {
            return number;
        }
    }
    unreachable!()
}

/// Receives from a queue and records the messages.
pub(crate) fn consume(log: PathBuf, rx: Receiver<Message>) {
    let mut log = Log::create(&log);
    loop {
        match rx.blocking_recv() {
            Ok(message) => log.record(message.check()),
            Err(RecvError::Closed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) async fn consume_async(log: PathBuf, mut rx: Receiver<Message>) {
    let mut log = Log::create(&log);
    while let Some(message) = rx.next().await {
        log.record(message.unwrap().check());
    }
}

/// Receives from a queue and returns the number of messages.
pub(crate) async fn count_received(rx: Receiver<Message>) -> u64 {
    let received = rx.map(|message| message.unwrap().check());
    received.count().await as u64
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

/// Sends through a pipe and returns the number of messages.
pub(crate) fn send(kind: Kind, tx: PipeSender<Message>) -> u64 {
    send_through(kind, &tx)
}

pub(crate) fn send_through(kind: Kind, tx: &PipeSender<Message>) -> u64 {
    let message = |n| Message::new(PIPE_SENDER, n, kind);
    let sent = (0..).take_while(|n| tx.blocking_send(message(*n)).is_ok());
    sent.count() as u64
}

pub(crate) async fn send_async(kind: Kind, tx: PipeSender<Message>) -> u64 {
    for number in 0.. {
        let message = Message::new(PIPE_SENDER, number, kind);
        if tx.send(message).await.is_err() {
            return number;
        }
    }
    unreachable!()
}

/// Receives from a pipe and returns the number of messages, of which none is missing.
pub(crate) fn receive(rx: PipeReceiver<Message>) -> u64 {
    receive_from(&rx)
}

pub(crate) fn receive_from(rx: &PipeReceiver<Message>) -> u64 {
    for expected in 0.. {
        match rx.blocking_recv() {
            Ok(message) => assert_eq!(message.check(), (PIPE_SENDER, expected)),
            Err(RecvError::Closed) => return expected,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

pub(crate) async fn receive_async(rx: PipeReceiver<Message>) -> u64 {
    receive_from_async(&rx).await
}

pub(crate) async fn receive_from_async(rx: &PipeReceiver<Message>) -> u64 {
    for expected in 0.. {
        match rx.recv().await {
            Ok(message) => assert_eq!(message.check(), (PIPE_SENDER, expected)),
            Err(RecvError::Closed) => return expected,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}
