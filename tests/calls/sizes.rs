//! Sizes of arguments and results, from no byte to 64 MiB.

use std::fmt::Debug;

use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::deadline::within;
use crate::leftovers::alone;
use crate::{call, same};

/// Sizes around the limits of inline values and of reused memory, and both ends of the range.
const SIZES: [usize; 13] = [
    0,
    1,
    4095,
    (64 << 10) - 64, // with the head of the frame and the prefix 64 KiB
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

/// Bytes in which a shifted, repeated or missing piece shows: no two windows of a block are equal, and blocks
/// do not start where pages, frames or shared memory start.
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
async fn byte_buf_of_every_size_is_carried() {
    alone("sizes::byte_buf_of_every_size_is_carried", async {
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
async fn bytes_of_every_size_are_carried() {
    alone("sizes::bytes_of_every_size_are_carried", async {
        for size in SIZES {
            let sent = Bytes::from(pattern(size));
            let back = call(same::<Bytes>, sent.clone()).await;
            assert!(back == sent, "{size} bytes came back different");
        }
    })
    .await;
}

#[procession::test]
async fn bytes_field_among_other_fields_is_carried() {
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

/// The bytes are encoded one by one, so every boundary is between two pieces of one byte.
#[procession::test]
async fn bytes_encoded_one_by_one_are_carried() {
    for len in [65_000, 65_535, 65_536, 65_537, 300_000] {
        let bytes = pattern(len);
        assert!(call(same::<Vec<u8>>, bytes.clone()).await == bytes, "{len}");
    }
}

/// Every length around the size at which a value becomes too large for the ring.
#[procession::test]
async fn bytes_of_every_length_around_the_inline_limit_are_carried() {
    let around = (64 << 10) - 72..=(64 << 10) + 8;
    let calls = around.map(|len| async move {
        let sent = ByteBuf::from(pattern(len));
        let back = procession::spawn(same::<ByteBuf>, sent.clone())
            .await
            .unwrap();
        assert!(back == sent, "{len} bytes came back different");
    });
    // Few at a time, because each call starts a process.
    let calls = futures::stream::iter(calls).buffer_unordered(4);
    let done = within(calls.count()).await;
    assert_eq!(done, 81);
}

#[procession::test]
async fn bytes_are_carried_both_ways_at_the_same_time() {
    alone(
        "sizes::bytes_are_carried_both_ways_at_the_same_time",
        async {
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
        },
    )
    .await;
}
