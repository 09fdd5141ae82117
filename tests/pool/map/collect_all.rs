//! `Map::collect_all` and `Map::backoff`: every outcome, and several tries.

use std::time::{Duration, Instant};

use procession::{ErrorKind, JoinError};

use crate::deadline::within;
use crate::kinds;
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::{pid, spin};

use super::{square, squares};

/// Fails in the way of the item.
fn fail(n: u32) -> u32 {
    match n {
        1 => panic!("{n}"),
        3 => std::process::exit(3),
        5 => spin(),
        7 => kill(pid()),
        _ => {}
    }
    n
}

#[procession::test]
async fn collect_all_has_every_outcome_in_the_order_of_the_input() {
    let pool = ready(2).await;
    // Long enough for a panic that prints a backtrace.
    let outcomes = within(
        pool.map(fail, 0..8)
            .timeout(Duration::from_secs(8))
            .collect_all(),
    )
    .await;
    assert_eq!(outcomes.len(), 8);
    for (n, outcome) in outcomes.iter().enumerate() {
        let kind = outcome.as_ref().copied().map_err(JoinError::kind);
        let expected = match n {
            1 => Err(ErrorKind::Panicked),
            3 => Err(ErrorKind::Exited),
            5 => Err(ErrorKind::TimedOut),
            7 => Err(ErrorKind::Crashed),
            _ => Ok(n as u32),
        };
        assert_eq!(kind, expected, "{n}");
    }
    let unordered = within(pool.map(square, 0..1000).unordered().collect_all()).await;
    let results: Vec<_> = unordered.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, squares(1000));
    assert!(within(pool.map(square, []).collect_all()).await.is_empty());
    within(pool.shutdown()).await;
    let refused = within(pool.map(square, 0..3).collect_all()).await;
    assert_eq!(kinds(&refused), [Some(ErrorKind::Closed); 3]);
}

/// Notes the try, and kills its worker in the first `crashes` of them.
fn crash(notes: Notes, n: u32, crashes: usize) -> u32 {
    let name = format!("try-{n}");
    notes.write(&name, n);
    if notes.read(&name).len() <= crashes {
        kill(pid());
    }
    n
}

#[procession::test]
async fn retried_item_is_run_again_after_the_backoff() {
    let board = Board::new();
    let pool = ready(2).await;
    let wait = Duration::from_millis(300);
    let items = (0..4).map(|n| (board.notes(), n, if n == 1 { 2 } else { 0 }));
    let began = Instant::now();
    let map = pool.map(crash, items).retries(2).backoff(wait, 2.0);
    assert_eq!(within(map).await.unwrap(), [0, 1, 2, 3]);
    // Each wait has at least the half of its length.
    assert!(
        began.elapsed() >= (wait + 2 * wait) / 2,
        "{:?}",
        began.elapsed()
    );
    assert_eq!(board.notes().read("try-1").len(), 3);
    assert_eq!(pool.metrics().retried(), 2);
}

#[procession::test]
async fn item_has_no_more_tries_than_it_may() {
    let board = Board::new();
    let pool = ready(1).await;
    let items = [(board.notes(), 0, 9), (board.notes(), 1, 0)];
    let map = pool
        .map(crash, items)
        .retries(2)
        .backoff(Duration::from_millis(1), 1.0);
    let outcomes = within(map.collect_all()).await;
    assert_eq!(kinds(&outcomes), [Some(ErrorKind::Crashed), None]);
    assert_eq!(board.notes().read("try-0").len(), 3);
}

#[procession::test]
async fn map_dropped_during_a_backoff_and_a_terminated_pool_try_no_more() {
    let board = Board::new();
    let pool = ready(1).await;
    let hour = Duration::from_secs(3600);
    let mut map = pool
        .map(crash, [(board.notes(), 0, 9)])
        .retries(9)
        .backoff(hour, 1.0);
    assert!(futures::poll!(futures::StreamExt::next(&mut map)).is_pending());
    crate::deadline::until(|| pool.metrics().retried() == 1).await;
    drop(map);
    assert_eq!(pool.metrics().cancelled(), 1);
    let mut map = pool
        .map(crash, [(board.notes(), 1, 9)])
        .retries(9)
        .backoff(hour, 1.0);
    assert!(futures::poll!(futures::StreamExt::next(&mut map)).is_pending());
    crate::deadline::until(|| pool.metrics().retried() == 2).await;
    within(pool.terminate()).await;
    let error = within(map).await.unwrap_err();
    assert!(error.is_cancelled() && error.started(), "{error:?}");
}
