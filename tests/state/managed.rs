//! `Managed`: what can be called, and in which order.

use std::collections::HashMap;

use futures::future::join_all;
use procession::{ErrorKind, Managed};

use crate::deadline::within;
use crate::notes::Board;
use crate::{Document, open, reads, words_of};

fn push(list: &mut Vec<u32>, n: u32) -> usize {
    list.push(n);
    list.len()
}

#[procession::test]
async fn closures_and_functions_are_called_with_the_state() {
    let cache: Managed<HashMap<String, u32>> =
        within(Managed::spawn(HashMap::new, ())).await.unwrap();
    let none = cache.call(|map, key: String| map.get(&key).copied(), "k".into());
    assert_eq!(within(none).await.unwrap(), None);
    let put = cache.call(
        |map, (key, n): (String, u32)| map.insert(key, n),
        ("k".into(), 7),
    );
    assert_eq!(within(put).await.unwrap(), None);
    let some = cache.read(|map, key: String| map.get(&key).copied(), "k".into());
    assert_eq!(within(some).await.unwrap(), Some(7));
    assert_eq!(
        within(cache.read(|map, ()| map.len(), ())).await.unwrap(),
        1
    );

    let list: Managed<Vec<u32>> = within(Managed::spawn(Vec::new, ())).await.unwrap();
    assert_eq!(within(list.call(push, 3)).await.unwrap(), 1);
    assert_eq!(
        within(list.call(Vec::<u32>::remove_first, ()))
            .await
            .unwrap(),
        Some(3)
    );
}

trait RemoveFirst {
    fn remove_first(&mut self, _: ()) -> Option<u32>;
}

impl RemoveFirst for Vec<u32> {
    fn remove_first(&mut self, (): ()) -> Option<u32> {
        (!self.is_empty()).then(|| self.remove(0))
    }
}

#[procession::test]
async fn state_need_not_be_send_or_serialisable() {
    let board = Board::new();
    let document: Managed<Document> = within(Managed::spawn(open, board.notes())).await.unwrap();
    assert_eq!(within(document.read(words_of, 1)).await.unwrap(), 2);
    assert_eq!(
        within(document.call(|document, ()| reads(document), ()))
            .await
            .unwrap(),
        1
    );
    let pid = within(document.call(|_, ()| std::process::id(), ()))
        .await
        .unwrap();
    assert_eq!(board.read("opened"), [pid.to_string()]);
    assert_ne!(pid, std::process::id());
}

#[procession::test]
async fn open_may_be_async_and_fail() {
    let later = async |n: u32| -> Result<Vec<u32>, String> {
        tokio::task::yield_now().await;
        Ok(vec![n])
    };
    let list: Managed<Vec<u32>> = within(Managed::spawn(later, 5)).await.unwrap();
    assert_eq!(within(list.read(|list, ()| list[0], ())).await.unwrap(), 5);
}

#[procession::test]
async fn calls_are_begun_in_the_order_of_their_first_polls() {
    let list: Managed<Vec<u32>> = within(Managed::spawn(Vec::new, ())).await.unwrap();
    // More than may be under way.
    let calls = (0..3000).map(|n| list.call(push, n));
    let lengths = within(join_all(calls)).await;
    let lengths: Vec<_> = lengths.into_iter().map(Result::unwrap).collect();
    assert!(lengths.into_iter().eq(1..=3000));
    let all = within(list.read(|list, ()| list.clone(), ()))
        .await
        .unwrap();
    assert!(all.into_iter().eq(0..3000));
}

#[procession::test]
async fn panic_is_an_error_of_its_caller_and_the_state_stays() {
    let list: Managed<Vec<u32>> = within(Managed::spawn(Vec::new, ())).await.unwrap();
    within(list.call(push, 1)).await.unwrap();
    let panics = list.call(
        |list, ()| -> u32 {
            list.push(2);
            panic!("on purpose")
        },
        (),
    );
    let (error, length) = futures::join!(within(panics), within(list.call(push, 3)));
    let error = error.unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "on purpose");
    assert!(error.started());
    assert_eq!(length.unwrap(), 3);
    assert_eq!(list.generation(), 0);
}

#[procession::test]
async fn dropped_call_that_runs_does_not_end_the_process() {
    let board = Board::new();
    let list: Managed<Vec<u32>> = within(Managed::spawn(Vec::new, ())).await.unwrap();
    let held = |list: &mut Vec<u32>, notes: crate::notes::Notes| {
        notes.meet("runs", "go");
        list.push(1);
    };
    let mut running = list.call(held, board.notes());
    assert!(futures::poll!(&mut running).is_pending());
    let mut waiting = list.call(push, 2);
    assert!(futures::poll!(&mut waiting).is_pending());
    board.lines("runs", 1).await;
    drop(running);
    drop(waiting);
    board.write("go", 1);
    let all = within(list.read(|list, ()| list.clone(), ()))
        .await
        .unwrap();
    assert_eq!(
        all,
        [1],
        "what ran has run to its end, what waited has not run"
    );
}

#[procession::test]
async fn failing_spawn_has_its_cause() {
    let refuse = |path: String| -> Result<Vec<u32>, String> { Err(format!("no {path}")) };
    let error = within(Managed::<Vec<u32>>::spawn(refuse, "file".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Spawn);
    assert!(error.to_string().contains("no file"), "{error}");
    for restart in [false, true] {
        let builder = Managed::<Vec<u32>>::builder().restart(restart);
        let error = within(builder.spawn(|| -> Vec<u32> { panic!("no room") }, ())).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spawn);
        assert!(error.to_string().contains("no room"), "{error}");
    }
    let exits = || -> Vec<u32> { std::process::exit(7) };
    let error = within(Managed::spawn(exits, ())).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.exit_code()),
        (ErrorKind::Spawn, Some(7))
    );
}

#[procession::test]
async fn local_state_is_called_as_any() {
    let board = Board::new();
    let local: Managed<Document> = within(Managed::local(open, board.notes())).await.unwrap();
    assert_eq!(board.read("opened"), [std::process::id().to_string()]);
    assert_eq!(within(local.read(words_of, 1)).await.unwrap(), 2);
    let panics = local.call(|_, ()| -> u32 { panic!("on purpose") }, ());
    assert!(within(panics).await.unwrap_err().is_panic());
    assert_eq!(within(local.call(|it, ()| reads(it), ())).await.unwrap(), 1);
    drop(local);
    board.lines("closed", 1).await;

    let refuse = || -> Result<Vec<u32>, String> { Err("no file".to_owned()) };
    let error = within(Managed::<Vec<u32>>::local(refuse, ()))
        .await
        .unwrap_err();
    assert!(error.is_spawn() && error.to_string().contains("no file"));
}

#[procession::test]
async fn large_values_pass() {
    let list: Managed<Vec<Vec<u8>>> = within(Managed::spawn(Vec::new, ())).await.unwrap();
    let long = vec![7_u8; 3 << 20];
    let keep = |list: &mut Vec<Vec<u8>>, bytes: Vec<u8>| list.push(bytes);
    within(list.call(keep, long.clone())).await.unwrap();
    let back = within(list.call(|list, ()| list.pop(), ())).await.unwrap();
    assert_eq!(back, Some(long));
}
