//! Arguments that are encoded while workers start, or leave.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use procession::{Pool, WorkerState};
use serde::{Deserialize, Serialize, Serializer};

use crate::deadline::{until, within};
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};
use crate::pools::ready;

static ENCODED: AtomicU32 = AtomicU32::new(0);

/// The second encoding takes long: into shared memory, because the value is too large for the ring.
#[derive(Debug, Deserialize)]
struct Slow(Vec<u8>);

impl Serialize for Slow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if ENCODED.fetch_add(1, Ordering::Relaxed) == 1 {
            std::thread::sleep(Duration::from_millis(300));
        }
        self.0.serialize(serializer)
    }
}

fn prepare(notes: Notes) -> Result<(), String> {
    match notes.has("obstacle") && !notes.has("cleared") {
        true => Err("not now".to_owned()),
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
    let call = pool.spawn(|it: Slow| it.0.len(), Slow(vec![1; 1 << 20]));
    tokio::time::sleep(Duration::from_millis(30)).await;
    kill(worker);
    tokio::time::sleep(Duration::from_millis(600)).await;
    board.write("cleared", 1);
    match within(call).await {
        Ok(len) => assert_eq!(len, 1 << 20),
        // A start failed once more before the obstacle was cleared.
        Err(error) => assert!(error.to_string().contains("not now"), "{error}"),
    }
}

static RUNTIME_THREAD: OnceLock<ThreadId> = OnceLock::new();

/// Its encoding into shared memory, which another thread does than the first, waits until it is told to go on.
#[derive(Debug, Deserialize)]
struct Held(Notes, Vec<u8>);

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if RUNTIME_THREAD.get() != Some(&std::thread::current().id()) {
            self.0.write("encoding", 1);
            self.0.wait("go");
        }
        (&self.0, &self.1).serialize(serializer)
    }
}

#[procession::test]
async fn task_that_is_encoded_while_its_worker_leaves_runs_in_the_next() {
    RUNTIME_THREAD.set(std::thread::current().id()).unwrap();
    let board = Board::new();
    let pool = ready(1).await;
    let first = pool.workers()[0].pid();
    let measure = |it: Held| (it.1.len(), std::process::id());
    let call = pool.spawn(measure, Held(board.notes(), vec![1; 1 << 20]));
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
