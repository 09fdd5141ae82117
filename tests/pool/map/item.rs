//! `JoinError::item`: which item of a map an error is about.

use procession::{JoinError, Pool};

use crate::deadline::within;
use crate::leftovers::processes::kill;
use crate::map::{all, fails_at_three};
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::pid;

/// Even items fail, each in a way of its own.
fn fail_if_even(n: usize) -> usize {
    match n % 8 {
        0 => panic!("{n}"),
        2 => std::process::exit(2),
        4 => kill(pid()),
        6 => std::process::abort(),
        _ => {}
    }
    n
}

#[procession::test]
async fn item_of_an_error_is_its_place_in_the_input() {
    let pool = ready(2).await;
    for chunk in [1, 5] {
        let map = pool.map(fail_if_even, 0..8).chunk_size(chunk).unordered();
        let outcomes = all(map).await;
        let (good, bad): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        let mut good: Vec<_> = good.into_iter().flatten().collect();
        let mut bad: Vec<_> = bad
            .iter()
            .filter_map(|it| it.as_ref().err()?.item())
            .collect();
        good.sort_unstable();
        bad.sort_unstable();
        assert_eq!((good, bad), (vec![1, 3, 5, 7], vec![0, 2, 4, 6]));
    }
}

#[procession::test]
async fn item_is_said_by_the_error_of_an_awaited_map() {
    let pool = ready(1).await;
    let error = within(pool.map(fails_at_three, 0..9)).await.unwrap_err();
    assert_eq!(error.item(), Some(3));
    assert!(error.to_string().contains("(item 3)"), "{error}");
    let error = within(pool.run(fails_at_three, 3)).await.unwrap_err();
    assert_eq!(error.item(), None);
}

#[procession::test]
async fn item_that_never_ran_is_named() {
    let pool = ready(1).await;
    within(pool.shutdown()).await;
    let outcomes = within(pool.map(|n: u8| n, 0..3).collect_all()).await;
    let items = outcomes.iter().map(|it| it.as_ref().unwrap_err().item());
    assert_eq!(Vec::from_iter(items), [Some(0), Some(1), Some(2)]);
}

#[procession::test]
async fn item_is_known_to_the_rule_of_retries() {
    let rule = |error: &JoinError| matches!(error.item(), Some(1 | 2));
    let pool = Pool::builder().workers(1).retries(1).retry_if(rule);
    let pool = pool.build().unwrap();
    let board = Board::new();
    let fail = |notes: Notes, n: usize| {
        notes.write(&n.to_string(), "");
        match n % 2 {
            0 => kill(pid()),
            _ => panic!("{n}"),
        }
    };
    let items = (0..4).map(|n| (board.notes(), n));
    within(pool.map(fail, items).collect_all()).await;
    let tries = (0..4).map(|n| board.read(&n.to_string()).len());
    assert_eq!(Vec::from_iter(tries), [1, 2, 2, 1]);
}
