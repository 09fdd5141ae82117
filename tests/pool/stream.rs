//! `Pool::stream`: items that arrive while the function runs.

use std::pin::pin;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, poll};
use procession::{Emit, ErrorKind, JoinError, Pool, TaskStream};
use serde::{Serialize, Serializer};
use serde_bytes::ByteBuf;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::{is_gone, kill};
use crate::notes::{Board, Notes};
use crate::pools::{idle, ready};
use crate::tasks::{parked, pid};
use crate::{LONG, made};

fn count(emit: Emit<u32>, to: u32) {
    for n in 0..to {
        emit.blocking_send(n);
    }
}

async fn count_async(emit: Emit<u32>, from: u32, to: u32) {
    for n in from..to {
        emit.send(n).await;
    }
}

/// Sends `items`, and then ends as `ending` says.
fn send_and(emit: Emit<u32>, items: u32, ending: Ending) {
    count(emit, items);
    match ending {
        Ending::Panic => panic!("after {items}"),
        Ending::Kill => kill(pid()),
        Ending::Exit => std::process::exit(3),
        Ending::Park => parked(),
    }
}

#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Ending {
    Panic,
    Kill,
    Exit,
    Park,
}

/// Sends items, and notes how many it has sent.
fn count_noting(emit: Emit<u32>, notes: Notes, to: u32) {
    for n in 0..to {
        emit.blocking_send(n);
        notes.write("sent", n);
    }
}

fn park_noting(emit: Emit<u32>, notes: Notes) {
    emit.blocking_send(0);
    notes.write("pid", pid());
    parked();
}

async fn all<T>(stream: TaskStream<T>) -> (Vec<T>, Option<JoinError>)
where
    TaskStream<T>: futures::Stream<Item = Result<T, JoinError>>,
{
    let mut stream = pin!(stream);
    let (mut items, mut failure) = (Vec::new(), None);
    while let Some(item) = within(stream.next()).await {
        assert!(failure.is_none(), "a failure is the last item");
        match item {
            Ok(item) => items.push(item),
            Err(error) => failure = Some(error),
        }
    }
    (items, failure)
}

#[procession::test]
async fn stream_gives_all_items_in_order() {
    let pool = ready(2).await;
    for to in [0, 1, 2, 10_000] {
        let (items, failure) = all(pool.stream(count, to)).await;
        assert!(failure.is_none(), "{failure:?}");
        assert_eq!(items, (0..to).collect::<Vec<_>>());
        let items: Vec<_> = within(pool.stream(count_async, (1, to)).try_collect())
            .await
            .unwrap();
        assert_eq!(items, (1..to).collect::<Vec<_>>());
    }
    let closure = pool.stream(
        |emit: Emit<String>| emit.blocking_send("one".to_owned()),
        (),
    );
    assert_eq!(all(closure).await.0, ["one"]);
}

#[procession::test]
async fn stream_starts_when_it_is_first_polled_and_gives_items_while_the_function_runs() {
    let board = Board::new();
    let pool = ready(1).await;
    let mut stream = pool.stream(park_noting, board.notes());
    assert_eq!(
        within(pool.run(pid, ())).await.unwrap(),
        pool.workers()[0].pid().unwrap()
    );
    assert_eq!(within(stream.next()).await.unwrap().unwrap(), 0);
    board.lines("pid", 1).await;
    assert!(poll!(stream.next()).is_pending());
}

#[procession::test]
async fn failure_comes_after_all_items_that_were_sent() {
    let pool = ready(2).await;
    for (ending, kind) in [
        (Ending::Panic, ErrorKind::Panicked),
        (Ending::Kill, ErrorKind::Crashed),
        (Ending::Exit, ErrorKind::Exited),
        (Ending::Park, ErrorKind::TimedOut),
    ] {
        for items in [0, 1, 1000] {
            let stream = pool.stream(send_and, (items, ending)).buffer(2000);
            let limit = match ending {
                Ending::Park => Duration::from_secs(1),
                _ => LONG,
            };
            let (given, failure) = all(stream.timeout(limit)).await;
            assert_eq!(given, (0..items).collect::<Vec<_>>(), "{ending:?}");
            let failure = failure.unwrap();
            assert_eq!(failure.kind(), kind, "{failure}");
            assert!(failure.task().ends_with("send_and") && failure.started());
        }
    }
}

