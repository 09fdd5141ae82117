//! Initializers: when they run, and what their failure costs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use procession::{JoinError, Pool};
use serde::{Deserialize, Serialize};

use crate::deadline::within;
use crate::leftovers::alone;
use crate::notes::{Board, Desk};
use crate::pools::all_idle;
use crate::tasks::pid;
use crate::{SHORT, add};

static PREPARED: OnceLock<String> = OnceLock::new();

static CALLS: AtomicU64 = AtomicU64::new(0);

fn prepare(text: String, desk: Desk) -> Result<(), String> {
    desk.write("prepared", pid());
    CALLS.fetch_add(1, Ordering::Relaxed);
    PREPARED.set(text)
}

fn what_was_prepared() -> (usize, u64) {
    let text = PREPARED.get().map_or(0, String::len);
    (text, CALLS.load(Ordering::Relaxed))
}

#[procession::test]
async fn every_worker_is_prepared_once_before_its_first_task() {
    // The second does not fit a worker's ring.
    for len in [10, 1 << 20] {
        let board = Board::new();
        let pool = Pool::builder()
            .workers(2)
            .initializer(prepare, ("x".repeat(len), board.desk()))
            .build()
            .unwrap();
        let runs = (0..50).map(|_| pool.run(what_was_prepared, ()));
        for seen in within(join_all(runs)).await {
            assert_eq!(seen.unwrap(), (len, 1));
        }
        within(pool.run(|| std::process::abort(), ()))
            .await
            .unwrap_err();
        let runs = (0..50).map(|_| pool.run(what_was_prepared, ()));
        for seen in within(join_all(runs)).await {
            assert_eq!(seen.unwrap(), (len, 1));
        }
        all_idle(&pool, 2).await;
        assert_eq!(board.read("prepared").len(), 3);
    }
}

#[procession::test]
async fn an_initializer_may_be_async_and_return_nothing() {
    let pool = Pool::builder()
        .workers(1)
        .initializer(
            async |text: String| {
                tokio::task::yield_now().await;
                PREPARED.set(text).unwrap();
            },
            "abc".to_owned(),
        )
        .build()
        .unwrap();
    assert_eq!(within(pool.run(what_was_prepared, ())).await.unwrap().0, 3);
}

/// How many workers a pool may start before it gives up on an initializer that never works: a few,
/// and one try for every task that comes.
const TRIES: usize = 10;

fn refuse(desk: Desk) -> Result<(), String> {
    desk.write("tried", pid());
    Err("no database".to_owned())
}

fn panics(desk: Desk) {
    desk.write("tried", pid());
    panic!("no licence")
}

fn aborts(desk: Desk) {
    desk.write("tried", pid());
    std::process::abort();
}

fn exits(desk: Desk) {
    desk.write("tried", pid());
    std::process::exit(9);
}

async fn fails_to_start(board: &Board, pool: Pool) -> Vec<JoinError> {
    let runs = join_all((0..100).map(|n| pool.run(add, (n, n))));
    let errors: Vec<_> = within(runs)
        .await
        .into_iter()
        .map(Result::unwrap_err)
        .collect();
    for error in &errors {
        assert!(error.is_spawn() && !error.started(), "{error:?}");
        assert!(error.task().contains("add"), "{error:?}");
    }
    let tried = board.read("tried").len();
    assert!((5..=TRIES).contains(&tried), "{tried} workers were started");
    // It does not go on by itself either.
    tokio::time::sleep(4 * SHORT).await;
    assert_eq!(board.read("tried").len(), tried);
    within(pool.shutdown()).await;
    assert_eq!(pool.workers().len(), 0);
    errors
}

#[procession::test]
async fn an_initializer_that_fails_fails_the_tasks_with_its_cause() {
    alone(
        "initializer::an_initializer_that_fails_fails_the_tasks_with_its_cause",
        async {
            for workers in [1, 4] {
                let builder = || Pool::builder().workers(workers);
                let board = Board::new();
                let pool = builder().initializer(refuse, board.desk()).build().unwrap();
                let errors = fails_to_start(&board, pool).await;
                assert!(
                    errors[0].to_string().contains("no database"),
                    "{}",
                    errors[0]
                );

                let board = Board::new();
                let pool = builder().initializer(panics, board.desk()).build().unwrap();
                let errors = fails_to_start(&board, pool).await;
                let report = errors[99].panic().unwrap();
                assert_eq!(report.message(), "no licence");
                assert!(report.location().contains("tests/pool/initializer.rs"));

                let board = Board::new();
                let pool = builder().initializer(aborts, board.desk()).build().unwrap();
                let errors = fails_to_start(&board, pool).await;
                assert!(errors[0].signal().is_some(), "{:?}", errors[0]);

                let board = Board::new();
                let pool = builder().initializer(exits, board.desk()).build().unwrap();
                let errors = fails_to_start(&board, pool).await;
                assert_eq!(errors[0].exit_code(), Some(9), "{:?}", errors[0]);
            }
        },
    )
    .await;
}

#[procession::test]
async fn a_pool_recovers_when_its_initializer_works_again() {
    let board = Board::new();
    let works_later = |desk: Desk| match desk.has("fixed") {
        true => Ok(()),
        false => refuse(desk),
    };
    let pool = Pool::builder()
        .workers(2)
        .initializer(works_later, board.desk())
        .build()
        .unwrap();
    assert!(within(pool.run(add, (1, 1))).await.unwrap_err().is_spawn());
    board.write("fixed", 1);
    let fixed = async {
        while pool.run(add, (1, 1)).await.is_err() {
            tokio::time::sleep(SHORT).await;
        }
    };
    within(fixed).await;
    for outcome in within(join_all((0..100).map(|n| pool.run(add, (n, n))))).await {
        outcome.unwrap();
    }
    all_idle(&pool, 2).await;
}

#[procession::test]
async fn a_large_task_does_not_wait_for_ever_while_nobody_tries_any_more() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .initializer(refuse, board.desk())
        .build()
        .unwrap();
    for _ in 0..3 {
        let runs = [
            pool.run(|text: String| text.len(), "x".repeat(8 << 20)),
            pool.run(|text: String| text.len(), "x".to_owned()),
        ];
        for outcome in within(join_all(runs)).await {
            assert!(outcome.unwrap_err().is_spawn());
        }
    }
}

#[procession::test]
async fn an_initializer_whose_arguments_cannot_be_encoded_is_a_failure() {
    #[derive(Deserialize)]
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("refused"))
        }
    }
    let pool = Pool::builder()
        .workers(1)
        .initializer(|_: Refuses| (), Refuses)
        .build()
        .unwrap();
    let error = within(pool.run(add, (1, 1))).await.unwrap_err();
    assert!(
        error.is_spawn() && error.to_string().contains("initializer"),
        "{error}"
    );
}
