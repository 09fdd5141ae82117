//! `Managed::read`: reads run beside each other, calls alone.

use std::time::Duration;

use futures::future::join_all;
use procession::{ErrorKind, Managed};

use crate::deadline::within;
use crate::leftovers::processes::kill;
use crate::list::{List, held, hold, length, list, pid, push};
use crate::notes::{Board, Notes};

async fn reads_beside_each_other(list: List) {
    let board = Board::new();
    within(list.call(push, 1)).await.unwrap();
    // All of them run before any of them may go on.
    let reads = hold(&list, &board, 20).await;
    assert_eq!(within(list.read(length, ())).await.unwrap(), 1);
    board.write("go", 1);
    for length in within(join_all(reads)).await {
        assert_eq!(length.unwrap(), 1);
    }
}

#[procession::test]
async fn reads_run_at_the_same_time() {
    reads_beside_each_other(list(false).await).await;
}

#[procession::test]
async fn reads_of_a_local_state_run_at_the_same_time() {
    reads_beside_each_other(within(Managed::local(Vec::new, ())).await.unwrap()).await;
}

#[procession::test]
async fn reads_of_several_processes_run_at_the_same_time() {
    async fn read(list: List, notes: Notes) -> usize {
        list.read(held, notes).await.unwrap()
    }
    let (list, board) = (list(false).await, Board::new());
    let here = hold(&list, &board, 2).await;
    let children: Vec<_> = (0..2)
        .map(|_| procession::spawn(read, (list.clone(), board.notes())))
        .collect();
    board.lines("reads", 4).await;
    board.write("go", 1);
    assert!(
        within(join_all(here))
            .await
            .into_iter()
            .all(|it| it.unwrap() == 0)
    );
    for child in children {
        assert_eq!(within(child).await.unwrap(), 0);
    }
}

#[procession::test]
async fn call_waits_for_the_reads_before_it_and_not_for_those_behind_it() {
    let (list, board) = (list(false).await, Board::new());
    let reads = hold(&list, &board, 3).await;
    let mut call = list.call(push, 1);
    assert!(futures::poll!(&mut call).is_pending());
    let mut behind: Vec<_> = (0..50).map(|_| list.read(length, ())).collect();
    for read in &mut behind {
        assert!(futures::poll!(read).is_pending());
    }
    board.write("go", 1);
    for length in within(join_all(reads)).await {
        assert_eq!(length.unwrap(), 0, "the call has waited");
    }
    assert_eq!(within(call).await.unwrap(), 1);
    for length in within(join_all(behind)).await {
        assert_eq!(length.unwrap(), 1, "the call was first");
    }
}

#[procession::test]
async fn call_behind_a_read_that_hangs_can_be_given_up() {
    let (list, board) = (list(false).await, Board::new());
    let reads = hold(&list, &board, 1).await;
    // It has its turn, and waits for the read.
    let mut first = list.call(push, 1);
    assert!(futures::poll!(&mut first).is_pending());
    let short = Duration::from_millis(20);
    let second = tokio::time::timeout(short, list.call(push, 2));
    assert!(second.await.is_err());
    let behind = tokio::time::timeout(short, list.read(length, ()));
    assert!(behind.await.is_err());
    board.write("go", 1);
    assert!(within(join_all(reads)).await.iter().all(Result::is_ok));
    assert_eq!(within(first).await.unwrap(), 1);
    let left = within(list.read(length, ())).await.unwrap();
    assert_eq!(left, 1, "a call that was given up has run");
}

#[procession::test]
async fn more_reads_than_may_run_are_all_answered() {
    let list = list(false).await;
    for round in 0..5_usize {
        let reads = (0..500).map(|_| list.read(length, ()));
        let (lengths, pushed) = futures::join!(join_all(reads), list.call(push, 1));
        assert!(lengths.into_iter().all(|it| it.unwrap() == round));
        assert_eq!(pushed.unwrap(), round + 1);
    }
}

#[procession::test]
async fn panic_in_a_read_is_an_error_of_its_caller() {
    let (list, board) = (list(false).await, Board::new());
    let reads = hold(&list, &board, 2).await;
    let panics = list.read(|_, ()| -> u32 { panic!("on purpose") }, ());
    let error = within(panics).await.unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "on purpose");
    assert!(
        error.started() && error.to_string().contains("managed_reads"),
        "{error}"
    );
    board.write("go", 1);
    assert!(
        within(join_all(reads))
            .await
            .into_iter()
            .all(|it| it.unwrap() == 0)
    );
    assert_eq!(within(list.call(push, 1)).await.unwrap(), 1);
}

