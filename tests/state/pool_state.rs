//! `StatePool`: how long a state lives.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{ErrorKind, Pool, PoolEvent, RecycleReason, StatePool, WorkerState};

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::{Document, open, reads, words};

fn documents(workers: usize, notes: Notes) -> StatePool<Document> {
    Pool::builder()
        .workers(workers)
        .state(open, notes)
        .build()
        .unwrap()
}

#[procession::test]
async fn state_is_made_once_in_each_worker_and_dropped_at_shutdown() {
    let board = Board::new();
    let pool = documents(2, board.notes());
    let runs = (0..100).map(|n| pool.run(words, n % 2));
    for (n, outcome) in within(join_all(runs)).await.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), n % 2 + 1);
    }
    // One worker may have run all calls before the other has started.
    board.lines("opened", 2).await;
    within(pool.pool().shutdown()).await;
    let opened = board.read("opened");
    assert!(opened.len() == 2 && opened[0] != opened[1]);
    let reads = board.read("closed");
    let reads: Vec<u32> = reads.iter().map(|it| it.parse().unwrap()).collect();
    assert_eq!((reads.len(), reads.iter().sum()), (2, 100));
}

#[procession::test]
async fn panic_has_the_state_dropped_and_made_anew() {
    let board = Board::new();
    let pool = documents(1, board.notes());
    assert_eq!(within(pool.run(reads, ())).await.unwrap(), 1);
    // All are sent to the worker before the first of them panics.
    let runs = (0..20).map(|n| pool.run(words, if n == 5 { 7 } else { 0 }));
    for (n, outcome) in within(join_all(runs)).await.into_iter().enumerate() {
        match outcome {
            Ok(words) => assert!(words == 1 && n != 5),
            Err(error) => assert!(error.is_panic() && n == 5, "{error}"),
        }
    }
    assert_eq!(within(pool.run(reads, ())).await.unwrap(), 15);
    assert_eq!(board.read("opened").len(), 2);
    // The worker that took its place may run a call before the other has left.
    until(|| board.read("closed") == ["7"]).await;
    assert_eq!(pool.pool().metrics().crashed(), 0);
    within(pool.pool().shutdown()).await;
    assert_eq!(board.read("closed"), ["7", "15"]);
}

#[procession::test]
async fn panic_in_a_map_costs_one_item() {
    let board = Board::new();
    let pool = documents(2, board.notes());
    let outcomes: Vec<_> = {
        use futures::StreamExt as _;
        let pages = (0..1000).map(|n| if n % 100 == 50 { 9 } else { n % 2 });
        within(pool.map(words, pages).chunk_size(16).collect()).await
    };
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(words) => assert!(*words == n % 2 + 1 && n % 100 != 50),
            Err(error) => assert!(error.is_panic() && n % 100 == 50, "{error}"),
        }
    }
    assert_eq!(outcomes.len(), 1000);
    let ready = || {
        pool.pool()
            .workers()
            .iter()
            .all(|it| it.state() == WorkerState::Idle)
    };
    until(ready).await;
    within(pool.pool().shutdown()).await;
    // Ten panics, and two workers at the end.
    assert_eq!(board.read("opened").len(), 12);
    assert_eq!(board.read("closed").len(), 12);
}

#[procession::test]
async fn killed_worker_is_replaced_with_a_state_of_its_own() {
    let board = Board::new();
    let pool = documents(1, board.notes());
    assert_eq!(within(pool.run(reads, ())).await.unwrap(), 1);
    let abort = pool.run(|_: &mut Document| std::process::abort(), ());
    assert_eq!(within(abort).await.unwrap_err().kind(), ErrorKind::Crashed);
    assert_eq!(within(pool.run(reads, ())).await.unwrap(), 1);
    let slow = |_: &mut Document| std::thread::sleep(Duration::from_secs(600));
    let slow = pool.run(slow, ()).timeout(Duration::from_millis(20));
    assert_eq!(within(slow).await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(within(pool.run(reads, ())).await.unwrap(), 1);
    assert_eq!(board.read("opened").len(), 3);
}

fn refuse(path: String) -> Result<Document, String> {
    Err(format!("no document at {path}"))
}

#[procession::test]
async fn failing_open_is_named_in_the_error_of_every_call() {
    let pool = Pool::builder().workers(2);
    let pool = pool.state(refuse, "/nowhere".to_owned()).build().unwrap();
    let runs = (0..10).map(|_| pool.run(reads, ()));
    for outcome in within(join_all(runs)).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spawn);
        assert!(!error.started());
        let text = error.to_string();
        assert!(
            text.contains("the state: no document at /nowhere"),
            "{text}"
        );
    }
}

