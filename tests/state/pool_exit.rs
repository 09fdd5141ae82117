//! `worker_exit` of a `StatePool`: it runs also in a worker that has lost its state.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{ErrorKind, Pool, PoolBuilder, StatePool, WorkerInfo, WorkerState};

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::{Document, open};

static CALLS: AtomicU64 = AtomicU64::new(0);

/// Counts itself, and panics if it is told to.
fn counted(_: &mut Document, panics: bool) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    assert!(!panics, "on purpose");
}

fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

fn documents(pool: PoolBuilder, board: &Board) -> StatePool<Document> {
    pool.state(open, board.notes()).build().unwrap()
}

#[procession::test]
async fn exit_function_runs_in_every_worker_that_loses_its_state_and_misses_no_call() {
    let test =
        "pool_exit::exit_function_runs_in_every_worker_that_loses_its_state_and_misses_no_call";
    alone(test, async {
        let board = Board::new();
        let pool = Pool::builder().workers(1).worker_exit(calls, ());
        let pool = documents(pool, &board);
        // All are sent to the worker before the first of them panics.
        let runs = join_all((0..60).map(|n| pool.run(counted, n % 20 == 5)));
        for (n, outcome) in within(runs).await.into_iter().enumerate() {
            assert_eq!(outcome.is_err(), n % 20 == 5);
        }
        assert_eq!(pool.pool().metrics().recycled(), 3);
        let report = within(pool.pool().shutdown()).await;
        let calls = report.results::<u64>();
        assert_eq!((calls.len(), calls.iter().sum()), (4, 60_u64));
        assert!(report.errors().is_empty());
        assert_eq!(board.read("closed").len(), 4);
    })
    .await;
}

#[procession::test]
async fn exit_function_misses_no_item_of_a_map() {
    let board = Board::new();
    let pool = Pool::builder().workers(2).worker_exit(calls, ());
    let pool = documents(pool, &board);
    let items = (0..1000).map(|n| n % 100 == 50);
    let outcomes: Vec<_> = within(pool.map(counted, items).chunk_size(16).collect()).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), n % 100 == 50, "{outcome:?}");
    }
    let is_idle = |it: &WorkerInfo| it.state() == WorkerState::Idle;
    until(|| pool.pool().workers().iter().all(is_idle)).await;
    let calls = within(pool.pool().shutdown()).await.results::<u64>();
    // Ten panics, and two workers at the end.
    assert_eq!((calls.len(), calls.iter().sum()), (12, 1000_u64));
}

#[procession::test]
async fn exit_function_runs_before_the_state_is_dropped() {
    let board = Board::new();
    let note = |notes: Notes| notes.write("closed", "exit");
    let pool = Pool::builder().workers(1).worker_exit(note, board.notes());
    let pool = documents(pool, &board);
    within(pool.run(counted, true)).await.unwrap_err();
    board.lines("closed", 2).await;
    within(pool.run(counted, false)).await.unwrap();
    within(pool.pool().shutdown()).await;
    assert_eq!(board.read("closed"), ["exit", "0", "exit", "0"]);
}

#[procession::test]
async fn replacement_takes_calls_when_the_exit_function_has_returned() {
    let board = Board::new();
    let held = |notes: Notes| notes.meet("leaving", "go");
    let pool = Pool::builder().workers(1).worker_exit(held, board.notes());
    let pool = documents(pool, &board);
    within(pool.run(counted, true)).await.unwrap_err();
    board.lines("leaving", 1).await;
    // It is there, and waits.
    board.lines("opened", 2).await;
    let next = pool.spawn(
        |_: &mut Document, notes: Notes| notes.has("go"),
        board.notes(),
    );
    board.write("go", 1);
    assert!(within(next).await.unwrap());
    within(pool.pool().shutdown()).await;
    assert_eq!(board.read("leaving").len(), 2);
}

#[procession::test]
async fn failing_exit_function_after_a_lost_state_is_an_error_in_the_report() {
    let fails: [(fn() -> PoolBuilder, ErrorKind); 3] = [
        (
            || Pool::builder().worker_exit(|| -> u8 { panic!("no report") }, ()),
            ErrorKind::Panicked,
        ),
        (
            || Pool::builder().worker_exit(|| std::process::abort(), ()),
            ErrorKind::Crashed,
        ),
        (
            || {
                let forever = || std::thread::sleep(Duration::from_secs(600));
                let pool = Pool::builder().worker_exit(forever, ());
                pool.task_timeout(Duration::from_millis(500))
            },
            ErrorKind::TimedOut,
        ),
    ];
    for (builder, kind) in fails {
        let board = Board::new();
        let pool = documents(builder().workers(1), &board);
        within(pool.run(counted, true)).await.unwrap_err();
        within(pool.run(counted, false)).await.unwrap();
        let report = within(pool.pool().shutdown()).await;
        let kinds: Vec<_> = report
            .errors()
            .iter()
            .map(procession::JoinError::kind)
            .collect();
        assert_eq!(kinds, [kind; 2]);
        assert_eq!(pool.pool().metrics().crashed(), 0);
    }
}
