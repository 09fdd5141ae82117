//! A queue keeps every message, gives it to one receiver, and says when there will be no more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;
mod notes;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use deadline::{until, within};
use futures::{FutureExt as _, Sink, SinkExt, Stream, StreamExt as _, TryStreamExt as _};
use leftovers::alone;
use notes::{Board, Desk};
use procession::{
    Pool, Process, Receiver, RecvError, SendError, Sender, StartMethod, TryRecvError, queue, spawn,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What is promised of every end and future, whatever its messages.
#[test]
fn ends_and_futures_are_what_they_are_promised_to_be() {
    fn handle<T: Send + Sync + Unpin + Clone + std::fmt::Debug + 'static>(_: &T) {}
    fn stream<T: Stream<Item = Result<Vec<u8>, RecvError>>>(_: &T) {}
    fn sink<T: Sink<Vec<u8>, Error = SendError<Vec<u8>>>>(_: &T) {}
    fn future<T: Future + Send + Unpin>(_: &T) {}
    let (tx, rx) = queue::<Vec<u8>>(1).unwrap();
    handle(&tx);
    handle(&rx);
    stream(&rx);
    sink(&tx);
    future(&tx.send(Vec::new()));
    future(&tx.closed());
    future(&tx.join());
    future(&rx.recv());
    future(&rx.closed());
    assert!(queue::<u8>(0).is_err());
    assert!(queue::<u8>(usize::MAX).is_err());
}

fn count_to(n: u64, tx: Sender<u64>) {
    for i in 0..n {
        tx.blocking_send(i).unwrap();
    }
}

async fn count_to_async(n: u64, tx: Sender<u64>) {
    for i in 0..n {
        tx.send(i).await.unwrap();
    }
}

#[procession::test]
async fn one_sender_is_received_in_order() {
    for capacity in [1, 2, 7, 1024] {
        for start in [StartMethod::Exec] {
            let (tx, rx) = queue(capacity).unwrap();
            let process = Process::builder().start_method(start);
            let child = if capacity % 2 == 0 {
                process.spawn(count_to, (3_000, tx))
            } else {
                process.spawn(count_to_async, (3_000, tx))
            };
            let all: Vec<u64> = within(rx.try_collect()).await.unwrap();
            assert!(all.iter().copied().eq(0..3_000));
            within(child).await.unwrap();
        }
    }
}

fn count_as(who: u64, n: u64, tx: Sender<(u64, u64)>) {
    for i in 0..n {
        tx.blocking_send((who, i)).unwrap();
    }
}

fn collect(rx: Receiver<(u64, u64)>) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| rx.blocking_recv().ok()).collect()
}

async fn collect_async(rx: Receiver<(u64, u64)>) -> Vec<(u64, u64)> {
    rx.try_collect().await.unwrap()
}

/// Checks that everything arrived once, and in order at each receiver.
fn check_each_once(received: &[Vec<(u64, u64)>], senders: u64, n: u64) {
    let mut counts = HashMap::new();
    for one in received {
        let mut last = HashMap::new();
        for (who, i) in one {
            assert!(last.insert(who, i).is_none_or(|before| before < i));
            *counts.entry((*who, *i)).or_insert(0) += 1;
        }
    }
    assert_eq!(counts.len() as u64, senders * n);
    assert!(counts.values().all(|count| *count == 1));
}

#[procession::test]
async fn many_to_many_each_message_once() {
    for capacity in [1, 16, 1024] {
        let (tx, rx) = queue(capacity).unwrap();
        let receivers = vec![
            spawn(collect, rx.clone()),
            spawn(collect_async, rx.clone()),
            spawn(collect, rx),
        ];
        let n = if capacity == 1 { 300 } else { 2_000 };
        let senders: Vec<_> = (0..3)
            .map(|who| spawn(count_as, (who, n, tx.clone())))
            .collect();
        drop(tx);
        for sender in senders {
            within(sender).await.unwrap();
        }
        let mut received = Vec::new();
        for receiver in receivers {
            received.push(within(receiver).await.unwrap());
        }
        check_each_once(&received, 3, n);
    }
}

/// The same between tasks of one process on several threads, some of which block.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_to_many_in_one_process() {
    let (tx, rx) = queue(8).unwrap();
    let mut receivers: Vec<_> = (0..3)
        .map(|_| tokio::spawn(collect_async(rx.clone())))
        .collect();
    receivers.push(tokio::task::spawn_blocking(move || collect(rx)));
    let mut senders = Vec::new();
    for who in 0..4 {
        let tx = tx.clone();
        senders.push(if who % 2 == 0 {
            tokio::task::spawn_blocking(move || count_as(who, 2_000, tx))
        } else {
            tokio::spawn(async move {
                for i in 0..2_000 {
                    tx.send((who, i)).await.unwrap();
                }
            })
        });
    }
    drop(tx);
    for sender in senders {
        within(sender).await.unwrap();
    }
    let mut received = Vec::new();
    for receiver in receivers {
        received.push(within(receiver).await.unwrap());
    }
    check_each_once(&received, 4, 2_000);
}

#[procession::test]
async fn the_forms_that_try_and_block() {
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

/// A process that is being made has copies of all descriptors until it executes its program. An end that was never
/// sent anywhere is gone when it is dropped, whatever they are.
#[procession::test]
async fn ends_that_never_left_are_gone_at_once_while_programs_are_started() {
    let (go_on, starts) = std::sync::mpsc::channel::<()>();
    let starting = tokio::task::spawn_blocking(move || {
        while starts.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let status = std::process::Command::new("true").status();
            assert!(status.unwrap().success());
        }
    });
    for _ in 0..10_000 {
        let (tx, rx) = queue::<u8>(1).unwrap();
        drop(tx);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        let (tx, rx) = queue::<u8>(1).unwrap();
        drop(rx);
        assert!(tx.try_send(1).unwrap_err().is_closed());
    }
    drop(go_on);
    within(starting).await.unwrap();
}

