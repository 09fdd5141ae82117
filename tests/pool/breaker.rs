//! Workers that cannot start, or die with nothing to do: whose fault it is, and that the pool heals.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use procession::{Pool, PoolEvent, PoolEvents, StartMethod, WorkerInfo, WorkerState};

use crate::asleep::wait_for_process;
use crate::deadline::{until, within};
use crate::notes::{Board, Notes};
use crate::pools::{all_idle, idle, pids};
use crate::tasks::pid;

fn kill(victim: u32) {
    let victim = rustix::process::Pid::from_raw(victim as i32).unwrap();
    let _ = rustix::process::kill_process(victim, rustix::process::Signal::KILL);
}

#[procession::test]
async fn worker_killed_while_idle_fails_nothing_and_is_replaced() {
    let pool = Pool::with_workers(2).unwrap();
    for _ in 0..20 {
        all_idle(&pool, 2).await;
        let victims = pids(&pool);
        victims.iter().copied().for_each(kill);
        until(|| pids(&pool).is_disjoint(&victims)).await;
    }
    assert!(!pool.metrics().breaker_open());
    within(pool.run(pid, ())).await.unwrap();
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.failed(), metrics.crashed(), metrics.completed()),
        (0, 0, 1)
    );
}

#[procession::test]
async fn idle_pool_grows_back_when_workers_can_start_again() {
    let directory = std::env::temp_dir().join(format!("procession-breaker-{}", pid()));
    let pool = Pool::builder().workers(3).current_dir(&directory);
    let pool = pool.build().unwrap();
    until(|| pool.metrics().breaker_open()).await;
    std::fs::create_dir(&directory).unwrap();
    all_idle(&pool, 3).await;
    assert!(!pool.metrics().breaker_open());
    within(pool.terminate()).await;
    std::fs::remove_dir(&directory).unwrap();
}

/// Every worker ends a moment after it has become idle.
fn end_soon() {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(5));
        std::process::abort();
    });
}

#[procession::test]
async fn workers_that_all_die_idle_are_not_started_for_ever() {
    let board = Board::new();
    let end_soon_and_tell = |notes: Notes| {
        notes.write("started", pid());
        end_soon();
    };
    let pool = Pool::builder()
        .workers(2)
        .initializer(end_soon_and_tell, board.notes());
    let pool = pool.build().unwrap();
    let begun = Instant::now();
    let is_open = || pool.metrics().breaker_open();
    until(|| is_open() || begun.elapsed() > Duration::from_secs(15)).await;
    if !is_open() {
        // A machine under load starts fewer than the hundred in ten seconds that open it.
        let (started, taken) = (board.read("started").len(), begun.elapsed());
        let most = 100 * (1 + taken.as_secs() as usize / 10);
        assert!(started <= most, "{started} workers in {taken:?}");
        within(pool.terminate()).await;
        return;
    }
    let (begun, then) = (Instant::now(), board.read("started").len());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = board.read("started").len() - then;
    let taken = begun.elapsed();
    // A machine under load sleeps longer.
    let most = 4 + 2 * taken.as_secs() as usize;
    assert!(started <= most, "{started} workers in {taken:?}");
    within(pool.terminate()).await;
}

#[procession::test]
async fn worker_killed_while_it_starts_fails_no_task() {
    let board = Board::new();
    let wait_in_the_first = |notes: Notes| {
        notes.write("init", pid());
        if notes.read("init").len() <= 2 {
            std::thread::sleep(Duration::from_secs(600));
        }
    };
    let pool = Pool::builder()
        .workers(1)
        .initializer(wait_in_the_first, board.notes());
    let pool = pool.build().unwrap();
    let calls: Vec<_> = (0..10).map(|_| pool.spawn(pid, ())).collect();
    for count in 1..=2 {
        let lines = board.lines("init", count).await;
        kill(lines[count - 1].parse().unwrap());
    }
    assert!(within(join_all(calls)).await.iter().all(Result::is_ok));
}

/// Kills every worker that runs nothing, until so many were killed while they started.
async fn kill_starting(pool: &Pool, count: usize) {
    let (mut killed, mut starting) = (HashSet::new(), 0);
    while starting < count {
        for info in pool.workers() {
            let victim = info.pid().filter(|_| info.state() != WorkerState::Busy);
            if let Some(victim) = victim.filter(|it| killed.insert(*it)) {
                kill(victim);
                starting += usize::from(info.state() == WorkerState::Starting);
            }
        }
        // The runtime has only this thread: the pool works while this task yields.
        tokio::task::yield_now().await;
    }
}

