//! What a map reads from its input, and when.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use futures::{FutureExt as _, Stream};
use tokio::sync::mpsc;

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::map::{all, counted, read, square, squares};
use crate::notes::{Board, Notes};
use crate::pools::ready;

#[procession::test]
async fn map_reads_nothing_before_its_first_poll() {
    let pool = ready(1).await;
    let (count, items) = counted(0..10);
    let map = pool.map(square, items);
    within(pool.run(square, 1)).await.unwrap();
    assert_eq!(read(&count), 0);
    drop(map);
    let (count, items) = counted(0..10);
    let future = IntoFuture::into_future(pool.map(square, items));
    within(pool.run(square, 1)).await.unwrap();
    assert_eq!(read(&count), 0);
    assert_eq!(within(future).await.unwrap(), squares(10));
    assert_eq!(read(&count), 10);
    assert_eq!(pool.metrics().completed(), 12);
}

#[procession::test]
async fn concurrency_limits_how_far_the_input_is_read() {
    let pool = ready(2).await;
    for concurrency in [1, 2, 7, 64] {
        for chunk in [None, Some(1), Some(10)] {
            let (count, items) = counted(0..500_u64);
            let mut map = pool.map(square, items).concurrency(concurrency);
            if let Some(chunk) = chunk {
                map = map.chunk_size(chunk);
            }
            let mut given = 0;
            while let Some(outcome) = within(map.next()).await {
                assert_eq!(outcome.unwrap(), square(given));
                given += 1;
                let ahead = read(&count) - given as usize;
                assert!(ahead <= concurrency, "{ahead} read ahead of {concurrency}");
            }
            assert_eq!(read(&count), 500);
        }
    }
}

#[procession::test]
async fn concurrency_limits_how_many_items_run() {
    let board = Board::new();
    let pool = ready(4).await;
    let item = |notes: Notes, n: u64| {
        notes.write("in", n);
        std::thread::sleep(Duration::from_millis(2));
        // Items that run between the two looks are in the second alone.
        let inside = notes.read("in").len();
        let inside = inside.saturating_sub(notes.read("out").len());
        notes.write("out", n);
        inside
    };
    let items = (0..60).map(|n| (board.notes(), n));
    let inside = within(pool.map(item, items).concurrency(2)).await.unwrap();
    assert!(inside.iter().all(|&n| n <= 2), "{inside:?}");
}

