//! Values of every size, and the memory that large ones take.

use futures::StreamExt as _;
use futures::future::join_all;
use procession::Pool;

use crate::deadline::{until, within};
use crate::leftovers::{alone, mappings};
use crate::pools::all_idle;
use crate::{echo, made};

/// Lengths around everything that could be a boundary: of a frame, a ring, a page, a parcel.
fn lengths() -> impl Iterator<Item = usize> {
    let small = 0..300;
    let around = [4096, 65_536, 131_072, 262_144, 524_288, 1 << 20];
    let around = around
        .into_iter()
        .flat_map(|at| (at - 130..at + 20).step_by(3));
    small.chain(around)
}

#[procession::test]
async fn values_of_every_length_come_and_go() {
    let pool = Pool::with_workers(2).unwrap();
    for chunk in [None, Some(1), Some(30)] {
        let items = lengths().enumerate();
        let items = items.map(|(n, len)| made(n as u8, len));
        let map = pool.map(echo, items);
        let mut map = match chunk {
            Some(chunk) => map.chunk_size(chunk),
            None => map,
        };
        for (n, len) in lengths().enumerate() {
            let bytes = within(map.next()).await.unwrap().unwrap();
            assert_eq!(bytes.len(), len);
            assert!(bytes.iter().all(|&byte| byte == n as u8), "{len}");
        }
        assert!(within(map.next()).await.is_none());
    }
    assert_eq!(pool.metrics().crashed(), 0);
}

#[procession::test]
async fn memory_for_huge_results_is_given_back() {
    alone("values::memory_for_huge_results_is_given_back", async {
        let pool = Pool::with_workers(1).unwrap();
        within(pool.run(made, (1, 1 << 20))).await.unwrap();
        let before = mappings();
        // Larger than what is kept to be used again.
        let len = (256 << 20) + 1;
        for byte in 0..3 {
            let bytes = within(pool.run(made, (byte, len))).await.unwrap();
            assert!(bytes.len() == len && bytes[len - 1] == byte);
        }
        // The last one is given up with the next that comes.
        assert!(mappings() <= before + 1, "{} after {before}", mappings());
        within(pool.shutdown()).await;
    })
    .await;
}

#[procession::test]
async fn memory_for_large_values_is_given_back_after_a_while() {
    alone(
        "values::memory_for_large_values_is_given_back_after_a_while",
        async {
            let pool = Pool::with_workers(2).unwrap();
            all_idle(&pool, 2).await;
            let before = mappings();
            let runs = (0..10).map(|byte| pool.run(echo, made(byte, 1 << 20)));
            within(join_all(runs)).await;
            assert!(mappings() > before);
            // Twice five seconds; meanwhile nobody does anything.
            until(|| mappings() == before).await;
            let bytes = within(pool.run(echo, made(7, 1 << 20))).await.unwrap();
            assert_eq!(bytes, made(7, 1 << 20));
            within(pool.shutdown()).await;
        },
    )
    .await;
}
