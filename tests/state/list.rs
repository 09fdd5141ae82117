//! A list that lives in a process, and functions over it.

#![expect(clippy::ptr_arg, reason = "the state is a `Vec`")]

use procession::{Managed, ManagedCall};

use crate::deadline::within;
use crate::notes::{Board, Notes};

pub(crate) type List = Managed<Vec<u32>>;

pub(crate) async fn list(restart: bool) -> List {
    let builder = Managed::builder().restart(restart);
    within(builder.spawn(Vec::new, ())).await.unwrap()
}

pub(crate) fn push(list: &mut Vec<u32>, n: u32) -> usize {
    list.push(n);
    list.len()
}

pub(crate) fn length(list: &Vec<u32>, (): ()) -> usize {
    list.len()
}

pub(crate) fn pid(_: &Vec<u32>, (): ()) -> u32 {
    std::process::id()
}

/// Reads once the test says so.
pub(crate) fn held(list: &Vec<u32>, notes: Notes) -> usize {
    notes.meet("reads", "go");
    list.len()
}

/// Begins `count` reads that wait for the test.
pub(crate) async fn hold(list: &List, board: &Board, count: usize) -> Vec<ManagedCall<usize>> {
    let mut reads: Vec<_> = (0..count).map(|_| list.read(held, board.notes())).collect();
    for read in &mut reads {
        assert!(futures::poll!(read).is_pending());
    }
    board.lines("reads", count).await;
    reads
}
