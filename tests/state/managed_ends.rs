//! `Managed`: the end of its process, of its handles, and its restart.

use std::time::Duration;

use futures::future::join_all;
use procession::{ErrorKind, Managed};

use crate::deadline::within;
use crate::leftovers::alone;
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};
use crate::{Document, open, reads};

fn pid(_: &mut Document, (): ()) -> u32 {
    std::process::id()
}

async fn documents(board: &Board, restart: bool) -> Managed<Document> {
    let builder = Managed::builder().restart(restart);
    within(builder.spawn(open, board.notes())).await.unwrap()
}

#[procession::test]
async fn state_is_dropped_with_its_last_handle() {
    let board = Board::new();
    let document = documents(&board, false).await;
    let other = document.clone();
    drop(document);
    assert_eq!(within(other.call(|it, ()| reads(it), ())).await.unwrap(), 1);
    assert!(!board.has("closed"));
    drop(other);
    assert_eq!(board.lines("closed", 1).await, ["1"]);
}

#[procession::test]
async fn death_of_the_process_is_an_error_for_all() {
    let board = Board::new();
    let document = documents(&board, false).await;
    let victim = within(document.call(pid, ())).await.unwrap();
    let held = |_: &mut Document, notes: Notes| notes.meet("runs", "never");
    let mut running = document.call(held, board.notes());
    assert!(futures::poll!(&mut running).is_pending());
    let mut waiting = document.call(pid, ());
    assert!(futures::poll!(&mut waiting).is_pending());
    board.lines("runs", 1).await;
    kill(victim);
    let error = within(running).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.signal()),
        (ErrorKind::Crashed, Some(9))
    );
    assert!(error.started());
    for call in [
        waiting,
        document.call(pid, ()),
        document.clone().call(pid, ()),
    ] {
        let error = within(call).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.signal()),
            (ErrorKind::Crashed, Some(9)),
            "{error}"
        );
        assert!(!error.started());
    }
    assert_eq!(document.generation(), 0);
}

#[procession::test]
async fn death_of_an_idle_process_is_an_error_for_all() {
    let board = Board::new();
    let document = documents(&board, false).await;
    kill(within(document.call(pid, ())).await.unwrap());
    let error = within(document.call(pid, ())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Crashed, "{error}");
}

#[procession::test]
async fn restart_makes_the_state_anew_and_goes_on() {
    let board = Board::new();
    let document = documents(&board, true).await;
    let victim = within(document.call(pid, ())).await.unwrap();
    let held = |_: &mut Document, notes: Notes| notes.meet("runs", "never");
    let mut running = document.call(held, board.notes());
    assert!(futures::poll!(&mut running).is_pending());
    let mut waiting: Vec<_> = (0..50)
        .map(|_| document.call(|it, ()| reads(it), ()))
        .collect();
    for call in &mut waiting {
        assert!(futures::poll!(call).is_pending());
    }
    board.lines("runs", 1).await;
    assert_eq!(document.generation(), 0);
    kill(victim);
    assert!(within(running).await.unwrap_err().is_crashed());
    let counts: Vec<_> = within(join_all(waiting))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(
        counts.into_iter().eq(1..=50),
        "the state is new, the order is old"
    );
    assert_eq!(document.generation(), 1);
    assert_eq!(board.read("opened").len(), 2);
}

#[procession::test]
async fn state_that_is_killed_again_and_again_loses_only_what_runs() {
    let board = Board::new();
    let document = documents(&board, true).await;
    for round in 1..=10 {
        let exit = document.call(|_, ()| -> u32 { std::process::abort() }, ());
        let calls = (0..20).map(|_| document.call(|it, ()| reads(it), ()));
        let (exit, calls) = futures::join!(within(exit), within(join_all(calls)));
        assert!(exit.unwrap_err().is_crashed());
        let counts: Vec<_> = calls.into_iter().map(Result::unwrap).collect();
        assert!(counts.into_iter().eq(1..=20));
        assert_eq!(document.generation(), round);
    }
}

#[procession::test]
async fn managed_state_leaves_nothing_behind() {
    alone("managed_ends::managed_state_leaves_nothing_behind", async {
        let board = Board::new();
        for restart in [false, true] {
            let document = documents(&board, restart).await;
            kill(within(document.call(pid, ())).await.unwrap());
            let after = within(document.call(pid, ())).await;
            assert_eq!(after.is_ok(), restart);
            // Of a state that is `Sync`, so on a thread of its own.
            let number: Managed<u32> = within(Managed::spawn(|| 7, ())).await.unwrap();
            assert_eq!(within(number.read(|n, ()| *n, ())).await.unwrap(), 7);
            let elsewhere =
                async |document: Managed<Document>| document.call(pid, ()).await.is_ok();
            let there = within(procession::spawn(elsewhere, document.clone())).await;
            assert_eq!(there.unwrap(), restart);
        }
        board.lines("closed", 1).await;
    })
    .await;
}

#[procession::test]
async fn dropped_spawn_ends_the_process() {
    let board = Board::new();
    let slow = |notes: Notes| {
        notes.write("pid", std::process::id());
        std::thread::sleep(Duration::from_secs(600));
        open(notes)
    };
    let spawn = Managed::spawn(slow, board.notes());
    let started: u32 = board.lines("pid", 1).await[0].parse().unwrap();
    drop(spawn);
    let gone = || {
        rustix::process::test_kill_process(rustix::process::Pid::from_raw(started as i32).unwrap())
            .is_err()
    };
    crate::deadline::until(gone).await;
}
