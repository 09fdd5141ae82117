//! One function over many items: what is read when, what comes out in which order, and what a failure
//! costs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod deadline;
mod leftovers;
mod notes;

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deadline::{until, within};
use futures::stream::{self, StreamExt as _};
use futures::{FutureExt as _, Stream};
use leftovers::alone;
use notes::{Board, Desk};
use procession::{ErrorKind, JoinError, Map, Pool, WorkerState};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_bytes::ByteBuf;
use tokio::sync::mpsc;

fn square(n: u64) -> u64 {
    n * n
}

fn squares(n: u64) -> Vec<u64> {
    (0..n).map(square).collect()
}

fn parked() {
    loop {
        std::thread::park();
    }
}

/// Everything that comes out.
async fn all<R>(mut map: Map<'_, R>) -> Vec<Result<R, JoinError>> {
    let mut outcomes = Vec::new();
    while let Some(outcome) = within(map.next()).await {
        outcomes.push(outcome);
    }
    // It stays at its end.
    assert!(within(map.next()).await.is_none());
    outcomes
}

async fn ready(workers: usize) -> Pool {
    let pool = Pool::with_workers(workers).unwrap();
    until(|| {
        let infos = pool.workers();
        infos.iter().all(|it| it.state() == WorkerState::Idle)
    })
    .await;
    pool
}

/// Counts how often the iterator is asked.
fn counted<I: Iterator>(items: I) -> (Arc<AtomicUsize>, impl Iterator<Item = I::Item>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let items = items.inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    (count, items)
}

fn read(count: &AtomicUsize) -> usize {
    count.load(Ordering::Relaxed)
}

// ---- order -------------------------------------------------------------------------------------

#[procession::test]
async fn results_come_in_the_order_of_the_input() {
    let pool = Pool::with_workers(2).unwrap();
    for n in [1, 2, 3, 100, 10_000] {
        assert_eq!(within(pool.map(square, 0..n)).await.unwrap(), squares(n));
    }
    let uneven = |n: u64| {
        if n.is_multiple_of(7) {
            std::thread::sleep(Duration::from_millis(n % 3));
        }
        n
    };
    let outcomes = all(pool.map(uneven, 0..300)).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes, (0..300).collect::<Vec<_>>());
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_maps_at_once_on_a_multi_thread_runtime() {
    let pool = Pool::with_workers(2).unwrap();
    let maps = (0..4).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.map(square, 0..3_000).await.unwrap() })
    });
    for results in within(futures::future::join_all(maps)).await {
        assert_eq!(results.unwrap(), squares(3_000));
    }
    assert_eq!(pool.metrics().completed(), 12_000);
}

#[procession::test]
async fn unordered_outcomes_come_as_items_finish() {
    let board = Board::new();
    let pool = ready(2).await;
    let item = |desk: Desk, n: usize| {
        if n == 0 {
            desk.wait("go");
        }
        n
    };
    let items = (0..20).map(|n| (board.desk(), n));
    let mut map = pool.map(item, items.clone()).unordered().chunk_size(1);
    let mut seen = Vec::new();
    while seen.len() < 19 {
        seen.push(within(map.next()).await.unwrap().unwrap());
    }
    assert!(!seen.contains(&0));
    board.write("go", 1);
    assert_eq!(within(map.next()).await.unwrap().unwrap(), 0);
    assert!(within(map.next()).await.is_none());
    let mut results = within(pool.map(item, items).unordered()).await.unwrap();
    results.sort_unstable();
    assert_eq!(results, (0..20).collect::<Vec<_>>());
}

#[procession::test]
async fn a_long_item_does_not_hold_back_tiny_ones_while_another_worker_is_idle() {
    // Wherever it stands and however items travel.
    for (chunk, long) in [(Some(50), 0), (Some(50), 77), (None, 1_234), (None, 4_999)] {
        let board = Board::new();
        let pool = ready(2).await;
        let item = |desk: Option<Desk>, n: u64| {
            if let Some(desk) = desk {
                desk.meet("long", "go");
            }
            n
        };
        let items = (0..5_000).map(|n| ((n == long).then(|| board.desk()), n));
        let mut map = pool.map(item, items).unordered();
        if let Some(chunk) = chunk {
            map = map.chunk_size(chunk);
        }
        let mut seen = HashSet::new();
        while seen.len() < 4_999 {
            seen.insert(within(map.next()).await.unwrap().unwrap());
        }
        assert!(!seen.contains(&long));
        board.write("go", 1);
        assert_eq!(within(map.next()).await.unwrap().unwrap(), long);
    }
}

// ---- the input ---------------------------------------------------------------------------------

