//! Items that fail, and maps that are dropped.

use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::StreamExt as _;
use procession::ErrorKind;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::map::{all, counted, fails_at_three, read, square, squares};
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::parked;

#[procession::test]
async fn map_as_a_stream_continues_after_a_failed_item() {
    let pool = ready(2).await;
    for chunk in [1, 4, 100] {
        let outcomes = all(pool.map(fails_at_three, 0..100).chunk_size(chunk)).await;
        assert_eq!(outcomes.len(), 100);
        for (n, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Ok(result) => assert!(*result == n as u64 && n != 3),
                Err(error) => assert!(error.is_panic() && n == 3, "{n}: {error}"),
            }
        }
    }
}

#[procession::test]
async fn map_as_a_future_ends_at_the_first_failure() {
    alone(
        "map::failures::map_as_a_future_ends_at_the_first_failure",
        async {
            let pool = ready(2).await;
            for unordered in [false, true] {
                let board = Board::new();
                let item = |notes: Notes, n: usize| match n {
                    // An item before the failing item runs and never ends.
                    0 => {
                        notes.write("parked", 1);
                        parked();
                    }
                    3 => {
                        notes.wait("parked");
                        panic!("three");
                    }
                    _ => notes.write("ran", n),
                };
                let (count, items) = counted((0..).map(|n| (board.notes(), n)));
                let map = pool.map(item, items).chunk_size(1);
                let map = if unordered { map.unordered() } else { map };
                let error = within(map).await.unwrap_err();
                assert!(error.is_panic() && error.panic().unwrap().message() == "three");
                let ran = board.read("ran").len();
                until(|| pool.metrics().running() == 0 && pool.metrics().queued() == 0).await;
                // At most the two items that were running at the failure ran on.
                assert!(board.read("ran").len() <= ran + 2);
                assert!(read(&count) < 5_000);
            }
            assert_eq!(
                within(pool.map(square, 0..100)).await.unwrap(),
                squares(100)
            );
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn map_dropped_cancels_every_item() {
    alone("map::failures::map_dropped_cancels_every_item", async {
        let pool = ready(2).await;
        for chunk in [1, 3, 100] {
            let board = Board::new();
            let item = |notes: Notes| {
                notes.write("ran", 1);
                parked();
            };
            let items = std::iter::repeat_with(|| board.notes());
            let mut map = pool.map(item, items).chunk_size(chunk);
            assert!(map.next().now_or_never().is_none());
            board.lines("ran", 2).await;
            drop(map);
            until(|| pool.metrics().running() == 0 && pool.metrics().queued() == 0).await;
            // Items of the dropped map that were still queued would run before these tasks.
            for _ in 0..4 {
                within(pool.run(square, 1)).await.unwrap();
            }
            assert_eq!(board.read("ran").len(), 2);
        }
        within(pool.shutdown()).await;
    })
    .await;
}

#[procession::test]
async fn map_timeout_applies_to_each_item() {
    let pool = ready(2).await;
    let item = |n: u64| {
        match n % 10 {
            3 => parked(),
            5 => std::thread::sleep(Duration::from_millis(60)),
            _ => {}
        }
        n
    };
    for chunk in [1, 7, 40] {
        // Far more than the slow items take, under any load.
        let limit = Duration::from_millis(600);
        let map = pool.map(item, 0..40).chunk_size(chunk).timeout(limit);
        for (n, outcome) in all(map).await.into_iter().enumerate() {
            match outcome {
                Ok(result) => assert!(result == n as u64 && n % 10 != 3),
                Err(error) => {
                    assert!(error.is_timed_out() && error.started(), "{n}: {error:?}");
                    assert_eq!(n % 10, 3);
                }
            }
        }
    }
    assert_eq!(pool.metrics().timed_out(), 12);
}

#[procession::test]
async fn map_items_that_crash_fail_alone() {
    let pool = ready(2).await;
    let item = |n: u64| {
        if n % 1_000 == 999 {
            std::process::abort();
        }
        n
    };
    for (count, chunk) in [(100_000, None), (5_000, Some(64)), (5_000, Some(5_000))] {
        let map = pool.map(item, 0..count);
        let map = match chunk {
            Some(chunk) => map.chunk_size(chunk),
            None => map,
        };
        let outcomes = all(map).await;
        assert_eq!(outcomes.len() as u64, count);
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(result) => assert!(result == n as u64 && n % 1_000 != 999),
                Err(error) => {
                    assert!(error.is_crashed() && error.started(), "{n}: {error:?}");
                    assert_eq!((n % 1_000, error.signal()), (999, Some(6)), "{error:?}");
                }
            }
        }
    }
    assert_eq!(pool.metrics().crashed(), 110);
}

#[procession::test]
async fn map_items_that_exit_fail_alone() {
    let pool = ready(2).await;
    let item = |n: u64| {
        if n % 100 == 50 {
            std::process::exit(0);
        }
        n
    };
    let outcomes = all(pool.map(item, 0..2_000)).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(result) => assert!(result == n as u64 && n % 100 != 50),
            Err(error) => {
                assert_eq!(
                    (error.kind(), n % 100),
                    (ErrorKind::Exited, 50),
                    "{error:?}"
                );
                assert_eq!(error.exit_code(), Some(0));
            }
        }
    }
}