#[procession::test]
async fn closing_is_for_everybody_and_keeps_what_was_sent() {
    for from_sender in [true, false] {
        let (tx, rx) = queue::<u8>(4).unwrap();
        let child = spawn(
            |tx: Sender<u8>, rx: Receiver<u8>| {
                tx.blocking_send(1).unwrap();
                tx.blocking_send(2).unwrap();
                if rx.capacity() == 4 { 4 } else { 0 }
            },
            (tx.clone(), rx.clone()),
        );
        assert_eq!(within(child).await.unwrap(), 4);
        if from_sender {
            tx.close();
        } else {
            rx.close();
        }
        assert!(tx.is_closed() && rx.is_closed());
        within(tx.closed()).await;
        within(rx.closed()).await;
        let refused = within(tx.send(3)).await.unwrap_err();
        assert!(refused.is_closed() && !refused.is_encode());
        assert_eq!(refused.into_inner(), Some(3));
        assert!(tx.try_send(3).unwrap_err().is_closed());
        assert!(tx.blocking_send(3).unwrap_err().is_closed());
        assert_eq!(within(rx.recv()).await, Ok(1));
        assert_eq!(rx.try_recv(), Ok(2));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
    }
}

#[procession::test]
async fn closing_wakes_whoever_waits_on_either_side() {
    let (full_tx, full_rx) = queue::<u8>(1).unwrap();
    full_tx.try_send(0).unwrap();
    let (empty_tx, empty_rx) = queue::<u8>(1).unwrap();
    let board = Board::new();
    let child = spawn(
        |tx: Sender<u8>, rx: Receiver<u8>, desk: Desk| {
            desk.write("here", 1);
            let sent = tx.blocking_send(1).is_err_and(|error| error.is_closed());
            sent && rx.blocking_recv() == Err(RecvError::Closed)
        },
        (full_tx.clone(), empty_rx.clone(), board.desk()),
    );
    let threads = [
        tokio::task::spawn_blocking({
            let tx = full_tx.clone();
            move || tx.blocking_send(1).unwrap_err().is_closed()
        }),
        tokio::task::spawn_blocking({
            let rx = empty_rx.clone();
            move || rx.blocking_recv() == Err(RecvError::Closed)
        }),
    ];
    board.lines("here", 1).await;
    let close = async {
        tokio::task::yield_now().await;
        full_rx.close();
        empty_tx.close();
    };
    let (sent, received, (), (), ()) = within(futures::future::join5(
        full_tx.send(1),
        empty_rx.recv(),
        full_tx.closed(),
        empty_rx.closed(),
        close,
    ))
    .await;
    assert_eq!(sent.unwrap_err().into_inner(), Some(1));
    assert_eq!(received, Err(RecvError::Closed));
    for thread in threads {
        assert!(within(thread).await.unwrap());
    }
    assert!(within(child).await.unwrap());
    assert_eq!(full_rx.try_recv(), Ok(0));
}

