//! Calls: `run`, `spawn` and the handle of a task.

use futures::future::join_all;
use procession::Pool;

use crate::add;
use crate::deadline::{until, within};
use crate::notes::{Board, Notes};
use crate::pools::ready;
use crate::tasks::{held, pid};

async fn check_calls() {
    let pool = Pool::with_workers(2).unwrap();
    assert_eq!(within(pool.run(add, (1, 2))).await.unwrap(), 3);
    assert_eq!(within(pool.spawn(add, (3, 4))).await.unwrap(), 7);
    let doubled = async |n: u64| {
        tokio::task::yield_now().await;
        2 * n
    };
    assert_eq!(within(pool.run(doubled, 4)).await.unwrap(), 8);
    let many = join_all((0..200).map(|n| pool.run(|n: u64| n + 1, n)));
    let results: Vec<_> = within(many).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, (1..=200).collect::<Vec<_>>());
    assert_ne!(within(pool.run(pid, ())).await.unwrap(), pid());
}

#[procession::test]
async fn run_works_on_a_current_thread_runtime() {
    check_calls().await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_works_on_a_multi_thread_runtime() {
    check_calls().await;
}

#[procession::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_is_shared_by_many_tasks_and_threads() {
    let pool = Pool::with_workers(2).unwrap();
    let callers = (0..16_u64).map(|caller| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                assert_eq!(pool.run(add, (caller, n)).await.unwrap(), caller + n);
            }
        })
    });
    for caller in within(join_all(callers)).await {
        caller.unwrap();
    }
    assert_eq!(pool.metrics().completed(), 800);
}

#[procession::test]
async fn run_does_nothing_before_its_first_poll() {
    let board = Board::new();
    let pool = ready(1).await;
    let run = pool.run(|notes: Notes| notes.write("ran", 1), board.notes());
    within(pool.run(|| (), ())).await.unwrap();
    assert!(!board.has("ran"));
    drop(run);
    within(pool.run(|| (), ())).await.unwrap();
    assert!(!board.has("ran"));
    assert_eq!(pool.metrics().cancelled(), 0);
}

#[procession::test]
async fn task_handle_reports_the_finish_and_detaches_on_drop() {
    let board = Board::new();
    let pool = ready(1).await;
    let handle = pool.spawn(held, (board.notes(), "here".to_owned()));
    board.lines("here", 1).await;
    assert!(!handle.is_finished());
    board.write("go", 1);
    until(|| handle.is_finished()).await;
    within(handle).await.unwrap();
    drop(pool.spawn(|notes: Notes| notes.write("detached", 1), board.notes()));
    board.lines("detached", 1).await;
}

#[procession::test]
async fn task_handle_in_select_loses_nothing() {
    let board = Board::new();
    let pool = ready(1).await;
    let mut handle = pool.spawn(held, (board.notes(), "here".to_owned()));
    let mut run = pool.run(add, (1, 1));
    for _ in 0..3 {
        tokio::select! {
            biased;
            _ = &mut handle => panic!("the task has returned"),
            _ = &mut run => panic!("the only worker is busy"),
            () = tokio::task::yield_now() => {}
        }
    }
    board.write("go", 1);
    within(&mut handle).await.unwrap();
    assert_eq!(within(&mut run).await.unwrap(), 2);
}
