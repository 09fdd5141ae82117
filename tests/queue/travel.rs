//! Ends that are sent to other processes, and descriptors beside messages.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use procession::{Receiver, RecvError, Sender, queue, spawn};
use serde::{Deserialize, Serialize};

use crate::asleep::{process_asleep, process_stopped};
use crate::deadline::within;
use crate::notes::{Board, Notes};
use crate::tasks::send_numbers;

#[derive(Debug, Serialize, Deserialize)]
struct Ends {
    named: BTreeMap<String, Sender<u8>>,
    listed: Vec<Receiver<u8>>,
    optional: Option<(Sender<u8>, u16)>,
}

#[procession::test]
async fn ends_travel_inside_structs_and_messages() {
    let (tx, rx) = queue::<u8>(4).unwrap();
    let (other_tx, other_rx) = queue::<u8>(4).unwrap();
    let (carrier_tx, carrier_rx) = queue::<Ends>(4).unwrap();
    let ends = Ends {
        named: [("a".to_owned(), tx.clone()), ("b".to_owned(), tx.clone())].into(),
        listed: vec![other_rx.clone(), other_rx],
        optional: Some((tx, 7)),
    };
    carrier_tx.send(ends).await.unwrap();
    drop(carrier_tx);
    let child = spawn(
        |carrier: Receiver<Ends>| {
            let mut ends = carrier.blocking_recv().unwrap();
            assert_eq!(ends.listed.pop().unwrap().blocking_recv(), Ok(9));
            ends.named["b"].blocking_send(8).unwrap();
            let (tx, number) = ends.optional.take().unwrap();
            tx.blocking_send(number as u8).unwrap();
            // A result carries ends as well.
            (ends, carrier.blocking_recv().is_err())
        },
        carrier_rx,
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

/// Each request to the server carries a queue for its answer.
#[procession::test]
async fn queue_of_queues_answers_each_client() {
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

async fn start_two_children(tx: Sender<u64>, rx: Receiver<u64>) {
    let producer = spawn(send_numbers, (200, tx.clone()));
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
async fn ends_reach_grandchildren_and_siblings() {
    let (tx, rx) = queue(8).unwrap();
    let (to_tx, to_rx) = queue(8).unwrap();
    let parent = spawn(start_two_children, (tx, to_rx));
    let sibling = spawn(send_numbers, (200, to_tx));
    let mut all: Vec<u64> = within(rx.try_collect()).await.unwrap();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..200).chain(1_000..1_200)));
    within(parent).await.unwrap();
    within(sibling).await.unwrap();
}

/// The parent can signal a child as soon as it has a message of it.
#[procession::test]
async fn process_pid_is_known_when_its_message_arrives() {
    for _ in 0..50 {
        let (tx, rx) = queue::<u32>(1).unwrap();
        let send_pid = |tx: Sender<u32>| tx.blocking_send(std::process::id()).unwrap();
        let child = spawn(send_pid, tx);
        let pid = within(rx.recv()).await.unwrap();
        assert_eq!(child.pid(), Some(pid));
        within(child).await.unwrap();
    }
}

/// A receiver that takes descriptors out of the socket takes the wake-ups of other receivers along. The message behind
/// the descriptors must wake them again.
#[procession::test]
async fn message_behind_descriptors_wakes_sleeping_receiver() {
    type Carrier = (u8, Option<Sender<u8>>);
    let (tx, rx) = queue::<Carrier>(8).unwrap();
    let board = Board::new();
    let sleeper = spawn(
        async |rx: Receiver<Carrier>, notes: Notes| {
            notes.write("started", 1);
            rx.recv().await.unwrap().0
        },
        (rx.clone(), board.notes()),
    );
    board.lines("started", 1).await;
    let pid = sleeper.pid().unwrap();
    process_asleep(pid).await;
    let signal = |signal| {
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    };
    signal(rustix::process::Signal::STOP);
    process_stopped(pid).await;
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
