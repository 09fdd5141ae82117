//! Arguments that are encoded while no worker can start.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procession::Pool;
use serde::{Deserialize, Serialize, Serializer};

use crate::deadline::within;
use crate::leftovers::processes::kill;
use crate::notes::{Board, Notes};

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
