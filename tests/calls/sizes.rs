//! How large arguments and results may be.

use std::fmt::Debug;

use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::leftovers::alone;
use crate::{call, same};

/// Around the sizes at which a value stops being inline, and at both ends.
const SIZES: [usize; 13] = [
    0,
    1,
    4095,
    (64 << 10) - 64, // a frame's head and prefix in front of it make it whole
    (64 << 10) - 1,
    64 << 10,
    (64 << 10) + 1,
    (256 << 10) - 1,
    256 << 10,
    (256 << 10) + 1,
    1 << 20,
    (1 << 20) + 1,
    64 << 20,
];

/// Bytes in which a shifted, repeated or missing piece shows: no two windows of a block are alike,
/// and blocks do not begin where pages, frames or parcels do.
fn pattern(len: usize) -> Vec<u8> {
    const BLOCK: usize = (64 << 10) + 8;
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(BLOCK);
    while block.len() < BLOCK.min(len.next_multiple_of(8)) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        block.extend(word.to_ne_bytes());
    }
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let piece = block.len().min(len - bytes.len());
        bytes.extend_from_slice(&block[..piece]);
    }
    bytes
}

fn is_pattern(bytes: &[u8]) -> bool {
    bytes == pattern(bytes.len())
}

#[procession::test]
async fn byte_buffers_of_every_size() {
    alone("sizes::byte_buffers_of_every_size", async {
        for size in SIZES {
            let arrived = |bytes: ByteBuf| (bytes.len(), is_pattern(&bytes));
            let sent = ByteBuf::from(pattern(size));
            assert_eq!(call(arrived, sent).await, (size, true));
            let made = call(|size: usize| ByteBuf::from(pattern(size)), size).await;
            assert_eq!((made.len(), is_pattern(&made)), (size, true));
        }
    })
    .await;
}

#[procession::test]
async fn shared_bytes_of_every_size() {
    alone("sizes::shared_bytes_of_every_size", async {
        for size in SIZES {
            let sent = Bytes::from(pattern(size));
            let back = call(same::<Bytes>, sent.clone()).await;
            assert!(back == sent, "{size} bytes came back different");
        }
    })
    .await;
}

#[procession::test]
async fn a_field_of_bytes_beside_others() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Picture {
        name: String,
        #[serde(with = "serde_bytes")]
        pixels: Vec<u8>,
        size: (u32, u32),
    }
    for len in [0, 1, 65_000, 65_536, 3 << 20] {
        let picture = Picture {
            name: "p".repeat(len % 300),
            pixels: pattern(len),
            size: (len as u32, 1),
        };
        let back = call(same::<Picture>, picture.clone()).await;
        assert!(back == picture, "{len} bytes came back different");
    }
}

/// Written one by one, so every boundary is met by a piece of one byte.
#[procession::test]
async fn bytes_one_by_one() {
    for len in [65_000, 65_535, 65_536, 65_537, 300_000] {
        let bytes = pattern(len);
        assert!(call(same::<Vec<u8>>, bytes.clone()).await == bytes, "{len}");
    }
}

/// Every length around the place where a value stops fitting: no length may fall between.
#[procession::test]
async fn no_length_falls_between_inline_and_parcel() {
    let around = (64 << 10) - 72..=(64 << 10) + 8;
    let calls = around.map(|len| async move {
        let sent = ByteBuf::from(pattern(len));
        let back = procession::spawn(same::<ByteBuf>, sent.clone())
            .await
            .unwrap();
        assert!(back == sent, "{len} bytes came back different");
    });
    // A few at a time: they are many processes.
    let calls = futures::stream::iter(calls).buffer_unordered(4);
    let done = within(calls.count()).await;
    assert_eq!(done, 81);
}

#[procession::test]
async fn large_both_ways_at_once() {
    alone("sizes::large_both_ways_at_once", async {
        let calls = (1..=4).map(|n| {
            let sent = Bytes::from(pattern(n << 20));
            async move {
                let back = procession::spawn(same::<Bytes>, sent.clone())
                    .await
                    .unwrap();
                assert!(back == sent);
            }
        });
        within(futures::future::join_all(calls)).await;
    })
    .await;
}
