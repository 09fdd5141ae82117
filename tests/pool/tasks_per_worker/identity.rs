//! What a task can ask about itself is of that task, not of another in its worker.

use std::collections::HashSet;

use futures::future::join_all;
use procession::current;
use procession::task::{seed, traceparent};

use super::{note, ready, several};
use crate::deadline::within;
use crate::notes::{Board, Notes};

#[procession::test]
async fn each_task_sees_its_own_id_and_trace() {
    let pool = ready(1, 8).await;
    let board = Board::new();
    let who = async |notes: Notes| {
        let before = (current().task_id().map(|it| it.to_string()), traceparent());
        notes.write("begun", 1);
        note(&notes, "go").await;
        let after = (current().task_id().map(|it| it.to_string()), traceparent());
        assert_eq!(before, after);
        before
    };
    let tasks = (0..8).map(|n| {
        let run = pool
            .run(who, board.notes())
            .traceparent(&format!("trace-{n}"));
        run.spawn()
    });
    let tasks: Vec<_> = tasks.collect();
    let ids: Vec<_> = tasks.iter().map(|it| it.id().to_string()).collect();
    board.lines("begun", 8).await;
    board.write("go", 1);
    for (n, outcome) in within(join_all(tasks)).await.into_iter().enumerate() {
        let (id, trace) = outcome.unwrap();
        assert_eq!(id.as_ref(), Some(&ids[n]));
        assert_eq!(trace, Some(format!("trace-{n}")));
    }
    assert_eq!(within(pool.run(traceparent, ())).await.unwrap(), None);
}

#[procession::test]
async fn seeds_are_those_of_a_worker_of_one_task() {
    let draw = async |_: u32| {
        tokio::task::yield_now().await;
        seed()
    };
    let one = several(1, 1).seed(7).build().unwrap();
    let many = several(1, 6).seed(7).build().unwrap();
    let expected = within(one.map(draw, 0..60)).await.unwrap();
    let seeds = within(many.map(draw, 0..60).chunk_size(1)).await.unwrap();
    assert_eq!(seeds, expected);
    assert_eq!(seeds.into_iter().collect::<HashSet<_>>().len(), 60);
}

#[procession::test]
async fn thread_of_a_lane_runs_one_task_at_a_time() {
    thread_local! {
        static INSIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    let alone = async |_: u32| {
        assert!(!INSIDE.replace(true));
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert!(INSIDE.replace(false));
    };
    let pool = ready(1, 4).await;
    within(pool.map(alone, 0..40).chunk_size(1)).await.unwrap();
}