#[procession::test]
async fn a_stream_and_a_sink() {
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

async fn forward(rx: Receiver<u32>, tx: Sender<u32>) {
    let doubled = rx.map(|n| Ok(2 * n.unwrap()));
    doubled.forward(tx).await.unwrap();
}

#[procession::test]
async fn a_pipeline_of_processes_by_forward() {
    let (tx, first) = queue::<u32>(4).unwrap();
    let (second_tx, second) = queue::<u32>(4).unwrap();
    let (last_tx, last) = queue::<u32>(4).unwrap();
    let stages = [
        spawn(forward, (first, second_tx)),
        spawn(forward, (second, last_tx)),
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

/// A sink's error tells of the message it could not send.
#[procession::test]
async fn a_sink_without_receivers() {
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

#[derive(Debug, Serialize, Deserialize)]
struct Ends {
    named: BTreeMap<String, Sender<u8>>,
    listed: Vec<Receiver<u8>>,
    perhaps: Option<(Sender<u8>, u16)>,
}

#[procession::test]
async fn ends_inside_structs_and_messages_of_other_queues() {
    let (tx, rx) = queue::<u8>(4).unwrap();
    let (other_tx, other_rx) = queue::<u8>(4).unwrap();
    let (way, out) = queue::<Ends>(4).unwrap();
    way.send(Ends {
        named: [("a".to_owned(), tx.clone()), ("b".to_owned(), tx.clone())].into(),
        listed: vec![other_rx.clone(), other_rx],
        perhaps: Some((tx, 7)),
    })
    .await
    .unwrap();
    drop(way);
    let child = spawn(
        |out: Receiver<Ends>| {
            let mut ends = out.blocking_recv().unwrap();
            assert_eq!(ends.listed.pop().unwrap().blocking_recv(), Ok(9));
            ends.named["b"].blocking_send(8).unwrap();
            let (tx, number) = ends.perhaps.take().unwrap();
            tx.blocking_send(number as u8).unwrap();
            // Results carry them too.
            (ends, out.blocking_recv().is_err())
        },
        out,
    );
    other_tx.send(9).await.unwrap();
    let (ends, closed) = within(child).await.unwrap();
    assert!(closed);
    assert_eq!(within(rx.recv()).await, Ok(8));
    assert_eq!(within(rx.recv()).await, Ok(7));
    ends.named["a"].send(1).await.unwrap();
    assert_eq!(within(rx.recv()).await, Ok(1));
    drop(ends);
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
    within(other_tx.closed()).await;
}

/// A server: everybody sends it a queue for the answer.
#[procession::test]
async fn a_queue_of_queues() {
    let (requests, served) = queue::<(u64, Sender<u64>)>(16).unwrap();
    let server = spawn(
        |served: Receiver<(u64, Sender<u64>)>| {
            let mut count = 0;
            while let Ok((n, reply)) = served.blocking_recv() {
                reply.blocking_send(n * n).unwrap();
                count += 1;
            }
            count
        },
        served,
    );
    let client = |requests: Sender<(u64, Sender<u64>)>| {
        (0..100).all(|n| {
            let (tx, rx) = queue(1).unwrap();
            requests.blocking_send((n, tx)).unwrap();
            rx.blocking_recv() == Ok(n * n) && rx.blocking_recv() == Err(RecvError::Closed)
        })
    };
    let clients = [spawn(client, requests.clone()), spawn(client, requests)];
    for client in clients {
        assert!(within(client).await.unwrap());
    }
    assert_eq!(within(server).await.unwrap(), 200);
}

#[procession::test]
async fn the_stream_ends_with_the_last_sender_wherever_it_was() {
    // Dropped here; returned from; killed; only in the arguments of a task that never starts.
    let (tx, rx) = queue::<u8>(4).unwrap();
    let board = Board::new();
    let stay = |tx: Sender<u8>, desk: Desk| {
        tx.blocking_send(1).unwrap();
        desk.write("stays", 1);
        desk.wait("never");
    };
    let killed = spawn(stay, (tx.clone(), board.desk()));
    let returned = spawn(|tx: Sender<u8>| tx.blocking_send(2).unwrap(), tx.clone());
    let pool = Pool::with_workers(1).unwrap();
    let busy = pool.spawn(stay, (tx.clone(), board.desk()));
    let never_started = pool.spawn(|tx: Sender<u8>| tx.blocking_send(9).unwrap(), tx.clone());
    drop(tx);
    board.lines("stays", 2).await;
    within(returned).await.unwrap();
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(within(rx.recv()).await.unwrap());
    }
    got.sort_unstable();
    assert_eq!(got, [1, 1, 2]);
    let mut end = rx.recv();
    assert!((&mut end).now_or_never().is_none());
    killed.abort();
    assert!(within(killed).await.is_err());
    never_started.abort();
    let _ = within(never_started).await;
    assert!(!rx.is_closed());
    busy.abort();
    assert_eq!(within(end).await, Err(RecvError::Closed));
    assert!(rx.is_closed());
}

fn drop_ends(tx: Sender<u8>, rx: Receiver<u8>, len: ByteBuf, desk: Desk) {
    drop((tx, rx, len));
    desk.meet("dropped", "enough");
}

/// The function's end is dropped before the function ends, and nobody else has one.
#[procession::test]
async fn an_end_in_a_processs_arguments_is_its_own() {
    for len in [0, 1 << 20] {
        let board = Board::new();
        let (tx, rx) = queue::<u8>(4).unwrap();
        let (other_tx, other_rx) = queue::<u8>(4).unwrap();
        let bytes = ByteBuf::from(vec![0; len]);
        let process = spawn(drop_ends, (tx, other_rx, bytes, board.desk()));
        board.lines("dropped", 1).await;
        assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
        within(other_tx.closed()).await;
        board.write("enough", 1);
        within(process).await.unwrap();
    }
}

#[procession::test]
async fn an_end_in_a_tasks_arguments_is_its_own() {
    let pool = Pool::with_workers(1).unwrap();
    for bytes in [ByteBuf::new(), ByteBuf::from(vec![1; 1 << 20])] {
        let board = Board::new();
        let (tx, rx) = queue::<u8>(4).unwrap();
        let (other_tx, other_rx) = queue::<u8>(4).unwrap();
        let task = pool.spawn(drop_ends, (tx, other_rx, bytes, board.desk()));
        board.lines("dropped", 1).await;
        assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
        within(other_tx.closed()).await;
        board.write("enough", 1);
        within(task).await.unwrap();
    }
}

/// Until it has ended: it may have to be run once more.
#[procession::test]
async fn an_end_in_the_arguments_of_a_task_that_is_retried_is_kept() {
    let pool = Pool::with_workers(1).unwrap();
    let send_at_last = |tx: Sender<u32>, before: u32| {
        tx.try_send(std::process::id()).unwrap();
        if tx.len() as u32 == before {
            std::process::abort();
        }
    };
    let (tx, rx) = queue::<u32>(4).unwrap();
    let run = pool.run(send_at_last, (tx, 1)).retries(1);
    within(run).await.unwrap();
    let first = within(rx.recv()).await.unwrap();
    assert_ne!(within(rx.recv()).await.unwrap(), first);
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}

/// A worker that was given a task and did not run it keeps nothing of it.
#[procession::test]
async fn an_end_in_a_task_that_was_taken_back_is_closed() {
    let pool = Pool::with_workers(2).unwrap();
    let board = Board::new();
    let (tx, rx) = queue::<u8>(100).unwrap();
    let held = |desk: Desk| desk.meet("held", "go on");
    let send = |tx: Sender<u8>, n: u8| tx.try_send(n).unwrap();
    // They stand behind one that goes on until all of them were done elsewhere.
    let long = pool.spawn(held, board.desk());
    let short: Vec<_> = (0..20).map(|n| pool.spawn(send, (tx.clone(), n))).collect();
    for task in short {
        within(task).await.unwrap();
    }
    drop(tx);
    board.write("go on", 1);
    within(long).await.unwrap();
    for _ in 0..20 {
        within(rx.recv()).await.unwrap();
    }
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}

#[procession::test]
async fn a_send_without_receivers_gives_the_value_back() {
    // In this process: at once.
    for sent_before in 0..3 {
        let (tx, rx) = queue::<String>(2).unwrap();
        for _ in 0..sent_before {
            tx.try_send("lost".to_owned()).unwrap();
        }
        drop(rx.clone());
        drop(rx);
        assert!(tx.is_closed());
        let back = tx.try_send("back".to_owned()).unwrap_err();
        assert!(back.is_closed());
        assert_eq!(back.into_inner(), "back");
        let back = within(tx.send("back".to_owned())).await.unwrap_err();
        assert_eq!(back.into_inner().unwrap(), "back");
        let back = tx.blocking_send("b".repeat(300_000)).unwrap_err();
        assert_eq!(back.into_inner().unwrap().len(), 300_000);
        let back = within(tx.send("b".repeat(300_000))).await.unwrap_err();
        assert_eq!(back.into_inner().unwrap().len(), 300_000);
    }
    // Killed: soon.
    let (tx, rx) = queue::<u64>(1 << 20).unwrap();
    let board = Board::new();
    let stay = |rx: Receiver<u64>, desk: Desk| {
        rx.blocking_recv().unwrap();
        desk.meet("here", "never");
    };
    let child = spawn(stay, (rx, board.desk()));
    tx.send(0).await.unwrap();
    board.lines("here", 1).await;
    child.abort();
    let _ = within(child).await;
    let mut n = 0;
    until(|| {
        n += 1;
        tx.try_send(n).is_err_and(|error| error.is_closed())
    })
    .await;
}

#[procession::test]
async fn a_full_queue_whose_receivers_die_frees_its_senders() {
    let (tx, rx) = queue::<u8>(1).unwrap();
    let board = Board::new();
    let children: Vec<_> = (0..2)
        .map(|_| {
            let stay = |rx: Receiver<u8>, desk: Desk| {
                desk.meet("here", "never");
                drop(rx);
            };
            spawn(stay, (rx.clone(), board.desk()))
        })
        .collect();
    drop(rx);
    board.lines("here", 2).await;
    tx.send(1).await.unwrap();
    let blocked = tokio::task::spawn_blocking({
        let tx = tx.clone();
        move || tx.blocking_send(2)
    });
    let mut waiting = tx.send(3);
    assert!((&mut waiting).now_or_never().is_none());
    for child in children {
        child.abort();
        let _ = within(child).await;
    }
    assert_eq!(within(waiting).await.unwrap_err().into_inner(), Some(3));
    let back = within(blocked).await.unwrap().unwrap_err();
    assert_eq!(back.into_inner(), Some(2));
}

/// Once `send` has returned, the message survives its sender; also what came beside it, and what the
/// receiver wrote to the sender meanwhile.
#[procession::test]
async fn what_a_process_sent_outlives_it() {
    let (tx, rx) = queue::<(ByteBuf, Sender<u8>)>(64).unwrap();
    let (answer_tx, answers) = queue::<u8>(64).unwrap();
    let board = Board::new();
    let send = |tx: Sender<(ByteBuf, Sender<u8>)>, answer: Sender<u8>, desk: Desk| {
        for n in 0..20 {
            let len = if n % 2 == 0 { 100 } else { 1 << 20 };
            let message = ByteBuf::from(vec![n; len]);
            tx.blocking_send((message, answer.clone())).unwrap();
        }
        desk.meet("sent", "exit");
    };
    let child = spawn(send, (tx, answer_tx, board.desk()));
    board.lines("sent", 1).await;
    let first = within(rx.recv()).await.unwrap();
    board.write("exit", 1);
    within(child).await.unwrap();
    let rest: Vec<_> = within(rx.try_collect()).await.unwrap();
    for (n, (message, answer)) in std::iter::once(first).chain(rest).enumerate() {
        assert_eq!(message.len(), if n % 2 == 0 { 100 } else { 1 << 20 });
        assert!(message.iter().all(|byte| usize::from(*byte) == n));
        answer.send(n as u8).await.unwrap();
    }
    let answers: Vec<u8> = within(answers.try_collect()).await.unwrap();
    assert!(answers.into_iter().eq(0..20));
}

/// Something that cannot always be encoded, or decoded.
#[derive(Debug)]
struct Odd(u8);

impl Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => Err(serde::ser::Error::custom("not this one")),
            2 => panic!("not this one"),
            n => n.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            3 => Err(serde::de::Error::custom("not that one")),
            4 => panic!("not that one"),
            n => Ok(Self(n)),
        }
    }
}

