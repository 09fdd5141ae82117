//! Items that cannot be encoded or decoded, and items that are huge.

use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::StreamExt as _;
use procession::{ErrorKind, JoinError, Map};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::map::all;
use crate::notes::{Board, Notes};
use crate::pools::{pids, ready};

/// A value whose encoding or decoding fails as its fault says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Faulty(u64, Fault);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Fault {
    No,
    Encode,
    EncodePanics,
    Decode,
    DecodePanics,
}

const FAULTS: [Fault; 4] = [
    Fault::Encode,
    Fault::EncodePanics,
    Fault::Decode,
    Fault::DecodePanics,
];

impl Serialize for Faulty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Fault::Encode => Err(ser::Error::custom("not this one")),
            Fault::EncodePanics => panic!("not this one"),
            fault => (self.0, fault).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Faulty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match <(u64, Fault)>::deserialize(deserializer)? {
            (_, Fault::Decode) => Err(de::Error::custom("not this one")),
            (_, Fault::DecodePanics) => panic!("not this one"),
            (n, fault) => Ok(Self(n, fault)),
        }
    }
}

fn kind_of(fault: Fault) -> Option<ErrorKind> {
    match fault {
        Fault::No => None,
        Fault::Encode | Fault::EncodePanics => Some(ErrorKind::Encode),
        Fault::Decode | Fault::DecodePanics => Some(ErrorKind::Decode),
    }
}

#[procession::test]
async fn map_items_that_cannot_be_encoded_or_decoded_fail_alone() {
    let pool = ready(2).await;
    let before = pids(&pool);
    for fault in FAULTS {
        for chunk in [1, 10, 200] {
            let fault_of = move |n: u64| if n % 20 == 7 { fault } else { Fault::No };
            let arguments = (0..200).map(move |n| Faulty(n, fault_of(n)));
            let sent = pool.map(|it: Faulty| it.0, arguments).chunk_size(chunk);
            for (n, outcome) in all(sent).await.into_iter().enumerate() {
                let expected = kind_of(fault_of(n as u64));
                assert_eq!(outcome.as_ref().err().map(JoinError::kind), expected);
                match outcome {
                    Ok(result) => assert_eq!(result, n as u64),
                    Err(error) => assert!(!error.started(), "{fault:?} {error:?}"),
                }
            }
            let items = (0..200).map(move |n| (n, fault_of(n)));
            let back = pool.map(Faulty, items).chunk_size(chunk);
            for (n, outcome) in all(back).await.into_iter().enumerate() {
                let expected = kind_of(fault_of(n as u64));
                assert_eq!(outcome.as_ref().err().map(JoinError::kind), expected);
                match outcome {
                    Ok(result) => assert_eq!(result.0, n as u64),
                    Err(error) => assert!(error.started(), "{fault:?} {error:?}"),
                }
            }
        }
    }
    assert_eq!(pids(&pool), before);
    assert_eq!(pool.metrics().crashed(), 0);
}

#[procession::test]
async fn map_carries_a_huge_item_among_small_ones() {
    let pool = ready(2).await;
    for size in [60_000, 1 << 20, 64 << 20] {
        for chunk in [None, Some(1), Some(40)] {
            let huge = move |n: usize| if n == 17 { size } else { n };
            let sized = |map: Map<'static, _>| match chunk {
                Some(chunk) => map.chunk_size(chunk),
                None => map,
            };
            let items = (0..40).map(move |n| ByteBuf::from(vec![n as u8; huge(n)]));
            let measured = |bytes: ByteBuf| {
                let first = bytes.first().copied();
                let is_whole = *bytes == vec![first.unwrap_or(0); bytes.len()];
                (bytes.len(), first, is_whole)
            };
            let measured = within(sized(pool.map(measured, items))).await.unwrap();
            for (n, measured) in measured.into_iter().enumerate() {
                assert_eq!(measured, (huge(n), (n > 0).then_some(n as u8), true));
            }
        }
        let huge = move |n: usize| if n == 17 { size } else { n };
        for chunk in [1, 40] {
            let items = (0..40).map(move |n| (n, huge(n)));
            let made = |n: usize, size: usize| ByteBuf::from(vec![n as u8; size]);
            let map = pool.map(made, items).chunk_size(chunk);
            for (n, outcome) in all(map).await.into_iter().enumerate() {
                let bytes = outcome.unwrap();
                assert!(*bytes == vec![n as u8; huge(n)]);
            }
        }
    }
}

#[procession::test]
async fn map_results_that_fill_the_ring_wait_for_the_parent() {
    let board = Board::new();
    let pool = ready(1).await;
    // Sizes that leave different amounts of space in the ring.
    for size in [10_000, 30_000, 50_000, 60_000, 65_000] {
        let item = |notes: Notes, n: u8, size: usize| {
            notes.write("made", n);
            ByteBuf::from(vec![n; size])
        };
        let items = (0..40).map(|n| (board.notes(), n, size));
        let mut map = pool.map(item, items).chunk_size(40);
        assert!(map.next().now_or_never().is_none());
        // The runtime has only this thread, so no result is read during the sleep.
        std::thread::sleep(Duration::from_millis(20));
        for n in 0..40 {
            let bytes = within(map.next()).await.unwrap().unwrap();
            assert_eq!(bytes.len(), size);
            assert!(bytes.iter().all(|&byte| byte == n), "{n}");
        }
    }
    assert_eq!(board.read("made").len(), 200);
    assert_eq!(pool.metrics().crashed(), 0);
}
