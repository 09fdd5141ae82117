//! `TaskSet`: tasks that belong together.

use std::collections::BTreeSet;

use futures::{FutureExt as _, StreamExt as _};
use procession::{ErrorKind, TaskSet};

use crate::deadline::{until, within};
use crate::leftovers::alone;
use crate::leftovers::processes::is_gone;
use crate::notes::Board;
use crate::pools::{idle, ready};
use crate::tasks::{busy, held, pid};
use crate::{SHORT, add};

#[procession::test]
async fn set_gives_each_outcome_once_as_tasks_end() {
    let board = Board::new();
    let pool = ready(2).await;
    let mut set = TaskSet::new(&pool);
    assert!(set.is_empty() && within(set.join_next()).await.is_none());
    set.spawn(held, (board.notes(), "here".to_owned()));
    set.spawn(|| -> u32 { panic!("at once") }, ());
    set.spawn(pid, ());
    assert_eq!(set.len(), 3);
    let (first, second) = (
        within(set.join_next()).await.unwrap(),
        within(set.join_next()).await.unwrap(),
    );
    // The two short tasks may run in different workers; the held one is the last in any case.
    assert_ne!(first.is_ok(), second.is_ok());
    assert!(set.join_next().now_or_never().is_none() && set.len() == 1);
    board.write("go", 1);
    within(set.join_next()).await.unwrap().unwrap();
    assert!(set.is_empty() && within(set.join_next()).await.is_none());
    let many: BTreeSet<u64> = (0..500).collect();
    let mut set = TaskSet::<u64>::new(&pool);
    for n in &many {
        set.spawn(add, (*n, 0));
    }
    let mut joined = BTreeSet::new();
    while let Some(sum) = within(set.join_next()).await {
        assert!(joined.insert(sum.unwrap()));
    }
    assert_eq!(joined, many);
}

#[procession::test]
async fn set_keeps_options_of_a_run_and_aborts_one_task() {
    let board = Board::new();
    let pool = ready(2).await;
    let mut set = TaskSet::new(&pool);
    set.spawn_run(pool.run(busy, board.notes()).timeout(SHORT));
    assert!(
        within(set.join_next())
            .await
            .unwrap()
            .unwrap_err()
            .is_timed_out()
    );
    // The first may have been killed before it left its note.
    let board = Board::new();
    let abort = set.spawn(busy, board.notes());
    board.lines("busy", 1).await;
    assert!(!abort.is_finished());
    abort.abort();
    assert!(
        within(set.join_next())
            .await
            .unwrap()
            .unwrap_err()
            .is_cancelled()
    );
}

#[procession::test]
async fn abort_all_and_shutdown_end_every_task() {
    let board = Board::new();
    let pool = ready(2).await;
    let mut set = TaskSet::new(&pool);
    for _ in 0..10 {
        set.spawn(busy, board.notes());
    }
    board.lines("busy", 2).await;
    set.abort_all();
    assert_eq!(set.len(), 10);
    while let Some(outcome) = within(set.join_next()).await {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    }
    set.spawn(busy, board.notes());
    within(set.shutdown()).await;
    assert!(set.is_empty());
    set.spawn(|| (), ());
    within(set.join_next()).await.unwrap().unwrap();
}

#[procession::test]
async fn dropped_set_aborts_all_its_tasks() {
    alone("task_set::dropped_set_aborts_all_its_tasks", async {
        let board = Board::new();
        let pool = ready(2).await;
        let mut set = TaskSet::new(&pool);
        for _ in 0..4 {
            set.spawn(busy, board.notes());
        }
        let victims = board.lines("busy", 2).await;
        drop(set);
        for victim in victims {
            until(|| is_gone(victim.parse().unwrap())).await;
        }
        idle(&pool).await;
        assert_eq!(pool.metrics().cancelled(), 4);
        within(pool.terminate()).await;
    })
    .await;
}

#[procession::test]
async fn set_is_a_source_of_results_in_a_select() {
    let pool = ready(1).await;
    let mut set = TaskSet::new(&pool);
    set.spawn(add, (1, 2));
    let mut ticks = futures::stream::repeat(());
    let sum = loop {
        tokio::select! {
            biased;
            Some(sum) = set.join_next() => break sum.unwrap(),
            _ = ticks.next() => tokio::task::yield_now().await,
        }
    };
    assert_eq!(sum, 3);
}