#[procession::test]
async fn what_cannot_be_encoded_is_given_back_and_takes_no_room() {
    let (tx, rx) = queue::<(Sender<u8>, ByteBuf, Odd)>(1).unwrap();
    let (inner_tx, inner_rx) = queue::<u8>(1).unwrap();
    let mut value = (inner_tx, ByteBuf::new(), Odd(1));
    for odd in [1, 2] {
        for len in [10, 100_000, 2 << 20] {
            value.1 = ByteBuf::from(vec![0; len]);
            value.2 = Odd(odd);
            let error = within(tx.send(value)).await.unwrap_err();
            assert!(error.is_encode() && !error.is_closed());
            let error = tx.blocking_send(error.into_inner().unwrap()).unwrap_err();
            assert!(error.is_encode());
            let error = tx.try_send(error.into_inner().unwrap()).unwrap_err();
            assert!(error.is_encode() && !error.is_full());
            value = error.into_inner();
            assert!(tx.is_empty());
        }
    }
    value.0.send(5).await.unwrap();
    assert_eq!(within(inner_rx.recv()).await, Ok(5));
    value.2 = Odd(0);
    tx.try_send(value).unwrap();
    let (inner, bytes, _) = within(rx.recv()).await.unwrap();
    assert_eq!(bytes.len(), 2 << 20);
    drop(inner);
    assert_eq!(within(inner_rx.recv()).await, Err(RecvError::Closed));
}

#[procession::test]
async fn what_cannot_be_decoded_is_an_error_and_the_next_message_follows() {
    let (tx, mut rx) = queue::<(Odd, Sender<u8>, ByteBuf)>(16).unwrap();
    let (inner_tx, inner_rx) = queue::<u8>(1).unwrap();
    for len in [1, 100_000, 2 << 20] {
        for odd in [3, 4, 0] {
            let bytes = ByteBuf::from(vec![0; len]);
            tx.send((Odd(odd), inner_tx.clone(), bytes)).await.unwrap();
        }
        let Err(RecvError::Decode(why)) = within(rx.recv()).await else {
            panic!("it cannot be decoded");
        };
        assert!(!why.is_empty());
        assert!(matches!(
            within(rx.next()).await,
            Some(Err(RecvError::Decode(_)))
        ));
        assert_eq!(within(rx.recv()).await.unwrap().2.len(), len);
    }
    drop(inner_tx);
    // Neither what was decoded nor what could not be is anywhere.
    assert_eq!(within(inner_rx.recv()).await, Err(RecvError::Closed));
}