#[procession::test]
async fn stream_is_not_retried() {
    let board = Board::new();
    let pool = Pool::builder().workers(1).retries(3).build().unwrap();
    let stream = pool.stream(
        |emit: Emit<u32>, notes: Notes| {
            notes.write("ran", 0);
            send_and(emit, 1, Ending::Kill);
        },
        board.notes(),
    );
    let (items, failure) = all(stream).await;
    assert!(failure.unwrap().is_crashed() && items == [0]);
    assert_eq!(board.notes().read("ran").len(), 1);
}

#[procession::test]
async fn function_is_no_further_ahead_than_the_buffer() {
    let board = Board::new();
    let pool = ready(1).await;
    let mut stream = pool.stream(count_noting, (board.notes(), 100)).buffer(4);
    for received in 1..=20 {
        within(stream.next()).await.unwrap().unwrap();
        let sent = board.lines("sent", received).await.len();
        assert!(sent <= received + 4, "{sent} sent, {received} received");
    }
    // A note may come after the next item was received, so all that the buffer holds is waited for.
    let sent = board.lines("sent", 24).await;
    assert_eq!(sent.len(), 24);
    assert_eq!(all(stream).await.0.len(), 80);
}

#[procession::test]
async fn dropped_stream_stops_its_function_and_no_other() {
    alone(
        "stream::dropped_stream_stops_its_function_and_no_other",
        async {
            let board = Board::new();
            let pool = ready(2).await;
            let other = pool.spawn(crate::tasks::held, (board.notes(), "here".to_owned()));
            board.lines("here", 1).await;
            // Dropped before its first poll, while it waits, while it runs, while the function waits for room.
            drop(pool.stream(park_noting, board.notes()));
            let mut running = pool.stream(park_noting, board.notes());
            within(running.next()).await.unwrap().unwrap();
            let mut waiting = pool.stream(park_noting, board.notes());
            assert!(poll!(waiting.next()).is_pending());
            drop(waiting);
            let victim: u32 = board.lines("pid", 1).await[0].parse().unwrap();
            drop(running);
            until(|| is_gone(victim)).await;
            let mut full = pool.stream(count_noting, (board.notes(), 100)).buffer(1);
            within(full.next()).await.unwrap().unwrap();
            drop(full);
            board.write("go", 1);
            within(other).await.unwrap();
            idle(&pool).await;
            assert_eq!(board.notes().read("pid").len(), 1);
            within(pool.terminate()).await;
        },
    )
    .await;
}

fn send_sizes(emit: Emit<ByteBuf>, lengths: Vec<usize>) {
    for (n, len) in lengths.into_iter().enumerate() {
        emit.blocking_send(made(n as u8, len));
    }
    panic!("at the end");
}

#[procession::test]
async fn items_of_every_size_arrive() {
    let pool = ready(1).await;
    let lengths = vec![0, 1, 5000, 65_536, 300_000, 3 << 20, 0, 20 << 20];
    let stream = pool.stream(send_sizes, lengths.clone());
    let (items, failure) = all(stream.buffer(100)).await;
    assert!(failure.unwrap().is_panic());
    assert_eq!(items.len(), lengths.len());
    for (n, (item, len)) in items.iter().zip(lengths).enumerate() {
        assert!(item.len() == len && item.iter().all(|byte| *byte == n as u8));
    }
}

#[derive(Debug, serde::Deserialize)]
struct Odd(u32);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 2 {
            1 => serializer.serialize_u32(self.0),
            _ => Err(serde::ser::Error::custom("an even number")),
        }
    }
}

#[derive(Debug, serde::Serialize)]
struct Undecodable(u32);

