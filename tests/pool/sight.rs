//! `Pool::metrics` beyond the counts, and `Pool::workers`: what each worker does, and for how long.

use std::time::Duration;

use futures::future::join_all;
use procession::{Pool, WorkerState};

use crate::deadline::{until, within};
use crate::notes::Board;
use crate::pools::{all_idle, drained, ready};
use crate::tasks::{held, pid};

fn sleep(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

#[procession::test]
async fn histograms_tell_how_long_tasks_waited_and_ran() {
    let pool = ready(1).await;
    assert_eq!(pool.metrics().run_time().max(), Duration::ZERO);
    for millis in [40, 20, 60] {
        within(pool.run(sleep, millis)).await.unwrap();
    }
    let run = pool.metrics().run_time();
    assert_eq!(run.count(), 3);
    let long = Duration::from_secs(5);
    let at_least = |time: Duration, millis| time >= Duration::from_millis(millis) && time < long;
    assert!(
        at_least(run.min(), 20) && run.min() <= run.percentile(1.0),
        "{run:?}"
    );
    assert!(
        at_least(run.percentile(50.0), 40) && run.percentile(50.0) <= run.max(),
        "{run:?}"
    );
    assert!(
        at_least(run.max(), 60) && at_least(run.mean(), 40),
        "{run:?}"
    );
    assert_eq!(pool.metrics().wait_time().count(), 3);
    let waits: Vec<_> = (0..2).map(|_| pool.spawn(sleep, 50)).collect();
    within(join_all(waits)).await;
    assert!(pool.metrics().wait_time().max() >= Duration::from_millis(45));
}

#[procession::test]
async fn utilisation_is_the_share_of_time_in_which_workers_ran() {
    let board = Board::new();
    let pool = ready(2).await;
    assert!(pool.metrics().utilisation() < 0.2);
    let call = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    // One of two workers runs, also before its task has ended.
    until(|| pool.metrics().utilisation() > 0.3).await;
    assert!(pool.metrics().utilisation() <= 0.5);
    board.write("go", 1);
    within(call).await.unwrap();
    let then = pool.metrics().utilisation();
    assert!(then > 0.25, "{then}");
    until(|| pool.metrics().utilisation() < then / 2.0).await;
}

#[procession::test]
async fn utilisation_of_a_pool_that_kills_its_tasks_is_high() {
    let pool = ready(1).await;
    for _ in 0..5 {
        let call = pool.run(sleep, 60_000).timeout(Duration::from_millis(100));
        assert!(within(call).await.unwrap_err().is_timed_out());
    }
    let found = pool.metrics().utilisation();
    assert!(found > 0.2 && found <= 1.0, "{found}");
}

#[procession::test]
async fn workers_tell_what_they_run_and_for_how_long() {
    let board = Board::new();
    let pool = Pool::builder().workers(2).name("thumbs").build().unwrap();
    all_idle(&pool, 2).await;
    let infos = pool.workers();
    let mut numbers: Vec<_> = infos.iter().map(procession::WorkerInfo::number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1]);
    assert!(
        infos
            .iter()
            .all(|it| it.running_for().is_none() && it.current_function().is_none())
    );
    let call = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    let busy = || {
        let workers = pool.workers().into_iter();
        workers
            .filter(|it| it.state() == WorkerState::Busy)
            .collect::<Vec<_>>()
    };
    let [info] = &busy()[..] else {
        panic!("one worker is busy")
    };
    assert_eq!(info.current_task(), Some(call.id()));
    assert!(
        info.current_function().unwrap().ends_with("tasks::held"),
        "{info:?}"
    );
    let earlier = info.running_for().unwrap();
    until(|| busy()[0].running_for().unwrap() > earlier + Duration::from_millis(20)).await;
    assert!(busy()[0].running_for().unwrap() <= busy()[0].age());
    board.write("go", 1);
    let ran_in = within(call).await.unwrap();
    drained(&pool).await;
    let done = pool
        .workers()
        .into_iter()
        .find(|it| it.pid() == Some(ran_in))
        .unwrap();
    assert_eq!((done.tasks_done(), done.running_for()), (1, None));
    assert!(done.memory() > 0);
    within(pool.run(pid, ())).await.unwrap();
}

#[procession::test]
async fn queued_bytes_are_those_of_arguments_that_wait() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    assert_eq!(pool.metrics().queued_bytes(), 0);
    let waiting: Vec<_> = (0..20)
        .map(|_| pool.spawn(crate::echo, crate::made(1, 1000)))
        .collect();
    let queued = pool.metrics().queued_bytes();
    assert!((10_000..30_000).contains(&queued), "{queued}");
    board.write("go", 1);
    within(join_all(waiting)).await;
    within(first).await.unwrap();
    assert_eq!(pool.metrics().queued_bytes(), 0);
}