#[procession::test]
async fn messages_of_no_bytes_are_messages() {
    let (tx, rx) = queue::<()>(1000).unwrap();
    let child = spawn(
        |tx: Sender<()>| (0..5_000).for_each(|_| tx.blocking_send(()).unwrap()),
        tx,
    );
    assert_eq!(within(rx.count()).await, 5_000);
    within(child).await.unwrap();
}

fn patterned(n: usize, len: usize) -> ByteBuf {
    ByteBuf::from((0..len).map(|i| (i * 31 + n) as u8).collect::<Vec<_>>())
}

fn send_sizes(sizes: Vec<usize>, tx: Sender<(usize, ByteBuf)>) {
    for (n, len) in sizes.into_iter().enumerate() {
        tx.blocking_send((n, patterned(n, len))).unwrap();
    }
}

async fn send_sizes_async(sizes: Vec<usize>, tx: Sender<(usize, ByteBuf)>) {
    for (n, len) in sizes.into_iter().enumerate() {
        tx.send((n, patterned(n, len))).await.unwrap();
    }
}

#[procession::test]
async fn messages_of_all_sizes_whole_and_in_order() {
    let edge = 64 * 1024;
    let mut sizes: Vec<usize> = (0..20).collect();
    sizes.extend((edge - 24)..(edge + 24));
    // What wraps around the ring at every offset, and what fills it to the last byte.
    sizes.extend((0..200).map(|n| 4096 - n));
    sizes.extend([
        edge / 2,
        edge - 8,
        1,
        edge - 8,
        1,
        edge - 8,
        edge - 8,
        edge - 8,
        0,
        0,
    ]);
    sizes.extend([edge * 4 - 9, edge * 4, 1 << 20, (1 << 20) + 1, 3, 1 << 20]);
    for capacity in [1, 1000] {
        let (tx, rx) = queue(capacity).unwrap();
        let child = match capacity {
            1 => spawn(send_sizes, (sizes.clone(), tx)),
            _ => spawn(send_sizes_async, (sizes.clone(), tx)),
        };
        let mut rx = pin!(rx);
        for (n, len) in sizes.iter().enumerate() {
            let (number, bytes) = within(rx.next()).await.unwrap().unwrap();
            assert_eq!((number, bytes.len()), (n, *len));
            assert!(bytes == patterned(n, *len));
        }
        assert!(within(rx.next()).await.is_none());
        within(child).await.unwrap();
    }
}

async fn pass(len: usize) {
    let (tx, rx) = queue::<ByteBuf>(2).unwrap();
    let child = spawn(
        |len: usize, tx: Sender<ByteBuf>| {
            let mut bytes = vec![7; len];
            bytes[len - 1] = 9;
            tx.blocking_send(ByteBuf::from(bytes)).unwrap();
        },
        (len, tx),
    );
    let received = within(rx.recv()).await.unwrap();
    assert_eq!(received.len(), len);
    assert_eq!(
        (received[0], received[len / 2], received[len - 1]),
        (7, 7, 9)
    );
    within(child).await.unwrap();
}

#[procession::test]
async fn a_message_of_64_mib() {
    pass(64 << 20).await;
}

#[procession::test]
#[ignore = "takes 3 GiB of memory"]
async fn a_message_of_1_gib() {
    pass(1 << 30).await;
}

/// Long messages of some do not keep the short ones of others waiting for ever.
#[procession::test]
async fn several_senders_of_long_messages_at_once() {
    let (tx, rx) = queue::<(usize, ByteBuf)>(8).unwrap();
    let sizes = vec![200_000; 30];
    let mut children = vec![
        spawn(send_sizes, (sizes.clone(), tx.clone())),
        spawn(send_sizes, (vec![60_000; 60], tx.clone())),
        spawn(send_sizes, (vec![5; 60], tx.clone())),
    ];
    children.push(spawn(send_sizes_async, (sizes, tx.clone())));
    children.push(spawn(send_sizes_async, (vec![1_500_000; 10], tx)));
    let mut counts = HashMap::<usize, usize>::new();
    let mut rx = rx;
    while let Some(message) = within(rx.next()).await {
        let (n, bytes) = message.unwrap();
        assert!(bytes == patterned(n, bytes.len()));
        *counts.entry(bytes.len()).or_default() += 1;
    }
    assert_eq!(
        counts,
        HashMap::from([(200_000, 60), (60_000, 60), (5, 60), (1_500_000, 10)])
    );
    for child in children {
        within(child).await.unwrap();
    }
}

#[procession::test]
async fn joining_waits_until_all_is_done() {
    let (tx, rx) = queue::<u32>(100).unwrap();
    within(tx.join()).await.unwrap();
    assert!(rx.task_done().is_err());
    for n in 0..100 {
        tx.send(n).await.unwrap();
    }
    let board = Board::new();
    let work = |rx: Receiver<u32>, desk: Desk| {
        let mut done = 0;
        while let Ok(n) = rx.blocking_recv() {
            if n == 50 {
                desk.meet("at 50", "go on");
            }
            rx.task_done().unwrap();
            done += 1;
        }
        assert!(rx.task_done().is_err(), "one too many");
        done
    };
    let workers = [
        spawn(work, (rx.clone(), board.desk())),
        spawn(work, (rx.clone(), board.desk())),
    ];
    board.lines("at 50", 1).await;
    let mut joined = tx.join();
    assert!((&mut joined).now_or_never().is_none());
    board.write("go on", 1);
    within(joined).await.unwrap();
    assert!(rx.task_done().is_err());
    tx.close();
    let mut done = 0;
    for worker in workers {
        done += within(worker).await.unwrap();
    }
    assert_eq!(done, 100);
}