impl<'de> serde::Deserialize<'de> for Undecodable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            2 => Err(serde::de::Error::custom("the number two")),
            n => Ok(Self(n)),
        }
    }
}

#[procession::test]
async fn item_that_cannot_be_encoded_or_decoded_is_the_last() {
    let pool = ready(1).await;
    let blocking = pool.stream(
        |emit: Emit<Odd>| (1..9).for_each(|n| emit.blocking_send(Odd(n))),
        (),
    );
    let (items, failure) = all(blocking).await;
    assert!(failure.as_ref().unwrap().is_encode(), "{failure:?}");
    let text = failure.unwrap().to_string();
    assert!(
        items.len() == 1 && text.contains("an item of the stream"),
        "{text}"
    );
    let awaited = pool.stream(
        |emit: Emit<Odd>| async move {
            emit.send(Odd(1)).await;
            emit.send(Odd(2)).await;
        },
        (),
    );
    let (items, failure) = all(awaited).await;
    assert!(items.len() == 1 && failure.unwrap().is_encode());
    let sender = |emit: Emit<Undecodable>| (1..9).for_each(|n| emit.blocking_send(Undecodable(n)));
    let (items, failure) = all(pool.stream(sender, ())).await;
    assert!(
        items.len() == 1 && failure.as_ref().unwrap().is_decode(),
        "{failure:?}"
    );
    assert_eq!(
        within(pool.run(pid, ())).await.unwrap(),
        pool.workers()[0].pid().unwrap()
    );
}

#[procession::test]
async fn stream_ends_with_its_function_though_an_end_of_it_lives_on() {
    let pool = ready(1).await;
    let leak = |emit: Emit<u32>| {
        emit.blocking_send(1);
        let kept = emit.clone();
        std::thread::spawn(move || {
            for n in 2.. {
                kept.blocking_send(n);
                std::thread::yield_now();
            }
        });
    };
    let (items, failure) = all(pool.stream(leak, ())).await;
    assert!(failure.is_none() && items[0] == 1, "{failure:?}");
}

#[procession::test]
async fn stream_of_a_closed_pool_fails_at_once() {
    let pool = ready(1).await;
    within(pool.shutdown()).await;
    let (items, failure) = all(pool.stream(count, 3)).await;
    assert!(items.is_empty() && failure.unwrap().is_closed());
}

#[procession::test]
async fn shutdown_waits_for_a_stream_and_terminate_ends_it() {
    let pool = ready(1).await;
    let mut stream = pool.stream(count, 1000).buffer(1);
    within(stream.next()).await.unwrap().unwrap();
    let mut shutdown = pin!(pool.shutdown());
    assert!(poll!(&mut shutdown).is_pending());
    assert_eq!(all(stream).await.0.len(), 999);
    within(shutdown).await;
    let pool = ready(1).await;
    let mut stream = pool.stream(count, 1000).buffer(1);
    within(stream.next()).await.unwrap().unwrap();
    within(pool.terminate()).await;
    let (_, failure) = all(stream).await;
    assert!(failure.unwrap().is_cancelled());
}

#[procession::test]
async fn worker_killed_at_any_moment_loses_no_item_that_was_sent() {
    let pool = ready(2).await;
    for round in 0..20_u32 {
        let board = Board::new();
        let mut stream = pool
            .stream(park_after, (board.notes(), round * 7))
            .buffer(1000);
        let first = within(stream.next()).await.unwrap().unwrap();
        board.lines("sent", (round as usize * 7).min(50)).await;
        kill(first);
        let (items, failure) = all(stream).await;
        assert!(failure.unwrap().is_crashed());
        // The order is kept, and what was noted as sent has arrived.
        assert_eq!(items, (0..items.len() as u32).collect::<Vec<_>>());
        assert!(items.len() >= board.notes().read("sent").len());
    }
}

fn park_after(emit: Emit<u32>, notes: Notes, items: u32) {
    emit.blocking_send(pid());
    for n in 0..items {
        emit.blocking_send(n);
        notes.write("sent", n);
    }
    parked();
}
