//! Items that cannot be encoded or decoded, and items that are huge.

use std::collections::HashSet;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::StreamExt as _;
use procession::{ErrorKind, JoinError, Map, Pool};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::map::all;
use crate::notes::{Board, Desk};
use crate::pools::ready;

/// Cannot be carried one way or the other, if it is told so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fussy(u64, Fault);

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

impl Serialize for Fussy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Fault::Encode => Err(ser::Error::custom("not this one")),
            Fault::EncodePanics => panic!("not this one"),
            fault => (self.0, fault).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fussy {
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
async fn a_value_that_cannot_be_carried_costs_its_own_item() {
    let pool = ready(2).await;
    let pids = |pool: &Pool| -> HashSet<u32> {
        pool.workers()
            .iter()
            .filter_map(procession::WorkerInfo::pid)
            .collect()
    };
    let before = pids(&pool);
    for fault in FAULTS {
        for chunk in [1, 10, 200] {
            let fault_of = move |n: u64| if n % 20 == 7 { fault } else { Fault::No };
            let arguments = (0..200).map(move |n| Fussy(n, fault_of(n)));
            let sent = pool.map(|it: Fussy| it.0, arguments).chunk_size(chunk);
            for (n, outcome) in all(sent).await.into_iter().enumerate() {
                let expected = kind_of(fault_of(n as u64));
                assert_eq!(outcome.as_ref().err().map(JoinError::kind), expected);
                match outcome {
                    Ok(result) => assert_eq!(result, n as u64),
                    Err(error) => assert!(!error.started(), "{fault:?} {error:?}"),
                }
            }
            let items = (0..200).map(move |n| (n, fault_of(n)));
            let back = pool.map(Fussy, items).chunk_size(chunk);
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
async fn a_huge_item_travels_among_small_ones() {
    let pool = ready(2).await;
    for size in [60_000, 1 << 20, 64 << 20] {
        for chunk in [None, Some(1), Some(40)] {
            let huge = move |n: usize| if n == 17 { size } else { n };
            let sized = |map: Map<'static, _>| match chunk {
                Some(chunk) => map.chunk_size(chunk),
                None => map,
            };
            let items = (0..40).map(move |n| ByteBuf::from(vec![n as u8; huge(n)]));
            let measured = |bytes: ByteBuf| (bytes.len(), bytes.iter().copied().max());
            let lengths = within(sized(pool.map(measured, items))).await.unwrap();
            for (n, (len, byte)) in lengths.into_iter().enumerate() {
                assert_eq!((len, byte), (huge(n), (n > 0).then_some(n as u8)));
            }
        }
        let huge = move |n: usize| if n == 17 { size } else { n };
        for chunk in [1, 40] {
            let items = (0..40).map(move |n| (n, huge(n)));
            let made = |n: usize, size: usize| ByteBuf::from(vec![n as u8; size]);
            let map = pool.map(made, items).chunk_size(chunk);
            for (n, outcome) in all(map).await.into_iter().enumerate() {
                let bytes = outcome.unwrap();
                assert_eq!(bytes.len(), huge(n));
                assert!(bytes.iter().all(|&byte| byte == n as u8));
            }
        }
    }
}

#[procession::test]
async fn results_that_fill_the_ring_wait_for_a_busy_parent() {
    let board = Board::new();
    let pool = ready(1).await;
    // Sizes that leave all kinds of room behind them in a ring.
    for size in [10_000, 30_000, 50_000, 60_000, 65_000] {
        let item = |desk: Desk, n: u8, size: usize| {
            desk.write("made", n);
            ByteBuf::from(vec![n; size])
        };
        let items = (0..40).map(|n| (board.desk(), n, size));
        let mut map = pool.map(item, items).chunk_size(40);
        assert!(map.next().now_or_never().is_none());
        // This thread is the runtime's only one: nobody reads while it does something else.
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