#[procession::test]
async fn joining_tells_of_what_receivers_took_with_them() {
    let (tx, rx) = queue::<u32>(100).unwrap();
    let board = Board::new();
    let stay = |rx: Receiver<u32>, desk: Desk| {
        for _ in 0..3 {
            rx.blocking_recv().unwrap();
        }
        rx.task_done().unwrap();
        desk.meet("holds", "never");
    };
    let worker = spawn(stay, (rx.clone(), board.desk()));
    for n in 0..3 {
        tx.send(n).await.unwrap();
    }
    board.lines("holds", 1).await;
    let mut joined = tx.join();
    assert!((&mut joined).now_or_never().is_none());
    worker.abort();
    assert_eq!(within(joined).await.unwrap_err().count(), 2);
    // And of what nobody will ever receive.
    let (tx, rx) = queue::<u32>(100).unwrap();
    tx.send(1).await.unwrap();
    drop(rx);
    assert_eq!(within(tx.join()).await.unwrap_err().count(), 1);
}

/// A `JoinableQueue`'s classic trap: the child cannot end before its queue is read. Here it can.
#[procession::test]
async fn a_joined_child_that_left_1_mib_unread() {
    let (tx, rx) = queue::<ByteBuf>(8).unwrap();
    let child = spawn(
        |tx: Sender<ByteBuf>| tx.blocking_send(ByteBuf::from(vec![1; 1 << 20])).unwrap(),
        tx,
    );
    within(child).await.unwrap();
    assert_eq!(within(rx.recv()).await.unwrap().len(), 1 << 20);
    assert_eq!(within(rx.recv()).await, Err(RecvError::Closed));
}

async fn parent_of_two(tx: Sender<u64>, rx: Receiver<u64>) {
    let producer = spawn(count_to, (200, tx.clone()));
    let forwarding = spawn(
        |rx: Receiver<u64>, tx: Sender<u64>| {
            while let Ok(n) = rx.blocking_recv() {
                tx.blocking_send(1_000 + n).unwrap();
            }
        },
        (rx, tx),
    );
    producer.await.unwrap();
    forwarding.await.unwrap();
}

#[procession::test]
async fn from_and_to_grandchildren_and_siblings() {
    let (tx, rx) = queue(8).unwrap();
    let (to_tx, to_rx) = queue(8).unwrap();
    let parent = spawn(parent_of_two, (tx, to_rx));
    let sibling = spawn(count_to, (200, to_tx));
    let mut all: Vec<u64> = within(rx.try_collect()).await.unwrap();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..200).chain(1_000..1_200)));
    within(parent).await.unwrap();
    within(sibling).await.unwrap();
}

/// Also while the first one is still there, and stands still.
#[test]
fn two_runtimes_one_after_the_other() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (tx, rx) = queue::<u32>(1).unwrap();
    let mut kept = Vec::new();
    for round in 0..6 {
        let here = runtime();
        here.block_on(within(async {
            for n in 0..3 {
                let later = async {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    tx.send(n).await.unwrap();
                };
                let (received, ()) = tokio::join!(rx.recv(), later);
                assert_eq!(received, Ok(n));
            }
            tx.send(0).await.unwrap();
            let later = async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                rx.recv().await.unwrap();
            };
            let (sent, ()) = tokio::join!(tx.send(1), later);
            sent.unwrap();
            rx.recv().await.unwrap();
        }));
        if round % 2 == 0 {
            kept.push(here);
        }
    }
}

/// Polls `future` up to `n` times, letting others run in between, and drops it then.
async fn poll_n<F: Future + Unpin>(mut future: F, n: usize) -> Option<F::Output> {
    for _ in 0..n {
        let polled =
            std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut future).poll(cx)));
        if let Poll::Ready(output) = polled.await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Receives with futures that are dropped after 0, 1, 2 … polls.
async fn receive_impatiently(rx: Receiver<(usize, ByteBuf)>) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    for n in 0.. {
        match poll_n(rx.recv(), n % 150).await {
            Some(Ok((n, bytes))) => {
                assert!(bytes == patterned(n, bytes.len()));
                all.push((n, bytes.len()));
            }
            Some(Err(RecvError::Closed)) => break,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    all
}

fn sizes_for_cancelling() -> Vec<usize> {
    let sizes = [
        10,
        100_000,
        0,
        1 << 20,
        (1 << 20) + 1,
        60_000,
        1,
        2 << 20,
        5,
    ];
    sizes.into_iter().cycle().take(90).collect()
}

#[procession::test]
async fn a_receive_that_is_dropped_loses_nothing() {
    let sizes = sizes_for_cancelling();
    for elsewhere in [false, true] {
        let (tx, rx) = queue(4).unwrap();
        let child = spawn(send_sizes, (sizes.clone(), tx));
        let all = match elsewhere {
            false => within(receive_impatiently(rx)).await,
            true => within(spawn(receive_impatiently, rx)).await.unwrap(),
        };
        assert!(all.into_iter().eq(sizes.iter().copied().enumerate()));
        within(child).await.unwrap();
    }
}

#[procession::test]
async fn a_send_that_is_dropped_sends_once_or_not_at_all() {
    let (tx, rx) = queue::<(usize, ByteBuf)>(3).unwrap();
    let child = spawn(
        async |rx: Receiver<(usize, ByteBuf)>| {
            let mut all = Vec::new();
            while let Ok((n, bytes)) = rx.recv().await {
                assert!(bytes == patterned(n, bytes.len()));
                all.push(n);
            }
            all
        },
        rx,
    );
    let mut sent = Vec::new();
    for (n, len) in sizes_for_cancelling()
        .into_iter()
        .cycle()
        .take(300)
        .enumerate()
    {
        match within(poll_n(tx.send((n, patterned(n, len))), n % 150)).await {
            Some(Ok(())) => sent.push(n),
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    drop(tx);
    assert_eq!(within(child).await.unwrap(), sent);
}

/// Loops as people write them.
#[procession::test]
async fn select_and_timeout_loops_lose_nothing() {
    let (tx, rx) = queue::<u64>(2).unwrap();
    let child = spawn(count_to_async, (2_000, tx));
    let mut ticks = tokio::time::interval(Duration::from_micros(200));
    let mut all = Vec::new();
    let receiving = async {
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                received = rx.recv() => match received {
                    Ok(n) => all.push(n),
                    Err(_) => break,
                },
            }
            let soon = tokio::time::timeout(Duration::from_micros(50), rx.recv());
            if let Ok(Ok(n)) = soon.await {
                all.push(n);
            }
        }
    };
    within(receiving).await;
    assert!(all.into_iter().eq(0..2_000));
    within(child).await.unwrap();
}

/// Futures that are given up leave nothing behind in an idle queue.
#[procession::test]
async fn waiters_that_give_up_are_forgotten() {
    alone("waiters_that_give_up_are_forgotten", async {
        let (tx, rx) = queue::<u64>(1).unwrap();
        let alive = std::sync::Arc::new(());
        for _ in 0..50 {
            let (rx, alive) = (rx.clone(), alive.clone());
            let waiting = tokio::spawn(async move {
                let _alive = alive;
                let _ = tokio::time::timeout(Duration::from_millis(5), rx.recv()).await;
            });
            within(waiting).await.unwrap();
        }
        assert_eq!(std::sync::Arc::strong_count(&alive), 1);
        tx.try_send(1).unwrap();
        assert_eq!(rx.try_recv(), Ok(1));
    })
    .await;
}

/// A stream that always has something lets others run.
#[procession::test]
async fn a_busy_stream_is_fair() {
    let (tx, mut rx) = queue::<u64>(1 << 12).unwrap();
    let others = tokio::spawn(async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    });
    let busy = async {
        loop {
            while tx.try_send(1).is_ok() {}
            rx.next().await.unwrap().unwrap();
        }
    };
    tokio::select! {
        _ = busy => {}
        done = within(others) => done.unwrap(),
    }
}