#[procession::test]
async fn worker_that_loses_its_state_is_recycled() {
    let docs = Pool::builder().workers(1).state(|| 1_u32, ());
    let docs = docs.build().unwrap();
    let mut events = docs.pool().events();
    let panics = docs.run(|_: &mut u32| -> u32 { panic!("as it should") }, ());
    assert!(within(panics).await.unwrap_err().is_panic());
    assert_eq!(within(docs.run(|n: &mut u32| *n, ())).await.unwrap(), 1);
    assert_eq!(docs.pool().metrics().recycled(), 1);
    loop {
        match within(events.next()).await {
            Some(PoolEvent::WorkerRecycled { why }) => {
                assert_eq!(why, RecycleReason::StateLost);
                break;
            }
            Some(_) => {}
            None => panic!("the worker was not told to be recycled"),
        }
    }
}

#[procession::test]
async fn panicking_open_is_named_in_the_error() {
    let pool = Pool::builder().workers(1);
    let pool = pool.state(|| -> Document { panic!("no ink") }, ());
    let pool = pool.build().unwrap();
    let error = within(pool.run(reads, ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Spawn);
    assert!(error.to_string().contains("no ink"), "{error}");
}

#[procession::test]
async fn initializer_runs_before_the_state_is_made() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .initializer(
            |notes: Notes| notes.write("opened", "initializer"),
            board.notes(),
        )
        .state(open, board.notes())
        .build()
        .unwrap();
    within(pool.run(reads, ())).await.unwrap();
    let lines = board.read("opened");
    assert!(lines.len() == 2 && lines[0] == "initializer");
}

#[procession::test]
async fn worker_that_hangs_while_it_drops_the_state_delays_no_call() {
    struct Stuck;
    impl Drop for Stuck {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_secs(600));
        }
    }
    let pool = Pool::builder().workers(1);
    let pool = pool.state(|| Stuck, ()).build().unwrap();
    let panics = pool.run(|_: &mut Stuck| panic!("on purpose"), ());
    assert!(within(panics).await.unwrap_err().is_panic());
    let pid = within(pool.run(|_: &mut Stuck| std::process::id(), ())).await;
    assert!(pid.is_ok());
    within(pool.pool().terminate()).await;
}

#[procession::test]
async fn panicking_drop_ends_the_worker_in_an_orderly_way() {
    struct Angry(Notes);
    impl Drop for Angry {
        fn drop(&mut self) {
            self.0.write("dropped", 1);
            panic!("on purpose");
        }
    }
    let board = Board::new();
    let pool = Pool::builder().workers(1).state(Angry, board.notes());
    let pool = pool.build().unwrap();
    within(pool.run(|_: &mut Angry| (), ())).await.unwrap();
    within(pool.pool().shutdown()).await;
    assert_eq!(board.read("dropped").len(), 1);
}

#[procession::test]
async fn worker_that_still_makes_its_state_drops_it_at_shutdown() {
    let board = Board::new();
    let slow = |notes: Notes| {
        notes.meet("opening", "go");
        open(notes)
    };
    let pool = Pool::builder().workers(1).state(slow, board.notes());
    let pool = pool.build().unwrap();
    board.lines("opening", 1).await;
    let shutdown = pool.pool().shutdown();
    board.write("go", 1);
    within(shutdown).await;
    assert_eq!(board.read("closed"), ["0"]);
}

#[procession::test]
async fn panics_leave_nothing_behind() {
    alone("pool_state::panics_leave_nothing_behind", async {
        let board = Board::new();
        let pool = documents(2, board.notes());
        for _ in 0..20 {
            assert!(within(pool.run(words, 9)).await.is_err());
        }
        within(pool.pool().shutdown()).await;
        assert_eq!(board.read("closed").len(), board.read("opened").len());
    })
    .await;
}
