//! Values of every size, and the shared memory of large values.

use futures::StreamExt as _;
use futures::future::join_all;
use procession::Pool;

use crate::deadline::{until, within};
use crate::leftovers::{alone, mappings};
use crate::pools::all_idle;
use crate::{echo, made};

/// Lengths around every size that could be a boundary: of a frame, a ring, a page, shared memory.
fn lengths() -> impl Iterator<Item = usize> {
    let small = 0..300;
    let around = [4096, 65_536, 131_072, 262_144, 524_288, 1 << 20];
    let around = around
        .into_iter()
        .flat_map(|at| (at - 130..at + 20).step_by(3));
    small.chain(around)
}

#[procession::test]
async fn values_of_every_length_are_carried() {
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
async fn memory_of_huge_results_is_released() {
    alone("values::memory_of_huge_results_is_released", async {
        let pool = Pool::with_workers(1).unwrap();
        within(pool.run(made, (1, 1 << 20))).await.unwrap();
        let before = mappings();
        // Larger than the memory that is kept for reuse.
        let len = (256 << 20) + 1;
        for byte in 0..3 {
            let bytes = within(pool.run(made, (byte, len))).await.unwrap();
            assert!(bytes.len() == len && bytes[len - 1] == byte);
        }
        // The memory of the last result is unmapped when the next result arrives.
        assert!(mappings() <= before + 1, "{} after {before}", mappings());
        within(pool.shutdown()).await;
    })
    .await;
}

#[procession::test]
async fn memory_of_large_values_is_released_after_a_while() {
    alone(
        "values::memory_of_large_values_is_released_after_a_while",
        async {
            let pool = Pool::with_workers(2).unwrap();
            all_idle(&pool, 2).await;
            let before = mappings();
            let runs = (0..10).map(|byte| pool.run(echo, made(byte, 1 << 20)));
            within(join_all(runs)).await;
            assert!(mappings() > before);
            // Unused memory is released after 5 to 10 seconds, without any call to the pool.
            until(|| mappings() == before).await;
            let bytes = within(pool.run(echo, made(7, 1 << 20))).await.unwrap();
            assert_eq!(bytes, made(7, 1 << 20));
            within(pool.shutdown()).await;
        },
    )
    .await;
}