/// What can be done to a queue.
#[derive(Debug, Clone, Copy)]
enum Action {
    TrySend(usize),
    /// With a future that is polled so often, and dropped then.
    Send(usize, usize),
    TryRecv,
    Recv(usize),
    BlockingRecv,
    Close,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let len = || prop_oneof![6 => 0..64_usize, 1 => 0..20_000_usize, 1 => 60_000..150_000_usize];
    let action = prop_oneof![
        40 => len().prop_map(Action::TrySend),
        20 => (0..64_usize, 0..200_usize).prop_map(|(len, polls)| Action::Send(len, polls)),
        40 => Just(Action::TryRecv),
        20 => (0..200_usize).prop_map(Action::Recv),
        10 => Just(Action::BlockingRecv),
        1 => Just(Action::Close),
    ];
    proptest::collection::vec(action, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_behaves_as_a_deque_does(capacity in 1..13_usize, actions in actions()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(within(act(capacity, actions)))?;
    }
}

async fn act(capacity: usize, actions: Vec<Action>) -> Result<(), TestCaseError> {
    let (tx, rx) = queue::<(usize, ByteBuf)>(capacity).unwrap();
    let mut model = VecDeque::new();
    let mut closed = false;
    for (n, action) in actions.into_iter().enumerate() {
        let received = match action {
            Action::TrySend(len) => {
                match tx.try_send((n, patterned(n, len))) {
                    Ok(()) => model.push_back((n, len)),
                    Err(error) if error.is_closed() => prop_assert!(closed),
                    Err(error) => {
                        prop_assert!(error.is_full());
                        // In messages, or else in bytes.
                        let bytes =
                            |(_, len): &(usize, usize)| if *len > 64_000 { 8 } else { *len };
                        let all: usize = model.iter().map(bytes).sum();
                        prop_assert!(model.len() == capacity || all + len > 200_000);
                    }
                }
                continue;
            }
            Action::Send(len, polls) => {
                match poll_n(tx.send((n, patterned(n, len))), polls).await {
                    Some(Ok(())) => model.push_back((n, len)),
                    Some(Err(error)) => prop_assert!(error.is_closed() && closed),
                    None => prop_assert!(polls == 0 || model.len() == capacity),
                }
                continue;
            }
            Action::Close => {
                tx.close();
                closed = true;
                continue;
            }
            Action::TryRecv => Some(rx.try_recv()),
            Action::Recv(polls) => {
                let received = poll_n(rx.recv(), polls).await;
                received.map(|outcome| outcome.map_err(TryRecvError::from))
            }
            Action::BlockingRecv if model.is_empty() && !closed => None,
            Action::BlockingRecv => Some(rx.blocking_recv().map_err(TryRecvError::from)),
        };
        match received {
            Some(Ok((n, bytes))) => {
                prop_assert_eq!(Some((n, bytes.len())), model.pop_front());
                prop_assert!(bytes == patterned(n, bytes.len()));
            }
            Some(Err(TryRecvError::Closed)) => prop_assert!(closed && model.is_empty()),
            Some(Err(TryRecvError::Empty)) => prop_assert!(!closed && model.is_empty()),
            Some(Err(error)) => prop_assert!(false, "{error}"),
            None => prop_assert!(matches!(action, Action::Recv(0)) || model.is_empty()),
        }
        prop_assert_eq!((tx.len(), rx.len()), (model.len(), model.len()));
        prop_assert_eq!(tx.is_full(), model.len() == capacity);
    }
    Ok(())
}

/// Whatever a child says, its parent knows by then whom to signal.
#[procession::test]
async fn a_child_that_is_heard_of_has_a_number() {
    for _ in 0..50 {
        let (tx, rx) = queue::<u32>(1).unwrap();
        let tells = |tx: Sender<u32>| tx.blocking_send(std::process::id()).unwrap();
        let child = spawn(tells, tx);
        let pid = within(rx.recv()).await.unwrap();
        assert_eq!(child.pid(), Some(pid));
        within(child).await.unwrap();
    }
}

/// Who takes descriptors out of the way to a message takes rings of the bell along, but nobody's hearing.
#[procession::test]
async fn messages_behind_descriptors_are_heard_of_by_all() {
    type Carrier = (u8, Option<Sender<u8>>);
    let (tx, rx) = queue::<Carrier>(8).unwrap();
    let board = Board::new();
    let sleeper = spawn(
        async |rx: Receiver<Carrier>, desk: Desk| {
            desk.write("here", 1);
            rx.recv().await.unwrap().0
        },
        (rx.clone(), board.desk()),
    );
    board.lines("here", 1).await;
    let pid = sleeper.pid().unwrap();
    until_it_sleeps(pid).await;
    let signal = |signal| {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    };
    signal(rustix::process::Signal::STOP);
    // All of its threads, before anything happens.
    until(|| threads(pid).iter().all(|(state, ..)| state == "T")).await;
    let (carried, _other) = queue::<u8>(1).unwrap();
    for n in 0..3 {
        let end = (n < 2).then(|| carried.clone());
        within(tx.send((n, end))).await.unwrap();
    }
    assert_eq!(within(rx.recv()).await.unwrap().0, 0);
    assert_eq!(within(rx.recv()).await.unwrap().0, 1);
    signal(rustix::process::Signal::CONT);
    assert_eq!(within(sleeper).await.unwrap(), 2);
}

/// The state of every thread of a process, and how long it has run (`proc_pid_stat(5)`).
fn threads(pid: u32) -> Vec<(String, String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stats = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")));
    let threads = stats.map(|stat| {
        let stat = stat.unwrap();
        let fields: Vec<_> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let field = |n: usize| fields[n].to_owned();
        (field(0), field(11), field(12))
    });
    threads.collect()
}

/// Waits until the process has done nothing for a while.
async fn until_it_sleeps(pid: u32) {
    let mut quiet = 0;
    let mut before = threads(pid);
    until(|| {
        let now = threads(pid);
        let sleeps = now.iter().all(|(state, ..)| state == "S");
        quiet = if sleeps && now == before {
            quiet + 1
        } else {
            0
        };
        before = now;
        quiet > 20
    })
    .await;
}

/// Whoever closes, and whatever is going on then: what `send` called sent is received.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_called_sent_is_received_when_it_closes() {
    for round in 0..300_u64 {
        let (tx, rx) = queue::<u64>(1 + round as usize % 7).unwrap();
        let sending = |blocking: bool| {
            let tx = tx.clone();
            match blocking {
                false => tokio::spawn(async move {
                    let mut sent = 0;
                    while tx.send(sent).await.is_ok() {
                        sent += 1;
                    }
                    sent
                }),
                true => tokio::task::spawn_blocking(move || {
                    let sent = (0..).take_while(|n| tx.blocking_send(*n).is_ok());
                    sent.count() as u64
                }),
            }
        };
        let senders = [sending(round % 2 == 0), sending(round % 3 == 0)];
        let receivers = [rx.clone(), rx.clone()].map(|rx| tokio::spawn(rx.count()));
        for _ in 0..round % 50 {
            tokio::task::yield_now().await;
        }
        if round % 2 == 0 {
            tx.close();
        } else {
            rx.close();
        }
        let (mut sent, mut received) = (0, 0);
        for sender in senders {
            sent += within(sender).await.unwrap();
        }
        for receiver in receivers {
            received += within(receiver).await.unwrap() as u64;
        }
        assert_eq!(received, sent);
    }
}

