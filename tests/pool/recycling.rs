//! Workers that are replaced although nothing is wrong: after tasks, memory, age. Nothing is lost or reordered.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures::future::join_all;
use procession::{Pool, WorkerState};

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::pools::{all_idle, drained, pids};
use crate::tasks::{held, pid};
use crate::{assert_once_each, kinds};

const MEBI: usize = 1 << 20;

fn counts(pids: impl IntoIterator<Item = u32>) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for pid in pids {
        *counts.entry(pid).or_default() += 1;
    }
    counts
}

#[procession::test]
async fn max_tasks_per_worker_bounds_calls_and_items_of_maps() {
    let pool = Pool::builder()
        .workers(2)
        .max_tasks_per_worker(10)
        .build()
        .unwrap();
    let calls = join_all((0..200).map(|_| pool.run(pid, ())));
    let calls = within(calls).await.into_iter().map(Result::unwrap);
    let items = within(pool.map(|_: u32| std::process::id(), 0..1000))
        .await
        .unwrap();
    let counts = counts(calls.chain(items));
    assert!(counts.values().all(|&count| count <= 10), "{counts:?}");
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.completed(), metrics.failed(), metrics.crashed()),
        (1200, 0, 0)
    );
    assert!(metrics.recycled() >= 118, "{metrics:?}");
}

#[procession::test]
async fn recycled_single_worker_runs_its_tasks_in_order_and_one_at_a_time() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .max_tasks_per_worker(3)
        .build()
        .unwrap();
    let note = |notes: Notes, n: usize| {
        notes.write("ran", format!("begin {n}"));
        std::thread::sleep(Duration::from_millis(3));
        notes.write("ran", format!("end {n}"));
    };
    let calls: Vec<_> = (0..20)
        .map(|n| pool.spawn(note, (board.notes(), n)))
        .collect();
    for call in calls {
        within(call).await.unwrap();
    }
    let expected: Vec<_> = (0..20)
        .flat_map(|n| [format!("begin {n}"), format!("end {n}")])
        .collect();
    assert_eq!(board.read("ran"), expected);
    assert!(pool.metrics().recycled() >= 6);
}

#[procession::test]
async fn replacement_starts_while_the_last_task_runs() {
    let board = Board::new();
    let pool = Pool::builder()
        .workers(1)
        .max_tasks_per_worker(1)
        .build()
        .unwrap();
    let last = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    until(|| pids(&pool).len() == 2).await;
    // It waits, and does not count.
    let next = pool.spawn(pid, ());
    assert_eq!((pool.metrics().workers(), pool.metrics().busy()), (1, 1));
    board.write("go", 1);
    assert_ne!(within(last).await.unwrap(), within(next).await.unwrap());
}

#[procession::test]
async fn recycled_worker_takes_its_number_and_name_along() {
    let pool = Pool::builder()
        .workers(2)
        .max_tasks_per_worker(1)
        .name("thumbs")
        .build()
        .unwrap();
    let name = || procession::current().name().unwrap().to_owned();
    let names = within(join_all((0..40).map(|_| pool.run(name, ())))).await;
    let names: HashSet<_> = names.into_iter().map(Result::unwrap).collect();
    let expected = ["thumbs/0", "thumbs/1"].map(str::to_owned);
    assert!(names.is_subset(&HashSet::from(expected)), "{names:?}");
}

fn leak(bytes: usize) -> u32 {
    vec![1_u8; bytes].leak();
    pid()
}

fn use_for_a_moment(bytes: usize) -> u32 {
    drop(std::hint::black_box(vec![1_u8; bytes]));
    pid()
}

#[procession::test]
async fn max_worker_memory_replaces_the_worker_after_the_task_that_went_over() {
    for keeps in [true, false] {
        let pool = Pool::builder().workers(1).max_worker_memory(64 << 20);
        let pool = pool.build().unwrap();
        let first = within(pool.run(pid, ())).await.unwrap();
        assert_eq!(within(pool.run(leak, 8 * MEBI)).await.unwrap(), first);
        assert_eq!(within(pool.run(pid, ())).await.unwrap(), first);
        let over = match keeps {
            true => within(pool.run(leak, 100 * MEBI)).await,
            false => within(pool.run(use_for_a_moment, 100 * MEBI)).await,
        };
        assert_eq!(over.unwrap(), first);
        assert_ne!(within(pool.run(pid, ())).await.unwrap(), first);
        let metrics = pool.metrics();
        assert_eq!((metrics.recycled(), metrics.failed()), (1, 0));
    }
}

#[procession::test]
async fn max_worker_memory_does_not_count_what_the_preload_loaded_or_arguments_share() {
    static LOADED: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let load = |bytes: usize| drop(LOADED.set(vec![1; bytes]));
    // An executed worker runs the preload itself, so what it loads counts.
    let pool = Pool::builder()
        .workers(1)
        .start_method(procession::StartMethod::ForkServer)
        .preload(load, 100 * MEBI)
        .max_worker_memory(64 << 20);
    let pool = pool.build().unwrap();
    // A byte of each page.
    let sum = || {
        let bytes = LOADED.get().unwrap().iter().step_by(4096);
        (bytes.map(|&it| usize::from(it)).sum::<usize>(), pid())
    };
    let (_, first) = within(pool.run(sum, ())).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let summed = within(pool.run(sum, ())).await.unwrap();
        assert_eq!(summed, (100 * MEBI / 4096, first));
    }
    assert_eq!(pool.metrics().recycled(), 0);
}