/// More starts than may fail by themselves.
const MANY: usize = 30;

#[procession::test]
async fn workers_killed_again_and_again_while_they_start_fail_no_task_that_waits() {
    for method in [StartMethod::ForkServer, StartMethod::Exec] {
        let pool = Pool::builder().workers(2).start_method(method);
        let pool = pool.build().unwrap();
        let calls: Vec<_> = (0..10).map(|_| pool.spawn(pid, ())).collect();
        within(kill_starting(&pool, MANY)).await;
        for outcome in within(join_all(calls)).await {
            // Its worker may have become ready, and begun it, a moment before it was killed.
            let fate = outcome.map_or_else(|error| error.signal(), |_| Some(9));
            assert_eq!(fate, Some(9));
        }
        assert!(!pool.metrics().breaker_open());
        all_idle(&pool, 2).await;
        within(pool.terminate()).await;
    }
}

#[procession::test]
async fn starts_that_are_all_killed_fail_the_tasks_that_wait() {
    let pool = Pool::builder().workers(2).initializer(|| kill(pid()), ());
    let pool = pool.build().unwrap();
    let calls: Vec<_> = (0..10).map(|_| pool.spawn(pid, ())).collect();
    for outcome in within(join_all(calls)).await {
        let error = outcome.unwrap_err();
        assert!(error.is_spawn() && !error.started(), "{error}");
        assert_eq!(error.signal(), Some(9), "{error}");
        assert!(error.to_string().contains("the initializer"), "{error}");
    }
    assert!(pool.metrics().breaker_open());
    within(pool.terminate()).await;
}

/// How the next worker has exited.
async fn next_exit(events: &mut PoolEvents) -> procession::JoinError {
    loop {
        if let PoolEvent::WorkerExited { cause } = within(events.next()).await.unwrap() {
            return cause;
        }
    }
}

#[procession::test]
async fn worker_shown_as_idle_has_started() {
    for method in [StartMethod::ForkServer, StartMethod::Exec] {
        let pool = Pool::builder().workers(1).start_method(method);
        let pool = pool.build().unwrap();
        let mut events = pool.events();
        for _ in 0..MANY {
            let idle = || {
                let infos = pool.workers();
                let mut idle = infos.iter().filter(|it| it.state() == WorkerState::Idle);
                idle.find_map(WorkerInfo::pid)
            };
            let first_idle = async {
                loop {
                    match idle() {
                        Some(worker) => break worker,
                        None => tokio::task::yield_now().await,
                    }
                }
            };
            let worker = within(first_idle).await;
            kill(worker);
            let cause = next_exit(&mut events).await;
            assert!(cause.is_crashed(), "{cause:?}");
            assert_eq!((cause.pid(), cause.signal()), (Some(worker), Some(9)));
        }
        within(pool.terminate()).await;
    }
}

#[procession::test]
async fn worker_killed_after_it_has_sent_its_result_fails_nothing() {
    let board = Board::new();
    let pool = Pool::with_workers(1).unwrap();
    let note = |notes: Notes| {
        notes.write("ran", pid());
        pid()
    };
    for count in 1..=5 {
        let call = pool.spawn(note, board.notes());
        let ran_in = board.lines("ran", count).await[count - 1].parse().unwrap();
        // The runtime has only this thread: the pool looks at the result when the worker is dead. A worker that sleeps has
        // sent it.
        wait_for_process(ran_in);
        kill(ran_in);
        assert_eq!(within(call).await.unwrap(), ran_in);
        until(|| !pids(&pool).contains(&ran_in)).await;
    }
    let metrics = pool.metrics();
    assert_eq!(
        (metrics.completed(), metrics.failed(), metrics.crashed()),
        (5, 0, 0)
    );
}

#[procession::test]
async fn worker_killed_during_shutdown_fails_only_its_task() {
    let board = Board::new();
    let pool = Pool::with_workers(2).unwrap();
    idle(&pool).await;
    let victim = pool.spawn(crate::tasks::busy, board.notes());
    let other = pool.spawn(crate::tasks::held, (board.notes(), "here".to_owned()));
    let lines = board.lines("busy", 1).await;
    board.lines("here", 1).await;
    let shutdown = pool.shutdown();
    kill(lines[0].parse().unwrap());
    let error = within(victim).await.unwrap_err();
    assert!(
        error.is_crashed() && error.started() && error.signal() == Some(9),
        "{error}"
    );
    board.write("go", 1);
    within(other).await.unwrap();
    within(shutdown).await;
}
