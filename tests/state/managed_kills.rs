//! `Managed`: its process, or its creator, is killed while several processes use it.

use std::collections::BTreeSet;

use futures::future::{join, join_all};
use futures::{StreamExt as _, TryStreamExt as _};
use procession::{Emit, ErrorKind, JoinError, Managed};
use serde::{Deserialize, Serialize};

use crate::deadline::{until, within};
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};

/// A state that knows how many calls it has had.
struct Counter {
    calls: u64,
}

fn counter() -> Counter {
    Counter { calls: 0 }
}

/// The process of the state, and the number of the call there.
type Place = (u32, u64);

fn count(counter: &mut Counter, (): ()) -> Place {
    counter.calls += 1;
    (std::process::id(), counter.calls)
}

fn look(counter: &Counter, (): ()) -> Place {
    (std::process::id(), counter.calls)
}

fn numbers(counter: &mut Counter, emit: Emit<Place>) {
    for _ in 0..20 {
        emit.blocking_send(count(counter, ()));
    }
}

fn is_alive(pid: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}

/// What a process has seen.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Tally {
    calls: Vec<Place>,
    reads: Vec<Place>,
    failed: usize,
}

impl Tally {
    fn add(&mut self, outcome: Result<Place, JoinError>, is_call: bool) {
        match outcome {
            Ok(place) if is_call => self.calls.push(place),
            Ok(place) => self.reads.push(place),
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.signal()),
                    (ErrorKind::Crashed, Some(9)),
                    "{error}"
                );
                assert!(
                    error.started(),
                    "what had not begun is made with the new state: {error}"
                );
                self.failed += 1;
            }
        }
    }
}

/// Calls, reads and streams until the test says that it is enough.
async fn work(state: Managed<Counter>, notes: Notes) -> Tally {
    let mut tally = Tally::default();
    while !notes.has("enough") {
        let calls = join_all((0..8).map(|_| state.call(count, ())));
        let reads = join_all((0..8).map(|_| state.read(look, ())));
        let (calls, reads) = within(join(calls, reads)).await;
        calls.into_iter().for_each(|it| tally.add(it, true));
        reads.into_iter().for_each(|it| tally.add(it, false));
        let mut items = state.stream(numbers, ());
        while let Some(item) = within(items.next()).await {
            tally.add(item, true);
        }
    }
    tally
}

#[procession::test]
async fn state_is_killed_while_processes_use_it_and_each_call_has_one_outcome() {
    let board = Board::new();
    let builder = Managed::builder().restart(true);
    let state: Managed<Counter> = within(builder.spawn(counter, ())).await.unwrap();
    let workers: Vec<_> = (0..3)
        .map(|_| procession::spawn(work, (state.clone(), board.notes())))
        .collect();
    let mut pids = BTreeSet::new();
    for round in 0..20 {
        // A call that is killed is made again by this loop alone.
        let victim = loop {
            match within(state.call(count, ())).await {
                Ok((pid, _)) => break pid,
                Err(error) => assert!(error.is_crashed(), "{error}"),
            }
        };
        assert_eq!(state.generation(), round);
        assert!(pids.insert(victim), "another process");
        kill(victim);
        until(|| !is_alive(victim)).await;
    }
    let _ = within(state.call(count, ())).await;
    let (last, _) = within(state.call(count, ())).await.unwrap();
    pids.insert(last);
    assert_eq!(state.generation(), 20);
    board.write("enough", 1);
    let mut calls = Vec::new();
    for worker in workers {
        let tally = within(worker).await.unwrap();
        assert!(tally.reads.iter().all(|(pid, _)| pids.contains(pid)));
        calls.extend(tally.calls);
    }
    let all = calls.len();
    let different: BTreeSet<_> = calls.into_iter().collect();
    assert_eq!(different.len(), all, "no call has run twice");
    assert!(different.iter().all(|(pid, _)| pids.contains(pid)));
}

async fn create(send: procession::Sender<(Managed<Counter>, u32)>) {
    let state: Managed<Counter> = Managed::spawn(counter, ()).await.unwrap();
    let (pid, _) = state.call(count, ()).await.unwrap();
    send.send((state, pid)).await.unwrap();
    std::future::pending::<()>().await;
}

/// Uses the state until it is gone. Returns the errors of a call, a read and a stream.
async fn work_until_it_ends(state: Managed<Counter>, notes: Notes) -> [String; 3] {
    notes.write("works", 1);
    let stream = || state.stream(numbers, ()).try_collect::<Vec<_>>();
    let errors = futures::join!(
        first_error(|| state.call(count, ())),
        first_error(|| state.read(look, ())),
        first_error(stream),
    );
    <[JoinError; 3]>::from(errors).map(|error| {
        assert!(error.is_crashed(), "{error}");
        error.to_string()
    })
}

async fn first_error<T, F>(call: impl Fn() -> F) -> JoinError
where
    F: Future<Output = Result<T, JoinError>>,
{
    loop {
        if let Err(error) = call().await {
            break error;
        }
    }
}

#[procession::test]
async fn killed_creator_ends_every_call_elsewhere() {
    for _ in 0..5 {
        let board = Board::new();
        let (send, receive) = procession::queue(1).unwrap();
        let creator = procession::spawn(create, send);
        let (state, pid) = within(receive.recv()).await.unwrap();
        let others: Vec<_> = (0..2)
            .map(|_| procession::spawn(work_until_it_ends, (state.clone(), board.notes())))
            .collect();
        board.lines("works", 2).await;
        within(state.read(look, ())).await.unwrap();
        creator.abort();
        let (mine, others) = within(join(
            work_until_it_ends(state, board.notes()),
            join_all(others),
        ))
        .await;
        for errors in others.into_iter().map(Result::unwrap).chain([mine]) {
            assert!(
                errors
                    .iter()
                    .all(|it| it.contains("the process that had made the state is gone")),
                "{errors:?}"
            );
        }
        assert!(within(creator).await.is_err());
        until(|| !is_alive(pid)).await;
    }
}
