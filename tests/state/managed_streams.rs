//! `Managed::stream`: items of a function that has the state.

#![expect(clippy::ptr_arg, reason = "the state is a `Vec`")]

use futures::{StreamExt as _, TryStreamExt as _};
use procession::{Emit, ErrorKind, Managed};
use serde::{Serialize, Serializer};

use crate::deadline::within;
use crate::list::List;
use crate::notes::{Board, Notes};

async fn list() -> List {
    within(Managed::spawn(|| vec![1, 2, 3], ())).await.unwrap()
}

fn pid(_: &mut Vec<u32>, (): ()) -> u32 {
    std::process::id()
}

fn drain(list: &mut Vec<u32>, emit: Emit<u32>) {
    for n in list.drain(..) {
        emit.blocking_send(n);
    }
}

async fn repeat(list: &mut Vec<u32>, emit: Emit<u32>, times: usize, plus: u32) {
    for n in list.repeat(times) {
        emit.send(n + plus).await;
    }
}

/// Counts its items in the state, and never ends of itself.
fn endless(list: &mut Vec<u32>, emit: Emit<u32>) {
    list.clear();
    for n in 0.. {
        list.push(n);
        emit.blocking_send(n);
    }
}

async fn drains_and_repeats(list: List) {
    let repeated: Vec<u32> = within(list.stream(repeat, (2, 10)).buffer(1).try_collect())
        .await
        .unwrap();
    assert_eq!(repeated, [11, 12, 13, 11, 12, 13]);
    let drained: Vec<u32> = within(list.stream(drain, ()).try_collect()).await.unwrap();
    assert_eq!(drained, [1, 2, 3]);
    let none: Vec<u32> = within(list.stream(drain, ()).try_collect()).await.unwrap();
    assert!(none.is_empty());
}

#[procession::test]
async fn items_arrive_in_order_wherever_the_handle_is() {
    drains_and_repeats(list().await).await;
    let local = within(Managed::local(|| vec![1, 2, 3], ())).await.unwrap();
    drains_and_repeats(local).await;
    within(procession::spawn(drains_and_repeats, list().await))
        .await
        .unwrap();
}

async fn dropped_streams_stop_their_functions(list: List) {
    let before = within(list.call(pid, ())).await.unwrap();
    for buffer in [1, 64] {
        let mut items = list.stream(endless, ()).buffer(buffer);
        for n in 0..100 {
            assert_eq!(within(items.next()).await.unwrap().unwrap(), n);
        }
        drop(items);
        let (length, last) = within(list.read(|list, ()| (list.len(), list.last().copied()), ()))
            .await
            .unwrap();
        assert!(length >= 100);
        assert_eq!(
            last.unwrap() as usize + 1,
            length,
            "the state is as it was left"
        );
    }
    assert_eq!(within(list.call(pid, ())).await.unwrap(), before);
}

#[procession::test]
async fn dropped_stream_stops_its_function_and_not_the_process() {
    dropped_streams_stop_their_functions(list().await).await;
    let local = within(Managed::local(Vec::new, ())).await.unwrap();
    dropped_streams_stop_their_functions(local).await;
    let child = procession::spawn(dropped_streams_stop_their_functions, list().await);
    within(child).await.unwrap();
}

#[procession::test]
async fn dropped_stream_that_waits_does_not_run() {
    let local = within(Managed::local(|| vec![1, 2, 3], ())).await.unwrap();
    for list in [list().await, local] {
        let mut items = list.stream(repeat, (10, 0)).buffer(1);
        assert_eq!(within(items.next()).await.unwrap().unwrap(), 1);
        let mut waits = list.stream(drain, ());
        assert!(futures::poll!(waits.next()).is_pending());
        drop(waits);
        drop(items);
        let length = within(list.read(|list, ()| list.len(), ())).await;
        assert_eq!(length.unwrap(), 3);
    }
}

#[procession::test]
async fn killed_reader_stops_the_function() {
    async fn reader(list: List, notes: Notes) {
        let mut items = list.stream(endless, ());
        while let Some(item) = items.next().await {
            if item.unwrap() == 1000 {
                notes.write("reads", 1);
            }
        }
    }
    let (list, board) = (list().await, Board::new());
    let child = procession::spawn(reader, (list.clone(), board.notes()));
    board.lines("reads", 1).await;
    child.abort();
    assert!(within(child).await.is_err());
    let length = within(list.call(|list, ()| list.len(), ())).await.unwrap();
    assert!(length > 1000);
}

#[procession::test]
async fn failure_is_the_last_item() {
    fn fails(list: &mut Vec<u32>, emit: Emit<u32>, abort: bool) {
        for n in 0..10 {
            emit.blocking_send(n);
        }
        list.push(4);
        match abort {
            true => std::process::abort(),
            false => panic!("on purpose"),
        }
    }
    let list = list().await;
    for abort in [false, true] {
        let mut items: Vec<_> = within(list.stream(fails, abort).collect()).await;
        let error = items.pop().unwrap().unwrap_err();
        assert_eq!(error.is_crashed(), abort);
        assert_eq!(error.is_panic(), !abort);
        assert!(error.to_string().contains("fails"), "{error}");
        assert!(items.into_iter().map(Result::unwrap).eq(0..10));
        let after = within(list.call(|list, ()| list.len(), ())).await;
        assert_eq!(after.ok(), (!abort).then_some(4));
    }
}

#[derive(Debug, serde::Deserialize)]
struct Unsendable;

impl Serialize for Unsendable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("on purpose"))
    }
}

#[procession::test]
async fn item_that_cannot_be_sent_ends_the_function() {
    fn sends(list: &mut Vec<u32>, emit: Emit<Unsendable>) {
        list.clear();
        emit.blocking_send(Unsendable);
        list.push(1);
    }
    let local = within(Managed::local(|| vec![1, 2, 3], ())).await.unwrap();
    for list in [list().await, local] {
        let mut items: Vec<_> = within(list.stream(sends, ()).collect()).await;
        let error = items.pop().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode, "{error}");
        assert!(items.is_empty());
        assert_eq!(
            within(list.call(|list, ()| list.len(), ())).await.unwrap(),
            0
        );
    }
}
