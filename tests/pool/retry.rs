//! Which failed tasks run again, and what is known of them meanwhile.

use procession::{ErrorKind, JoinError, Pool};

use crate::deadline::{until, within};
use crate::notes::{Board, Notes};
use crate::tasks::{held, pid, spin};
use crate::{LONG, SHORT};

/// Fails by `how` until it was tried `times` times, and then says how often.
fn fail(notes: Notes, how: String, times: usize) -> usize {
    notes.write("tries", pid());
    let tries = notes.read("tries").len();
    if tries <= times {
        match how.as_str() {
            "panic" => panic!("try {tries}"),
            "abort" => std::process::abort(),
            "exit" => std::process::exit(3),
            _ => spin(),
        }
    }
    tries
}

fn pool_with(rule: impl Fn(&JoinError) -> bool + Send + Sync + 'static) -> Pool {
    let pool = Pool::builder().workers(2).retries(2).retry_if(rule);
    pool.build().unwrap()
}

#[procession::test]
async fn retry_if_decides_for_every_kind_of_failure() {
    let pool = pool_with(|_| true);
    // A try that ends by its limit must leave its note first, under any load.
    let limits = [LONG, LONG, LONG, SHORT * 10];
    for (how, limit) in ["panic", "abort", "exit", "spin"].into_iter().zip(limits) {
        let board = Board::new();
        let run = pool.run(fail, (board.notes(), how.to_owned(), 2));
        assert_eq!(within(run.timeout(limit)).await.unwrap(), 3, "{how}");
        let board = Board::new();
        let run = pool.run(fail, (board.notes(), how.to_owned(), 9));
        let error = within(run.timeout(limit)).await.unwrap_err();
        assert!(error.started(), "{error}");
        assert_eq!(board.read("tries").len(), 3, "{how}");
    }
    assert_eq!(pool.metrics().retried(), 16);
    assert_eq!(
        (pool.metrics().completed(), pool.metrics().failed()),
        (4, 4)
    );
    until(|| pool.metrics().running() == 0).await;
    within(pool.shutdown()).await;
}

#[procession::test]
async fn retry_if_stands_instead_of_the_default_rule() {
    let pool = pool_with(JoinError::is_panic);
    let board = Board::new();
    let run = pool.run(fail, (board.notes(), "abort".to_owned(), 1));
    assert!(within(run).await.unwrap_err().is_crashed());
    assert_eq!(board.read("tries").len(), 1);
    // Without retries it is not asked.
    let board = Board::new();
    let run = pool.run(fail, (board.notes(), "panic".to_owned(), 1));
    assert!(within(run.retries(0)).await.unwrap_err().is_panic());
}

#[procession::test]
async fn retry_if_that_panics_says_no() {
    let pool = pool_with(|_| panic!("a rule with a fault"));
    for how in ["panic", "abort"] {
        let board = Board::new();
        let run = pool.run(fail, (board.notes(), how.to_owned(), 1));
        let error = within(run).await.unwrap_err();
        assert!(error.is_panic() || error.is_crashed(), "{error}");
        assert_eq!(board.read("tries").len(), 1, "{how}");
    }
    assert_eq!(within(pool.run(|| 7, ())).await.unwrap(), 7);
}

#[procession::test]
async fn retry_if_holds_for_items_of_a_map() {
    let pool = pool_with(JoinError::is_panic);
    let board = Board::new();
    let once = |notes: Notes, n: usize| {
        let name = format!("item {n}");
        notes.write(&name, "");
        assert!(n % 3 > 0 || notes.read(&name).len() > 1, "first try of {n}");
        n
    };
    let items = (0..60).map(|n| (board.notes(), n));
    let results = within(pool.map(once, items).chunk_size(10)).await.unwrap();
    assert_eq!(results, Vec::from_iter(0..60));
    assert_eq!(pool.metrics().retried(), 20);
}

