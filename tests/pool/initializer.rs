//! Initializers: when they run, and what their failure costs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::future::join_all;
use procession::{JoinError, Pool};
use serde::{Deserialize, Serialize};

use crate::deadline::within;
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::pools::all_idle;
use crate::tasks::pid;
use crate::{SHORT, add};

static PREPARED: OnceLock<String> = OnceLock::new();

static CALLS: AtomicU64 = AtomicU64::new(0);

fn prepare(text: String, notes: Notes) -> Result<(), String> {
    notes.write("prepared", pid());
    CALLS.fetch_add(1, Ordering::Relaxed);
    PREPARED.set(text)
}

fn prepared() -> (usize, u64) {
    let text = PREPARED.get().map_or(0, String::len);
    (text, CALLS.load(Ordering::Relaxed))
}

#[procession::test]
async fn initializer_runs_once_in_each_worker_before_its_first_task() {
    // The second argument is too large for the ring of a worker.
    for len in [10, 1 << 20] {
        let board = Board::new();
        let pool = Pool::builder()
            .workers(2)
            .initializer(prepare, ("x".repeat(len), board.notes()))
            .build()
            .unwrap();
        let runs = (0..50).map(|_| pool.run(prepared, ()));
        for seen in within(join_all(runs)).await {
            assert_eq!(seen.unwrap(), (len, 1));
        }
        within(pool.run(|| std::process::abort(), ()))
            .await
            .unwrap_err();
        let runs = (0..50).map(|_| pool.run(prepared, ()));
        for seen in within(join_all(runs)).await {
            assert_eq!(seen.unwrap(), (len, 1));
        }
        all_idle(&pool, 2).await;
        assert_eq!(board.read("prepared").len(), 3);
    }
}

#[procession::test]
async fn initializer_may_be_async_and_return_unit() {
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
    assert_eq!(within(pool.run(prepared, ())).await.unwrap().0, 3);
}

/// How many workers a pool may start with an initializer that always fails, until the breaker opens.
const STARTS: usize = 10;

fn refuse(notes: Notes) -> Result<(), String> {
    notes.write("tried", pid());
    Err("no database".to_owned())
}

fn panics(notes: Notes) {
    notes.write("tried", pid());
    panic!("no licence")
}

fn aborts(notes: Notes) {
    notes.write("tried", pid());
    std::process::abort();
}

fn exits(notes: Notes) {
    notes.write("tried", pid());
    std::process::exit(9);
}

async fn fails_to_start(board: &Board, pool: Pool) -> Vec<JoinError> {
    let begun = Instant::now();
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
    assert!(board.read("tried").len() >= 5);
    // The pool starts no further workers at once, although it has none.
    tokio::time::sleep(4 * SHORT).await;
    let (tried, taken) = (board.read("tried").len(), begun.elapsed());
    // On a machine under load all of this takes longer, and one worker is tried in each second.
    let most = STARTS + taken.as_secs() as usize;
    assert!(tried <= most, "{tried} workers were started in {taken:?}");
    within(pool.shutdown()).await;
    assert_eq!(pool.workers().len(), 0);
    errors
}

#[procession::test]
async fn initializer_failure_is_the_cause_of_every_task_error() {
    alone(
        "initializer::initializer_failure_is_the_cause_of_every_task_error",
        async {
            for workers in [1, 4] {
                let builder = || Pool::builder().workers(workers);
                let board = Board::new();
                let pool = builder()
                    .initializer(refuse, board.notes())
                    .build()
                    .unwrap();
                let errors = fails_to_start(&board, pool).await;
                assert!(
                    errors[0].to_string().contains("no database"),
                    "{}",
                    errors[0]
                );

                let board = Board::new();
                let pool = builder()
                    .initializer(panics, board.notes())
                    .build()
                    .unwrap();
                let errors = fails_to_start(&board, pool).await;
                let report = errors[99].panic().unwrap();
                assert_eq!(report.message(), "no licence");
                assert!(report.location().contains("tests/pool/initializer.rs"));

                let board = Board::new();
                let pool = builder()
                    .initializer(aborts, board.notes())
                    .build()
                    .unwrap();
                let errors = fails_to_start(&board, pool).await;
                assert!(errors[0].signal().is_some(), "{:?}", errors[0]);

                let board = Board::new();
                let pool = builder().initializer(exits, board.notes()).build().unwrap();
                let errors = fails_to_start(&board, pool).await;
                assert_eq!(errors[0].exit_code(), Some(9), "{:?}", errors[0]);
            }
        },
    )
    .await;
}

#[procession::test]
async fn initializer_that_works_again_lets_the_pool_recover() {
    let board = Board::new();
    let works_later = |notes: Notes| match notes.has("fixed") {
        true => Ok(()),
        false => refuse(notes),
    };
    let pool = Pool::builder()
        .workers(2)
        .initializer(works_later, board.notes())
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
async fn initializer_failure_ends_waiting_large_tasks_too() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .initializer(refuse, board.notes())
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
async fn initializer_arguments_that_cannot_be_encoded_are_a_failure() {
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
