//! `Managed`: handles in other processes.

use futures::future::join_all;
use procession::{Managed, Pool};

use crate::deadline::within;
use crate::notes::{Board, Notes};
use crate::{Document, open, reads};

type List = Managed<Vec<u32>>;

fn push(list: &mut Vec<u32>, n: u32) -> usize {
    list.push(n);
    list.len()
}

async fn list() -> List {
    within(Managed::spawn(Vec::new, ())).await.unwrap()
}

async fn push_all(list: List, from: u32, count: u32) {
    let calls = (from..from + count).map(|n| list.call(push, n));
    for outcome in join_all(calls).await {
        outcome.unwrap();
    }
}

#[procession::test]
async fn workers_share_a_state_and_keep_their_order() {
    let list = list().await;
    let pool = Pool::with_workers(3).unwrap();
    let runs = (0..6).map(|n| pool.run(push_all, (list.clone(), 10_000 * n, 300)));
    for outcome in within(join_all(runs)).await {
        outcome.unwrap();
    }
    let all = within(list.read(|list, ()| list.clone(), ()))
        .await
        .unwrap();
    assert_eq!(all.len(), 1800);
    for n in 0..6 {
        let own = all.iter().filter(|it| **it / 10_000 == n);
        assert!(own.copied().eq(10_000 * n..10_000 * n + 300));
    }
}

#[procession::test]
async fn handles_pass_through_queues_and_grandchildren() {
    async fn child(list: List) -> usize {
        procession::spawn(grandchild, list).await.unwrap()
    }
    async fn grandchild(list: List) -> usize {
        list.call(push, 2).await.unwrap()
    }
    let list = list().await;
    within(list.call(push, 1)).await.unwrap();
    assert_eq!(
        within(procession::spawn(child, list.clone()))
            .await
            .unwrap(),
        2
    );
    let (tx, rx) = procession::queue::<List>(4).unwrap();
    within(tx.send(list)).await.unwrap();
    let back = within(rx.recv()).await.unwrap();
    assert_eq!(within(back.call(push, 3)).await.unwrap(), 3);
}

#[procession::test]
async fn errors_travel_with_their_cause() {
    async fn errors(list: List) -> [String; 2] {
        let panics = list.call(|_, ()| -> u32 { panic!("on purpose") }, ()).await;
        let panics = panics.unwrap_err();
        assert!(panics.is_panic() && panics.started());
        let dies = list
            .call(|_, ()| -> u32 { std::process::abort() }, ())
            .await;
        let dies = dies.unwrap_err();
        assert!(dies.is_crashed() && dies.signal() == Some(6));
        let after = list.call(push, 1).await.unwrap_err();
        assert!(after.is_crashed() && !after.started());
        [panics.to_string(), dies.to_string()]
    }
    let [panics, dies] = within(procession::spawn(errors, list().await))
        .await
        .unwrap();
    assert!(
        panics.contains("errors") && panics.contains("on purpose"),
        "{panics}"
    );
    assert!(
        dies.contains("errors") && dies.contains("SIGABRT"),
        "{dies}"
    );
}

#[procession::test]
async fn state_lives_as_long_as_a_handle_elsewhere() {
    async fn keep(document: Managed<Document>, notes: Notes) -> u32 {
        let wait = tokio::task::spawn_blocking({
            let notes = notes.clone();
            move || notes.meet("has", "go")
        });
        wait.await.unwrap();
        document.call(|it, ()| reads(it), ()).await.unwrap()
    }
    let board = Board::new();
    let document: Managed<Document> = within(Managed::spawn(open, board.notes())).await.unwrap();
    let child = procession::spawn(keep, (document, board.notes()));
    board.lines("has", 1).await;
    assert!(!board.has("closed"));
    board.write("go", 1);
    assert_eq!(within(child).await.unwrap(), 1);
    assert_eq!(board.lines("closed", 1).await, ["1"]);
}

#[procession::test]
async fn killed_caller_costs_only_its_own_calls() {
    async fn flood(list: List, notes: Notes) {
        notes.write("floods", std::process::id());
        loop {
            let calls = (0..100).map(|n| list.call(push, n));
            join_all(calls).await;
        }
    }
    let list = list().await;
    for _ in 0..10 {
        let board = Board::new();
        let child = procession::spawn(flood, (list.clone(), board.notes()));
        board.lines("floods", 1).await;
        within(list.call(push, 0)).await.unwrap();
        child.abort();
        assert!(within(child).await.is_err());
        let length = within(list.call(push, 0)).await.unwrap();
        assert!(length > 0);
    }
}

#[procession::test]
async fn state_ends_with_the_process_that_has_made_it() {
    async fn make() -> List {
        Managed::spawn(|| vec![1], ()).await.unwrap()
    }
    let orphan = within(procession::spawn(make, ())).await.unwrap();
    let error = within(orphan.call(push, 1)).await.unwrap_err();
    assert!(error.is_crashed(), "{error}");
    let pool = Pool::with_workers(1).unwrap();
    let alive = within(pool.run(make, ())).await.unwrap();
    assert_eq!(within(alive.call(push, 1)).await.unwrap(), 2);
    within(pool.run(|| std::process::abort(), ()))
        .await
        .unwrap_err();
    let error = within(alive.call(push, 1)).await.unwrap_err();
    assert!(error.is_crashed(), "{error}");
}
