//! A sender is killed while it encodes a message.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;
use procession::{Sender, queue, spawn};
use rustix::process::{Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::within;

/// A value that kills its process in the last of so many serialisations.
#[derive(Debug)]
struct Deadly(Option<AtomicU64>);

impl Serialize for Deadly {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let left = self
            .0
            .as_ref()
            .map(|left| left.fetch_sub(1, Ordering::AcqRel));
        if left == Some(1) {
            kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
        }
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Deadly {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self(None))
    }
}

type Halves = (ByteBuf, Deadly, ByteBuf);

/// A message whose first half is encoded when the process is killed, in serialisation `last` if there is one.
fn halves(len: usize, last: Option<u64>) -> Halves {
    let half = ByteBuf::from(vec![len as u8; len]);
    (half.clone(), Deadly(last.map(AtomicU64::new)), half)
}

async fn send_and_die(len: usize, last: u64, tx: Sender<Halves>) {
    tx.send(halves(len, None)).await.unwrap();
    tx.send(halves(len, Some(last))).await.unwrap();
}

/// A send serialises a message several times: to learn its length, to write it, to write it into memory of its own. The
/// sender is killed in each of these.
#[procession::test]
async fn message_half_written_by_killed_sender_is_not_received() {
    for len in [10, 40_000, 100_000, 3 << 20] {
        for last in 1.. {
            let (tx, rx) = queue::<Halves>(4).unwrap();
            let child = spawn(send_and_die, (len, last, tx.clone()));
            let survived = within(child).await.is_ok();
            within(tx.send(halves(len, None))).await.unwrap();
            drop(tx);
            let received: Vec<_> = within(rx.map(Result::unwrap).collect()).await;
            assert_eq!(received.len(), if survived { 3 } else { 2 });
            for (left, _, right) in received {
                assert_eq!((left.len(), &left), (len, &right));
                assert!(left.iter().all(|byte| *byte == len as u8));
            }
            if survived {
                // The message was serialised fewer times.
                assert!((2..=4).contains(&last), "{last}");
                break;
            }
        }
    }
}
