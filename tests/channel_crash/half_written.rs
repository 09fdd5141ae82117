//! A sender is killed while it writes a message.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;
use procession::{Sender, queue, spawn};
use rustix::process::{Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::within;

/// Kills its process when it is serialised for the last of so many times.
#[derive(Debug)]
struct Deadly(Option<AtomicU64>);

impl Serialize for Deadly {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(left) = &self.0
            && left.fetch_sub(1, Ordering::AcqRel) == 1
        {
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

/// In each of the times a message is looked at: to see how long it is, to write it, to write it into memory
/// of its own.
#[procession::test]
async fn a_message_half_written_by_the_killed() {
    let halves = |len: usize, last: Option<u64>| -> Halves {
        let half = ByteBuf::from(vec![len as u8; len]);
        (half.clone(), Deadly(last.map(AtomicU64::new)), half)
    };
    for len in [10, 40_000, 100_000, 3 << 20] {
        for last in 1.. {
            let (tx, rx) = queue::<Halves>(4).unwrap();
            let child = spawn(
                async |len: usize, last: u64, tx: Sender<Halves>| {
                    let halves = |last: Option<u64>| -> Halves {
                        let half = ByteBuf::from(vec![len as u8; len]);
                        (half.clone(), Deadly(last.map(AtomicU64::new)), half)
                    };
                    tx.send(halves(None)).await.unwrap();
                    tx.send(halves(Some(last))).await.unwrap();
                },
                (len, last, tx.clone()),
            );
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
                // It was not looked at so often.
                assert!((2..=4).contains(&last), "{last}");
                break;
            }
        }
    }
}