#[procession::test]
async fn nothing_is_read_before_the_first_poll() {
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
async fn concurrency_bounds_how_far_the_input_is_read() {
    let pool = ready(2).await;
    for concurrency in [1, 2, 7, 64] {
        for chunk in [None, Some(1), Some(10)] {
            let (count, items) = counted(0..2_000_u64);
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
            assert_eq!(read(&count), 2_000);
        }
    }
}

#[procession::test]
async fn concurrency_bounds_how_many_run_at_a_time() {
    let board = Board::new();
    let pool = ready(4).await;
    let item = |desk: Desk, n: u64| {
        desk.write("in", n);
        std::thread::sleep(Duration::from_millis(2));
        let inside = desk.read("in").len() - desk.read("out").len();
        desk.write("out", n);
        inside
    };
    let items = (0..60).map(|n| (board.desk(), n));
    let inside = within(pool.map(item, items).concurrency(2)).await.unwrap();
    assert!(inside.iter().all(|&n| n <= 2), "{inside:?}");
}

#[procession::test]
async fn by_default_an_endless_input_is_read_a_little_ahead() {
    alone(
        "by_default_an_endless_input_is_read_a_little_ahead",
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
            // Items that take long: next to nothing is read ahead.
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
async fn an_empty_input_gives_nothing() {
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
async fn the_input_may_be_borrowed_and_tuples_are_arguments() {
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
async fn an_iterator_that_panics_costs_its_own_map() {
    alone("an_iterator_that_panics_costs_its_own_map", async {
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
    })
    .await;
}

#[procession::test]
async fn an_iterator_may_lie_about_its_length() {
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

// ---- streams as input --------------------------------------------------------------------------

#[procession::test]
async fn a_stream_is_polled_only_when_there_is_room() {
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
async fn a_stream_that_makes_one_wait_holds_nothing_back() {
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
    // As a future.
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

// ---- failures ----------------------------------------------------------------------------------

fn fails_at_three(n: u64) -> u64 {
    assert!(n != 3, "three");
    n
}

#[procession::test]
async fn a_stream_goes_on_after_a_failed_item() {
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
async fn the_first_failure_ends_a_map_and_cancels_the_rest() {
    alone("the_first_failure_ends_a_map_and_cancels_the_rest", async {
        let pool = ready(2).await;
        for unordered in [false, true] {
            let board = Board::new();
            let item = |desk: Desk, n: usize| match n {
                // In front of it something runs that never ends.
                0 => {
                    desk.write("parked", 1);
                    ().then_park();
                }
                3 => {
                    desk.wait("parked");
                    panic!("three");
                }
                _ => desk.write("ran", n),
            };
            let (count, items) = counted((0..).map(|n| (board.desk(), n)));
            let map = pool.map(item, items).chunk_size(1);
            let map = if unordered { map.unordered() } else { map };
            let error = within(map).await.unwrap_err();
            assert!(error.is_panic() && error.panic().unwrap().message() == "three");
            let ran = board.read("ran").len();
            until(|| pool.metrics().running() == 0 && pool.metrics().queued() == 0).await;
            // At most those that had begun when it failed.
            assert!(board.read("ran").len() <= ran + 2);
            assert!(read(&count) < 5_000);
        }
        assert_eq!(
            within(pool.map(square, 0..100)).await.unwrap(),
            squares(100)
        );
        within(pool.shutdown()).await;
    })
    .await;
}

trait ThenPark {
    fn then_park(self);
}

impl ThenPark for () {
    fn then_park(self) {
        parked();
    }
}

#[procession::test]
async fn a_dropped_map_cancels_all_of_it() {
    alone("a_dropped_map_cancels_all_of_it", async {
        let pool = ready(2).await;
        for chunk in [1, 3, 100] {
            let board = Board::new();
            let item = |desk: Desk| {
                desk.write("ran", 1);
                parked();
            };
            let items = std::iter::repeat_with(|| board.desk());
            let mut map = pool.map(item, items).chunk_size(chunk);
            assert!(map.next().now_or_never().is_none());
            board.lines("ran", 2).await;
            drop(map);
            until(|| pool.metrics().running() == 0 && pool.metrics().queued() == 0).await;
            // Whatever is left of it would go first.
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
async fn every_item_has_its_own_time() {
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
        let limit = Duration::from_millis(200);
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
async fn items_that_crash_cost_exactly_themselves() {
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
async fn items_that_exit_cost_exactly_themselves() {
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

// ---- sizes -------------------------------------------------------------------------------------

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

// ---- progress ----------------------------------------------------------------------------------

#[procession::test]
async fn progress_is_told_up_to_the_end() {
    let pool = ready(2).await;
    let told = Mutex::new(Vec::new());
    let tell = |done, total| told.lock().unwrap().push((done, total));
    let results = within(pool.map(square, 0..500).on_progress(tell)).await;
    assert_eq!(results.unwrap(), squares(500));
    let seen = std::mem::take(&mut *told.lock().unwrap());
    assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "{seen:?}");
    assert!(seen.iter().all(|(_, total)| *total == Some(500)));
    assert_eq!(seen.last(), Some(&(500, Some(500))));
    // Where the input does not say how long it is, and items fail.
    let items = (0..500).filter(|n| n % 2 == 1);
    let outcomes = all(pool.map(fails_at_three, items).on_progress(tell)).await;
    assert_eq!(outcomes.len(), 250);
    let seen = std::mem::take(&mut *told.lock().unwrap());
    // How many there are is known once all were read.
    assert!(
        seen.iter()
            .all(|(_, total)| matches!(total, None | Some(250)))
    );
    assert_eq!(seen.last(), Some(&(250, Some(250))));
}

#[procession::test]
async fn a_map_says_how_much_is_left() {
    let pool = ready(1).await;
    let mut map = pool.map(square, 0..50);
    for left in (0..50).rev() {
        assert_eq!(map.size_hint(), (left + 1, Some(left + 1)));
        within(map.next()).await.unwrap().unwrap();
    }
    assert_eq!(map.size_hint(), (0, Some(0)));
}

#[procession::test]
async fn a_next_that_is_dropped_loses_nothing() {
    let pool = ready(2).await;
    let mut map = pool.map(square, 0..2_000);
    let mut results = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            outcome = map.next() => match outcome {
                Some(outcome) => results.insert(results.len() as u64, outcome.unwrap()),
                None => break,
            }.map_or((), |_| panic!("twice")),
        }
    }
    assert_eq!(results.into_values().collect::<Vec<_>>(), squares(2_000));
}
