//! `PoolBuilder::preload`: when it runs, what workers find, and what its failure costs.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use procession::{ErrorKind, Pool, PoolBuilder, Receiver, Sender, StartMethod, queue};

use crate::deadline::{until, within};
use crate::forked;
use crate::leftovers::alone;
use crate::leftovers::processes::{ProcessInfo, children, kill_if_running};
use crate::notes::{Board, Notes};
use crate::tasks::parked;

static LOADED: OnceLock<(u32, Vec<u64>)> = OnceLock::new();

fn load(len: u64) {
    LOADED.get_or_init(|| (std::process::id(), (0..len).collect()));
}

fn prepared() -> PoolBuilder {
    Pool::builder()
        .workers(3)
        .start_method(StartMethod::ForkServer)
}

#[procession::test]
async fn preload_runs_once_and_is_shared_by_all_workers() {
    alone(
        "preload::preload_runs_once_and_is_shared_by_all_workers",
        async {
            let pool = prepared().preload(load, 1_000_000).build().unwrap();
            let look = |_: u32| {
                let (pid, numbers) = LOADED.get().unwrap();
                (
                    *pid,
                    numbers.as_ptr().addr(),
                    numbers[999_999],
                    std::process::id(),
                )
            };
            let found = within(pool.map(look, 0..200)).await.unwrap();
            assert!(
                found
                    .iter()
                    .all(|it| it.0 == found[0].0 && it.1 == found[0].1)
            );
            assert!(found.iter().all(|it| it.2 == 999_999 && it.3 != it.0));
            // Other processes are not forked from the server of the pool.
            let elsewhere = forked().spawn(|| LOADED.get().is_none(), ());
            assert!(within(elsewhere).await.unwrap() && LOADED.get().is_none());
            within(pool.shutdown()).await;
        },
    )
    .await;
}

/// A number from a generator that each thread has for itself, as those of `rand` and `fastrand` are.
fn draw() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[procession::test]
async fn preload_that_drew_random_numbers_leaves_workers_their_own() {
    alone(
        "preload::preload_that_drew_random_numbers_leaves_workers_their_own",
        async {
            let preload = || {
                std::hint::black_box(draw());
            };
            let pool = prepared().preload(preload, ()).build().unwrap();
            let slowly = |_: u32| {
                std::thread::sleep(Duration::from_millis(5));
                (std::process::id(), draw())
            };
            let mut workers = HashSet::new();
            let mut drawn = HashSet::new();
            while workers.len() < 3 {
                for (pid, number) in within(pool.map(slowly, 0..30)).await.unwrap() {
                    workers.insert(pid);
                    assert!(drawn.insert(number), "two workers drew {number}");
                }
            }
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn preload_runs_in_every_worker_that_is_executed() {
    alone(
        "preload::preload_runs_in_every_worker_that_is_executed",
        async {
            let pool = prepared()
                .start_method(StartMethod::Exec)
                .preload(load, 10)
                .initializer(|| assert!(LOADED.get().is_some()), ())
                .build()
                .unwrap();
            let own = |_: u32| LOADED.get().unwrap().0 == std::process::id();
            assert!(
                within(pool.map(own, 0..50))
                    .await
                    .unwrap()
                    .iter()
                    .all(|own| *own)
            );
            within(pool.shutdown()).await;
        },
    )
    .await;
}

async fn cause(pool: PoolBuilder) -> String {
    let pool = pool.build().unwrap();
    let error = within(pool.run(|| 1, ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
    assert!(!error.started());
    within(pool.terminate()).await;
    error.to_string()
}

#[procession::test]
async fn preload_failure_is_the_cause_of_task_errors() {
    alone(
        "preload::preload_failure_is_the_cause_of_task_errors",
        async {
            for start in [StartMethod::ForkServer, StartMethod::Exec] {
                let panics = || -> () { panic!("no weights") };
                let why = cause(prepared().start_method(start).preload(panics, ())).await;
                assert!(
                    why.contains("the preload") && why.contains("no weights"),
                    "{why}"
                );
                let fails = || -> Result<(), String> { Err("no file".to_owned()) };
                let why = cause(prepared().start_method(start).preload(fails, ())).await;
                assert!(why.contains("the preload: no file"), "{why}");
            }
            let exits = || -> () { std::process::exit(7) };
            let why = cause(prepared().preload(exits, ())).await;
            assert!(why.contains('7'), "{why}");
            let aborts = || -> () { std::process::abort() };
            let why = cause(prepared().preload(aborts, ())).await;
            assert!(why.contains("the preload"), "{why}");
            let threads = || drop(std::thread::spawn(parked));
            let why = cause(prepared().preload(threads, ())).await;
            assert!(why.contains("threads"), "{why}");
        },
    )
    .await;
}

/// The end of the pool does not wait for the preload.
#[procession::test]
async fn preload_that_hangs_ends_with_its_pool() {
    alone("preload::preload_that_hangs_ends_with_its_pool", async {
        let before = children();
        let pool = prepared().preload(parked, ()).build().unwrap();
        let task = pool.spawn(|| 1, ());
        let is_new = |found: &ProcessInfo| before.iter().all(|it| it.pid != found.pid);
        until(|| children().iter().any(is_new)).await;
        within(pool.terminate()).await;
        assert!(!within(task).await.unwrap_err().started());
        until(|| !children().iter().any(is_new)).await;
    })
    .await;
}

#[procession::test]
async fn preload_may_use_threads_that_end() {
    let joins = || std::thread::spawn(|| ()).join().unwrap();
    let pool = prepared().preload(joins, ()).build().unwrap();
    assert_eq!(within(pool.run(|| 1, ())).await.unwrap(), 1);
}

#[procession::test]
async fn preload_runs_again_after_its_server_was_killed() {
    alone(
        "preload::preload_runs_again_after_its_server_was_killed",
        async {
            let pool = prepared().workers(1).preload(load, 10).build().unwrap();
            let look = || LOADED.get().unwrap().0;
            let before = within(pool.run(look, ())).await.unwrap();
            kill_if_running(before);
            let aborts = || -> () { std::process::abort() };
            assert!(within(pool.run(aborts, ())).await.unwrap_err().is_crashed());
            let after = within(pool.run(look, ())).await.unwrap();
            assert_ne!(before, after);
            within(pool.shutdown()).await;
        },
    )
    .await;
}

static ENDS: Mutex<Option<(Sender<u8>, Receiver<u8>)>> = Mutex::new(None);

/// Every process that is forked from the maker of a queue has both ends. Dropping them in one process does not
/// close the queue for the others.
#[procession::test]
async fn preload_may_make_a_queue_for_every_worker() {
    let make = || *ENDS.lock().unwrap() = Some(queue(4).unwrap());
    let pool = PoolBuilder::default().workers(2).preload(make, ());
    let pool = pool.start_method(StartMethod::ForkServer).build().unwrap();
    let forget = || drop(ENDS.lock().unwrap().take());
    within(pool.run(forget, ())).await.unwrap();
    let work = |notes: Notes| {
        notes.meet("both", "go on");
        let ends = ENDS.lock().unwrap();
        let (tx, rx) = ends.as_ref()?;
        Some(tx.try_send(1).is_ok() && rx.try_recv() == Ok(1))
    };
    let board = Board::new();
    let both = [0, 1].map(|_| pool.spawn(work, board.notes()));
    board.lines("both", 2).await;
    board.write("go on", 1);
    let mut found = Vec::new();
    for task in both {
        found.push(within(task).await.unwrap());
    }
    found.sort();
    assert_eq!(found, [None, Some(true)]);
}