#[procession::test]
async fn retried_task_can_be_aborted_and_has_started() {
    let pool = Pool::builder().workers(1).retries(1).build().unwrap();
    let board = Board::new();
    let crash_then_wait = |notes: Notes| -> u32 {
        notes.write("tries", "");
        if notes.read("tries").len() == 1 {
            std::process::abort();
        }
        held(notes, "again".to_owned())
    };
    let handle = pool.spawn(crash_then_wait, board.notes());
    let abort = handle.abort_handle();
    board.lines("again", 1).await;
    assert!(!abort.is_finished());
    abort.abort();
    let error = within(handle).await.unwrap_err();
    assert!(error.is_cancelled() && error.started(), "{error}");
    // A dropped run too, while it is tried again.
    let board = Board::new();
    let mut run = pool.run(crash_then_wait, board.notes()).timeout(LONG);
    assert!(futures::poll!(&mut run).is_pending());
    let mut again = std::pin::pin!(board.lines("again", 1));
    tokio::select! {
        outcome = &mut run => panic!("{outcome:?}"),
        _ = &mut again => {}
    }
    drop(run);
    until(|| pool.metrics().cancelled() == 2).await;
    assert_eq!(within(pool.run(|| 7, ())).await.unwrap(), 7);
}

#[procession::test]
async fn retried_task_that_waits_has_started() {
    let pool = Pool::builder().workers(1).retries(1).build().unwrap();
    let board = Board::new();
    // The next try waits behind nothing, but no worker starts in time.
    let stop = |notes: Notes| -> u32 {
        notes.write("tries", "");
        std::process::abort();
    };
    let handle = pool.spawn(stop, board.notes());
    board.lines("tries", 1).await;
    let end = pool.terminate();
    let error = within(handle).await.unwrap_err();
    assert!(error.is_cancelled() || error.is_crashed(), "{error}");
    assert!(error.started(), "{error}");
    within(end).await;
}

/// The first worker starts, and no other.
fn start_once(notes: Notes) -> Result<(), String> {
    let is_first = std::fs::create_dir(notes.path("first")).is_ok();
    is_first.then_some(()).ok_or_else(|| "not again".to_owned())
}

#[procession::test]
async fn task_that_ran_and_finds_no_worker_again_has_started() {
    let board = Board::new();
    let pool = Pool::builder().workers(1).retries(3);
    let pool = pool.initializer(start_once, board.notes()).build().unwrap();
    let error = within(pool.run(|| std::process::abort(), ())).await;
    let error = error.unwrap_err();
    assert!(error.is_spawn() && error.started(), "{error:?}");
    let error = within(pool.run(|| (), ())).await.unwrap_err();
    assert!(error.is_spawn() && !error.started(), "{error:?}");
}

/// Notes that it runs and ends its worker. Of many bytes, the arguments travel in shared memory.
fn end_with(
    notes: Notes,
    _end: procession::Pipe<u8, u8>,
    _bytes: serde_bytes::ByteBuf,
    how: String,
) {
    notes.write("tries", pid());
    match how.as_str() {
        "panic" => panic!("once"),
        _ => std::process::abort(),
    }
}

#[procession::test]
async fn call_with_an_end_of_a_pipe_is_not_run_again() {
    for (how, kind) in [
        ("panic", ErrorKind::Panicked),
        ("abort", ErrorKind::Crashed),
    ] {
        for bytes in [0, 1 << 20] {
            let (pool, board) = (pool_with(|_| true), Board::new());
            let (_here, end) = procession::pipe::<u8, u8>().unwrap();
            let bytes = serde_bytes::ByteBuf::from(vec![0; bytes]);
            let run = pool.run(end_with, (board.notes(), end, bytes, how.to_owned()));
            let error = within(run).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.started(), "{error}");
            assert_eq!(board.notes().read("tries").len(), 1);
            assert_eq!(pool.metrics().retried(), 0);
        }
    }
}
