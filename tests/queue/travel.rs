//! Ends that are sent to other processes.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use procession::{Receiver, RecvError, Sender, queue, spawn};
use serde::{Deserialize, Serialize};

use crate::deadline::{until, within};
use crate::notes::{Board, Desk};
use crate::tasks::count_to;

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