#[procession::test]
async fn max_worker_age_replaces_idle_workers_each_at_its_time() {
    let pool = Pool::builder()
        .workers(3)
        .max_worker_age(Duration::from_millis(400))
        .build()
        .unwrap();
    all_idle(&pool, 3).await;
    let first = pids(&pool);
    until(|| pool.metrics().recycled() >= 6).await;
    all_idle(&pool, 3).await;
    assert!(pids(&pool).is_disjoint(&first));
    assert!(
        pool.workers()
            .iter()
            .all(|it| it.age() < Duration::from_secs(20))
    );
}

#[procession::test]
async fn old_worker_takes_tasks_until_its_replacement_is_ready() {
    let board = Board::new();
    let wait_in_replacements = |notes: Notes| {
        notes.write("init", pid());
        if notes.read("init").len() > 1 {
            notes.meet("waits", "go");
        }
    };
    let pool = Pool::builder()
        .workers(1)
        .max_worker_age(Duration::from_millis(300));
    let pool = pool
        .initializer(wait_in_replacements, board.notes())
        .build()
        .unwrap();
    let first = within(pool.run(pid, ())).await.unwrap();
    board.lines("waits", 1).await;
    assert_eq!(within(pool.run(pid, ())).await.unwrap(), first);
    board.write("go", 1);
    until(|| pool.workers().iter().all(|it| it.pid() != Some(first))).await;
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), first);
}

/// Recycling, kills and crashes at the same time.
#[procession::test]
async fn recycling_loses_no_task_while_workers_are_killed() {
    alone(
        "recycling::recycling_loses_no_task_while_workers_are_killed",
        async {
            let board = Board::new();
            let pool = Pool::builder()
                .workers(2)
                .max_tasks_per_worker(7)
                .max_worker_age(Duration::from_millis(50))
                .retries(100)
                .build()
                .unwrap();
            let note = |notes: Notes, n: usize| notes.write("ran", n);
            let calls: Vec<_> = (0..600)
                .map(|n| pool.spawn(note, (board.notes(), n)))
                .collect();
            for _ in 0..20 {
                if let Some(victim) = pids(&pool).into_iter().next() {
                    let victim = rustix::process::Pid::from_raw(victim as i32).unwrap();
                    let _ = rustix::process::kill_process(victim, rustix::process::Signal::KILL);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let outcomes = within(join_all(calls)).await;
            assert_eq!(kinds(&outcomes), vec![None; 600]);
            let ran: HashSet<_> = board.read("ran").into_iter().collect();
            assert_eq!(ran.len(), 600);
            // Workers are hardly ever all idle: each lives for 50 ms, and its start may take as long.
            until(|| pool.metrics().queued() == 0 && pool.metrics().running() == 0).await;
            within(pool.shutdown()).await;
        },
    )
    .await;
}

#[procession::test]
async fn restart_workers_replaces_each_once_and_loses_nothing() {
    let board = Board::new();
    let pool = Pool::builder().workers(3).build().unwrap();
    all_idle(&pool, 3).await;
    let before = pids(&pool);
    let note = |notes: Notes, n: usize| {
        std::thread::sleep(Duration::from_millis(1));
        notes.write("ran", n);
    };
    let calls: Vec<_> = (0..300)
        .map(|n| pool.spawn(note, (board.notes(), n)))
        .collect();
    within(pool.restart_workers()).await;
    until(|| pids(&pool).is_disjoint(&before)).await;
    let outcomes = within(join_all(calls)).await;
    assert_eq!(kinds(&outcomes), vec![None; 300]);
    assert_once_each(&board.notes(), "ran", 300);
    drained(&pool).await;
    all_idle(&pool, 3).await;
    assert_eq!(pool.metrics().recycled(), 3);
}

#[procession::test]
async fn restart_workers_waits_for_the_task_that_runs() {
    let board = Board::new();
    let pool = Pool::builder().workers(1).build().unwrap();
    let call = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    let mut restart = pool.restart_workers();
    until(|| pids(&pool).len() == 2).await;
    let early = tokio::time::timeout(Duration::from_millis(50), &mut restart).await;
    assert!(early.is_err());
    board.write("go", 1);
    let first = within(call).await.unwrap();
    within(restart).await;
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), first);
    // At the end of a pool it resolves too.
    let restart = pool.restart_workers();
    within(pool.terminate()).await;
    within(restart).await;
    within(pool.restart_workers()).await;
}

#[procession::test]
async fn restart_workers_ends_when_no_replacement_can_start() {
    let board = Board::new();
    let fail_later = |notes: Notes| -> Result<(), String> {
        notes.write("init", pid());
        match notes.read("init").len() {
            1 => Ok(()),
            _ => Err("no more licences".to_owned()),
        }
    };
    let pool = Pool::builder()
        .workers(1)
        .initializer(fail_later, board.notes())
        .build()
        .unwrap();
    let first = within(pool.run(pid, ())).await.unwrap();
    within(pool.restart_workers()).await;
    assert_eq!(within(pool.run(pid, ())).await.unwrap(), first);
    let states: Vec<_> = pool
        .workers()
        .iter()
        .map(procession::WorkerInfo::state)
        .collect();
    assert!(states.contains(&WorkerState::Idle), "{states:?}");
}
