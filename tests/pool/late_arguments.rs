//! Arguments that are encoded while workers start, or leave.

use std::thread::ThreadId;

use procession::{Pool, WorkerState};
use serde::{Deserialize, Serialize, Serializer};

use crate::deadline::{until, within};
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};
use crate::pools::ready;

fn prepare(notes: Notes) -> Result<(), String> {
    match notes.has("obstacle") && !notes.has("cleared") {
        true => {
            notes.write("refused", std::process::id());
            Err("not now".to_owned())
        }
        false => Ok(()),
    }
}

/// There is no other call that would make the pool start a worker.
#[procession::test]
async fn task_that_is_encoded_while_workers_fail_runs_when_they_start_again() {
    let board = Board::new();
    let pool = Pool::builder().workers(1);
    let pool = pool.initializer(prepare, board.notes()).build().unwrap();
    let worker = within(pool.run(std::process::id, ())).await.unwrap();
    board.write("obstacle", 1);
    let call = pool.spawn(|it: Held| it.1.len(), Held::large(&board));
    board.lines("encoding", 1).await;
    kill(worker);
    until(|| pool.metrics().breaker_open()).await;
    let refused = board.read("refused").len();
    board.write("go", 1);
    board.lines("refused", refused + 1).await;
    board.write("cleared", 1);
    match within(call).await {
        Ok(len) => assert_eq!(len, 1 << 20),
        // A start failed once more before the obstacle was cleared.
        Err(error) => assert!(error.to_string().contains("not now"), "{error}"),
    }
}

/// Its encoding into shared memory, which another thread does than the one that made it, waits until it is told to go
/// on.
#[derive(Debug, Deserialize)]
struct Held(Notes, Vec<u8>, #[serde(skip)] Option<ThreadId>);

impl Held {
    /// Too large for the ring.
    fn large(board: &Board) -> Self {
        let here = std::thread::current().id();
        Self(board.notes(), vec![1; 1 << 20], Some(here))
    }
}

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.2 != Some(std::thread::current().id()) {
            self.0.write("encoding", 1);
            self.0.wait("go");
        }
        (&self.0, &self.1).serialize(serializer)
    }
}

#[procession::test]
async fn task_that_is_encoded_while_its_worker_leaves_runs_in_the_next() {
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.workers()[0].pid();
    let measure = |it: Held| (it.1.len(), std::process::id());
    let call = pool.spawn(measure, Held::large(&board));
    board.lines("encoding", 1).await;
    let restart = tokio::spawn(pool.restart_workers());
    let leaves = || {
        let workers = pool.workers();
        workers.iter().any(|it| it.state() == WorkerState::Stopping)
    };
    until(leaves).await;
    board.write("go", 1);
    let (len, pid) = within(call).await.unwrap();
    assert_eq!(len, 1 << 20);
    assert_ne!(Some(pid), first);
    within(restart).await.unwrap();
}