#[procession::test]
async fn map_reads_an_endless_input_a_little_ahead() {
    alone(
        "map::input::map_reads_an_endless_input_a_little_ahead",
        async {
            let pool = ready(2).await;
            let (count, items) = counted(0..);
            let mut map = pool.map(square, items);
            for n in 0..20_000 {
                assert_eq!(within(map.next()).await.unwrap().unwrap(), square(n));
            }
            assert!(read(&count) < 200_000, "{count:?}");
            drop(map);
            until(|| pool.metrics().running() == 0 && pool.metrics().queued() == 0).await;
            // Of slow items only a few are read ahead.
            let (count, items) = counted(0..);
            let slow = |n: u64| {
                std::thread::sleep(Duration::from_millis(3));
                n
            };
            let mut map = pool.map(slow, items);
            for n in 0..20 {
                assert_eq!(within(map.next()).await.unwrap().unwrap(), n);
            }
            assert!(read(&count) <= 20 + 2 * 2 * 2, "{count:?}");
            drop(map);
            assert_eq!(within(pool.run(square, 3)).await.unwrap(), 9);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn map_of_an_empty_input_yields_nothing() {
    let pool = ready(1).await;
    assert_eq!(within(pool.map(square, [])).await.unwrap(), []);
    assert_eq!(within(pool.map(square, []).unordered()).await.unwrap(), []);
    assert!(all(pool.map(square, std::iter::empty())).await.is_empty());
    assert!(
        all(pool.map_stream(square, stream::empty()))
            .await
            .is_empty()
    );
}

#[procession::test]
async fn map_input_may_be_borrowed_and_hold_tuples() {
    let pool = ready(2).await;
    let numbers: Vec<u64> = (0..500).collect();
    let words = ["a".to_owned(), "bc".to_owned()];
    let squared = within(pool.map(square, numbers.iter().copied()))
        .await
        .unwrap();
    assert_eq!(squared, squares(500));
    let lengths = pool.map(|word: String| word.len(), words.iter().cloned());
    assert_eq!(within(lengths).await.unwrap(), [1, 2]);
    let pairs = numbers.iter().zip(&numbers).map(|(a, b)| (*a, *b));
    let sums = within(pool.map(|a: u64, b: u64| a + b, pairs))
        .await
        .unwrap();
    assert_eq!(sums[499], 998);
    let bumped = |n: u64| async move { n + 1 };
    let bumped = within(pool.map(bumped, numbers.iter().copied()))
        .await
        .unwrap();
    assert_eq!(bumped[0], 1);
    let many = vec![(); 300];
    assert_eq!(within(pool.map(|| 1, many)).await.unwrap().len(), 300);
}

#[procession::test]
async fn map_whose_iterator_panics_leaves_the_pool_working() {
    alone(
        "map::input::map_whose_iterator_panics_leaves_the_pool_working",
        async {
            for at in [0, 3, 5_000] {
                let pool = ready(2).await;
                let items = (0..10_000_u64).inspect(move |&n| assert!(n != at, "no more"));
                let future = AssertUnwindSafe(IntoFuture::into_future(pool.map(square, items)));
                within(future.catch_unwind()).await.unwrap_err();
                let idle = || pool.metrics().running() == 0 && pool.metrics().queued() == 0;
                until(idle).await;
                assert_eq!(
                    within(pool.map(square, 0..100)).await.unwrap(),
                    squares(100)
                );
                within(pool.shutdown()).await;
            }
        },
    )
    .await;
}

#[procession::test]
async fn map_tolerates_a_wrong_size_hint() {
    struct Liar(u64, usize);
    impl Iterator for Liar {
        type Item = u64;

        fn next(&mut self) -> Option<u64> {
            self.0 = self.0.checked_sub(1)?;
            Some(self.0)
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.1, Some(self.1))
        }
    }
    let pool = ready(2).await;
    for length in [0, 10, 1_000] {
        let mut map = pool.map(square, Liar(100, length));
        let mut count = 0;
        while let Some(outcome) = within(map.next()).await {
            outcome.unwrap();
            count += 1;
            let _ = map.size_hint();
        }
        assert_eq!(count, 100);
    }
}

#[procession::test]
async fn map_stream_polls_its_input_when_there_is_room() {
    let pool = ready(2).await;
    let (count, items) = counted(0..1_000_u64);
    let mut map = pool.map_stream(square, stream::iter(items)).concurrency(5);
    for n in 0..1_000 {
        assert_eq!(within(map.next()).await.unwrap().unwrap(), square(n));
        assert!(read(&count) - (n as usize + 1) <= 5);
    }
    assert!(within(map.next()).await.is_none());
}

fn of_channel<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    stream::unfold(receiver, async |mut receiver| {
        let item = receiver.recv().await?;
        Some((item, receiver))
    })
}

#[procession::test]
async fn map_stream_with_pending_input_yields_finished_results() {
    let pool = ready(2).await;
    let (give, take) = mpsc::channel(1);
    let mut map = pool.map_stream(square, Box::pin(of_channel(take)));
    for n in 0..200 {
        assert!(map.next().now_or_never().is_none());
        give.send(n).await.unwrap();
        assert_eq!(within(map.next()).await.unwrap().unwrap(), square(n));
    }
    drop(give);
    assert!(within(map.next()).await.is_none());
    // The same map as a future.
    let (give, take) = mpsc::channel(1);
    let giver = tokio::spawn(async move {
        for n in 0..500 {
            give.send(n).await.unwrap();
        }
    });
    let results = within(pool.map_stream(square, of_channel(take))).await;
    assert_eq!(results.unwrap(), squares(500));
    giver.await.unwrap();
}