#[procession::test]
async fn crash_in_a_read_fails_all_reads_that_run_with_its_cause() {
    for restart in [false, true] {
        let (list, board) = (list(restart).await, Board::new());
        let mut reads = hold(&list, &board, 3).await;
        reads.push(list.read(|_, ()| -> usize { std::process::abort() }, ()));
        for outcome in within(join_all(reads)).await {
            let error = outcome.unwrap_err();
            assert_eq!(
                (error.kind(), error.signal()),
                (ErrorKind::Crashed, Some(6))
            );
            let names_a_read =
                |text: String| text.contains("held") || text.contains("managed_reads");
            assert!(
                error.started() && names_a_read(error.to_string()),
                "{error}"
            );
        }
        let after = within(list.read(length, ())).await;
        assert_eq!(after.is_ok(), restart);
        assert_eq!(list.generation(), u64::from(restart));
    }
}

#[procession::test]
async fn killed_state_loses_what_ran_and_restarts() {
    let list = list(true).await;
    for round in 1..=5 {
        let board = Board::new();
        let victim = within(list.read(pid, ())).await.unwrap();
        let reads = hold(&list, &board, 5).await;
        // Both wait for the reads.
        let mut call = list.call(push, 1);
        assert!(futures::poll!(&mut call).is_pending());
        let mut behind = list.read(length, ());
        assert!(futures::poll!(&mut behind).is_pending());
        kill(victim);
        for outcome in within(join_all(reads)).await {
            let error = outcome.unwrap_err();
            assert_eq!(
                (error.kind(), error.signal()),
                (ErrorKind::Crashed, Some(9))
            );
            assert_eq!(error.pid(), Some(victim));
        }
        // The call had taken its turn, or not.
        let pushed = within(call).await;
        assert!(matches!(&pushed, Ok(1)) || pushed.unwrap_err().signal() == Some(9));
        assert!(within(behind).await.unwrap() <= 1);
        assert_eq!(list.generation(), round);
    }
}

#[procession::test]
async fn dropped_read_runs_to_its_end_and_costs_no_other() {
    let (list, board) = (list(false).await, Board::new());
    let before = within(list.read(pid, ())).await.unwrap();
    let mut reads = hold(&list, &board, 3).await;
    drop(reads.pop());
    let mut call = list.call(push, 1);
    assert!(futures::poll!(&mut call).is_pending());
    board.write("go", 1);
    assert!(
        within(join_all(reads))
            .await
            .into_iter()
            .all(|it| it.unwrap() == 0)
    );
    assert_eq!(within(call).await.unwrap(), 1);
    assert_eq!(within(list.read(pid, ())).await.unwrap(), before);
}

#[procession::test]
async fn large_values_and_descriptors_pass_as_those_of_calls() {
    let list = list(false).await;
    let long = vec![7_u8; 3 << 20];
    let back = list.read(|_, bytes: Vec<u8>| bytes, long.clone());
    assert_eq!(within(back).await.unwrap(), long);
    let file = list.read(|_, ()| procession::Descriptor(null()), ());
    let file = within(file).await.unwrap().into_inner();
    assert!(file.metadata().unwrap().len() == 0);
}

fn null() -> std::fs::File {
    std::fs::File::open("/dev/null").unwrap()
}

#[procession::test]
async fn state_that_is_not_sync_is_read_alone() {
    let cell = within(Managed::spawn(|| std::cell::Cell::new(1_u32), ()))
        .await
        .unwrap();
    let bump = |cell: &std::cell::Cell<u32>, n: u32| cell.replace(cell.get() + n);
    let reads = (0..50).map(|_| cell.read(bump, 1));
    let seen: Vec<_> = within(join_all(reads))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(seen.into_iter().eq(1..=50));
}

#[procession::test]
async fn last_handle_drops_the_state_after_its_reads() {
    let (list, board) = (list(false).await, Board::new());
    let reads = hold(&list, &board, 2).await;
    drop(list);
    board.write("go", 1);
    assert!(
        within(join_all(reads))
            .await
            .into_iter()
            .all(|it| it.unwrap() == 0)
    );
}
