//! `Pool::events`: what is told, in which order, and to whom.

use futures::StreamExt as _;
use procession::{JoinError, Pool, PoolEvent, PoolEvents, RecycleReason};

use crate::SHORT;
use crate::deadline::within;
use crate::leftovers::alone;
use crate::notes::{Board, Notes};
use crate::pools::{all_idle, pids};
use crate::tasks::{pid, spin};

/// The first event for which `wanted` gives something.
async fn first<T>(events: &mut PoolEvents, wanted: impl Fn(PoolEvent) -> Option<T>) -> T {
    loop {
        let event = within(events.next()).await.expect("the pool has not ended");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

fn exit(event: PoolEvent) -> Option<JoinError> {
    match event {
        PoolEvent::WorkerExited { cause, .. } => Some(cause),
        _ => None,
    }
}

#[procession::test]
async fn events_tell_how_workers_start_and_end() {
    let test = "events::events_tell_how_workers_start_and_end";
    alone(test, async {
        let pool = Pool::with_workers(1).unwrap();
        let mut events = pool.events();
        all_idle(&pool, 1).await;
        let before = within(pool.run(pid, ())).await.unwrap();
        within(pool.run(|| std::process::exit(3), ()))
            .await
            .unwrap_err();
        let cause = first(&mut events, exit).await;
        assert!(cause.is_exited() && cause.exit_code() == Some(3), "{cause}");
        assert_eq!(cause.pid(), Some(before));
        first(&mut events, |it| {
            matches!(it, PoolEvent::WorkerStarted).then_some(())
        })
        .await;
        within(pool.run(spin, ()).timeout(SHORT)).await.unwrap_err();
        first(&mut events, |it| {
            matches!(it, PoolEvent::TaskTimedOut).then_some(())
        })
        .await;
        let cause = first(&mut events, exit).await;
        assert!(cause.is_timed_out() && cause.signal() == Some(9), "{cause}");
        all_idle(&pool, 1).await;
        // Its start counts as failed before it has run a task.
        within(pool.run(pid, ())).await.unwrap();
        // An idle worker is killed from outside.
        let victim = pids(&pool).into_iter().next().unwrap();
        let victim = rustix::process::Pid::from_raw(victim as i32).unwrap();
        rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
        let cause = first(&mut events, exit).await;
        assert!(cause.is_crashed() && cause.signal() == Some(9), "{cause}");
        all_idle(&pool, 1).await;
        within(pool.shutdown()).await;
        let rest: Vec<_> = within(events.collect::<Vec<_>>()).await;
        let cause = rest.into_iter().find_map(exit).unwrap();
        assert!(cause.is_exited() && cause.exit_code() == Some(0), "{cause}");
        assert!(within(pool.events().next()).await.is_none());
    })
    .await;
}

#[procession::test]
async fn events_tell_that_a_worker_has_ended_because_its_initializer_failed() {
    let refuse = || -> Result<(), String> { Err("no database".to_owned()) };
    let pool = Pool::builder().workers(1).initializer(refuse, ());
    let pool = pool.build().unwrap();
    let mut events = pool.events();
    for _ in 0..2 {
        let cause = first(&mut events, exit).await;
        assert!(cause.is_spawn() && !cause.started(), "{cause:?}");
        assert!(cause.to_string().contains("no database"), "{cause}");
        assert!(cause.pid().is_some(), "{cause:?}");
    }
    within(pool.terminate()).await;
}

#[procession::test]
async fn events_tell_why_workers_are_recycled() {
    let pool = Pool::builder()
        .workers(1)
        .max_tasks_per_worker(1)
        .build()
        .unwrap();
    let mut events = pool.events();
    within(pool.run(pid, ())).await.unwrap();
    let why = |event| match event {
        PoolEvent::WorkerRecycled { why, .. } => Some(why),
        _ => None,
    };
    assert_eq!(first(&mut events, why).await, RecycleReason::MaxTasks);
    within(pool.restart_workers()).await;
    assert_eq!(first(&mut events, why).await, RecycleReason::Restarted);
}

#[procession::test]
async fn events_tell_when_the_breaker_opens_and_closes() {
    let board = Board::new();
    let fails = |notes: Notes| match notes.read("mended").is_empty() {
        true => Err("no licence".to_owned()),
        false => Ok(()),
    };
    let pool = Pool::builder()
        .workers(2)
        .initializer(fails, board.notes())
        .build()
        .unwrap();
    let mut events = pool.events();
    for _ in 0..2 {
        let error = within(pool.run(pid, ())).await.unwrap_err();
        assert!(
            error.is_spawn() && error.to_string().contains("no licence"),
            "{error}"
        );
    }
    assert!(pool.metrics().breaker_open());
    let opened = |event| match event {
        PoolEvent::BreakerOpened { cause, .. } => Some(cause),
        _ => None,
    };
    let cause = first(&mut events, opened).await;
    assert!(cause.to_string().contains("no licence"), "{cause}");
    board.write("mended", 1);
    first(&mut events, |it| {
        matches!(it, PoolEvent::BreakerClosed).then_some(())
    })
    .await;
    assert!(!pool.metrics().breaker_open());
    within(pool.run(pid, ())).await.unwrap();
}

#[procession::test]
async fn slow_reader_misses_events_and_blocks_nothing() {
    let pool = Pool::builder()
        .workers(1)
        .max_tasks_per_worker(1)
        .build()
        .unwrap();
    let mut events = pool.events();
    // Three events a worker.
    for _ in 0..500 {
        within(pool.run(pid, ())).await.unwrap();
    }
    let missed = |event| match event {
        PoolEvent::Missed(missed) => Some(missed),
        _ => None,
    };
    let missed = first(&mut events, missed).await;
    assert!((1..1500).contains(&missed), "{missed}");
    let mut other = pool.events();
    within(pool.run(pid, ())).await.unwrap();
    first(&mut other, |it| {
        matches!(it, PoolEvent::WorkerStarted).then_some(())
    })
    .await;
}