/// Many who wait for the end, and compete for the news of it.
#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_wait_for_the_end_hear_of_it() {
    for round in 0..300 {
        let (tx, rx) = queue::<u64>(1).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..6 {
            let rx = rx.clone();
            waiting.push(tokio::spawn(async move { rx.closed().await }));
            let tx = tx.clone();
            waiting.push(tokio::spawn(async move { tx.closed().await }));
        }
        let receiving = tokio::spawn(rx.clone().count());
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        tx.close();
        for one in waiting {
            within(one).await.unwrap();
        }
        assert_eq!(within(receiving).await.unwrap(), 0);
    }
}

/// All memory for long messages is in use, and a runtime stands still in which somebody waits for some.
#[test]
fn a_runtime_that_stands_still_keeps_no_other_waiting() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let long = || ByteBuf::from(vec![1; 100_000]);
    let (tx, rx) = queue::<ByteBuf>(100).unwrap();
    for _ in 0..8 {
        tx.blocking_send(long()).unwrap();
    }
    let still = runtime();
    still.block_on(async {
        assert!(tx.send(long()).now_or_never().is_none());
    });
    runtime().block_on(async { within(tx.send(long())).await.unwrap() });
    drop(tx);
    let count = runtime().block_on(async { within(rx.count()).await });
    assert_eq!(count, 9);
    drop(still);
}

/// There is no Tokio here, only somebody who polls.
#[test]
fn other_executors_will_do() {
    fn poll_until_ready<F: Future + Unpin>(mut future: F) -> F::Output {
        loop {
            if let Some(output) = (&mut future).now_or_never() {
                return output;
            }
        }
    }
    let (mut tx, mut rx) = queue::<ByteBuf>(4).unwrap();
    for len in [0, 100_000, 2 << 20] {
        poll_until_ready(tx.send(ByteBuf::from(vec![1; len]))).unwrap();
        assert_eq!(poll_until_ready(rx.recv()).unwrap().len(), len);
        poll_until_ready(SinkExt::send(&mut tx, ByteBuf::from(vec![1; len]))).unwrap();
        assert_eq!(poll_until_ready(rx.next()).unwrap().unwrap().len(), len);
    }
}

/// Many short messages fill every gap that opens: the long one gets its turn all the same.
#[procession::test]
async fn short_messages_do_not_starve_a_longer_one() {
    let (tx, rx) = queue::<(usize, ByteBuf)>(1 << 20).unwrap();
    let hammer = |tx: Sender<(usize, ByteBuf)>| {
        while tx.blocking_send((0, ByteBuf::from(vec![0; 500]))).is_ok() {}
    };
    let hammers = [spawn(hammer, tx.clone()), spawn(hammer, tx.clone())];
    let receiving = tokio::task::spawn_blocking(move || {
        let mut longs = 0;
        while longs < 20 {
            longs += usize::from(rx.blocking_recv().unwrap().1.len() > 50_000);
        }
    });
    until(|| tx.len() > 200).await;
    for n in 0..20 {
        within(tx.send((n, patterned(n, 60_000)))).await.unwrap();
    }
    within(receiving).await.unwrap();
    drop(tx);
    for one in hammers {
        within(one).await.unwrap();
    }
}
