//! A buffer that can be written has one owner.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use procession::memory::SharedBufMut;
use procession::{ErrorKind, PipeReceiver, PipeSender, Pool, channel, queue, spawn};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::deadline::within;

fn write(mut buf: SharedBufMut, at: usize) -> SharedBufMut {
    buf[at] = 7;
    buf
}

/// A buffer that a message does not take away.
#[derive(Debug, Clone)]
struct Kept(Arc<SharedBufMut>);

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SharedBufMut::deserialize(deserializer).map(|it| Self(Arc::new(it)))
    }
}

fn kept(len: usize) -> Kept {
    Kept(Arc::new(SharedBufMut::zeroed(len).unwrap()))
}

#[procession::test]
async fn buffer_moves_from_process_to_process_and_is_frozen_at_last() {
    let pool = Pool::with_workers(1).unwrap();
    let mut buf = SharedBufMut::zeroed(1 << 21).unwrap();
    buf[0] = 1;
    for at in 1..20 {
        buf = match at % 2 {
            0 => within(pool.run(write, (buf, at))).await.unwrap(),
            _ => within(spawn(write, (buf, at))).await.unwrap(),
        };
    }
    let (there, theirs) = channel::<SharedBufMut>().unwrap();
    let (back, ours) = channel::<SharedBufMut>().unwrap();
    let child = spawn(
        |rx: PipeReceiver<SharedBufMut>, tx: PipeSender<SharedBufMut>| {
            while let Ok(buf) = rx.blocking_recv() {
                tx.blocking_send(write(buf, 20)).unwrap();
            }
        },
        (theirs, back),
    );
    there.send(buf).await.unwrap();
    let buf = within(ours.recv()).await.unwrap().freeze().unwrap();
    assert_eq!((buf[0], &buf[1..21], buf[21]), (1, &[7; 20][..], 0));
    drop(there);
    within(child).await.unwrap();
}

#[procession::test]
async fn buffer_is_gone_where_it_was_sent_from() {
    let (tx, rx) = queue::<Vec<Kept>>(4).unwrap();
    let buf = kept(100);
    // A message cannot hold one buffer twice. The failed send does not move it.
    let twice = within(tx.send(vec![buf.clone(), buf.clone()])).await;
    assert!(twice.unwrap_err().is_encode());
    assert_eq!(buf.0[99], 0);
    within(tx.send(vec![buf.clone()])).await.unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| buf.0[0])).is_err());
    let again = tx.try_send(vec![buf.clone()]).unwrap_err();
    assert!(again.is_encode());
    let frozen = Arc::into_inner(buf.0);
    assert!(frozen.is_none(), "the failed message has it");
    drop(again);
    let moved = within(rx.recv()).await.unwrap();
    assert_eq!(moved[0].0.len(), 100);
}

#[procession::test]
async fn buffer_that_was_not_sent_can_be_used_again() {
    let (tx, rx) = queue::<SharedBufMut>(1).unwrap();
    tx.send(SharedBufMut::zeroed(1).unwrap()).await.unwrap();
    let mut buf = SharedBufMut::zeroed(10).unwrap();
    buf[9] = 9;
    let full = tx.try_send(buf).unwrap_err();
    assert!(full.is_full());
    let mut buf = full.into_inner();
    buf[8] = 8;
    let mut sending = Box::pin(tx.send(buf));
    assert!(futures::poll!(&mut sending).is_pending());
    drop(rx);
    let closed = within(sending).await.unwrap_err();
    assert!(closed.is_closed());
    let buf = closed.into_inner().unwrap().freeze().unwrap();
    assert_eq!(buf[8..], [8, 9]);
}

#[procession::test]
async fn buffer_in_arguments_of_two_processes_reaches_the_first() {
    let (tx, rx) = channel::<u8>().unwrap();
    let buf = kept(1000);
    let (release, released) = channel::<()>().unwrap();
    let first = spawn(
        |buf: Kept, tx: PipeSender<u8>, released: PipeReceiver<()>| {
            tx.blocking_send(buf.0[0]).unwrap();
            released.blocking_recv().unwrap();
        },
        (buf.clone(), tx, released),
    );
    assert_eq!(within(rx.recv()).await, Ok(0));
    let second = within(spawn(|buf: Kept| buf.0.len(), buf)).await;
    let error = second.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("twice"), "{error}");
    release.send(()).await.unwrap();
    within(first).await.unwrap();
}

#[procession::test]
async fn buffer_of_a_crashed_task_is_not_given_to_a_second_one() {
    let pool = Pool::with_workers(1).unwrap();
    let crash = |mut buf: SharedBufMut| -> u8 {
        buf[0] = 1;
        std::process::abort()
    };
    let buf = SharedBufMut::zeroed(10).unwrap();
    let error = within(pool.run(crash, buf).retries(3)).await.unwrap_err();
    assert!(error.is_crashed(), "{error}");
    assert_eq!(pool.metrics().retried(), 0);
}
